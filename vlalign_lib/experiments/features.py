"""From original pictures and texts to the features of the printed table.

The command is ``vlalign data features``; ``vlalign_lib.data`` loads what it writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._files import replacing
from vlalign_lib._progress import progress_bar
from vlalign_lib._validate import as_whole
from vlalign_lib.data._cache import DataUnavailable, cache_dir, offline
from vlalign_lib.data._download import one_process, sha256_of
from vlalign_lib.data._made import ARRAYS, META, Meta, features_of, write_meta
from vlalign_lib.experiments._originals import count_words, find_pictures, read_originals

if TYPE_CHECKING:
    from PIL.Image import Image

    Extractor = Callable[[Sequence[Image]], ArrayLike]

_COUNT = ".done.json"  # how many pictures an interrupted run has seen
_LOCK = ".lock"
_READERS = 4  # pictures decoded at once


def make_features(
    name: str,
    images: str | PathLike[str],
    texts: str | PathLike[str],
    *,
    split: str | PathLike[str] | None = None,
    output: str | PathLike[str] | None = None,
    device: str = "auto",
    batch_size: int = 32,
    extractor: Extractor | None = None,
    progress: bool = True,
) -> Path:
    """Make the deep features of a data set from its original pictures and texts.

    A picture becomes the 4,096 activations of VGG-19's layer fc7 after its ReLU (torchvision,
    weights ``IMAGENET1K_V1``; needs ``pip install "vlalign-lib[features]"``), a text the
    counts of the 3,000 or 1,000 most frequent words of the training texts. Words are runs of
    letters and digits, upper and lower case alike; there is no list of stop words and no stemming.

    Everything that can be checked before the network runs is checked first. After each batch the
    work done is on the disk: the same call continues there, after an interruption too.

    Args:
        name: ``"wikipedia_deep"``, ``"pascal_sentences"`` or ``"nus_wide_10k"``.
        images: the folder with the pictures, which may lie in folders below it.
        texts: a file in UTF-8 with a line for each pair, picture, class and text with tabs
            between them, the picture's ending optional; or, with the ending ``.json``,
            ``{"picture.jpg": {"category": …, "captions": […]}}``; for Wikipedia also the
            folder with the published ``.xml`` files, whose pairs and classes come from the
            published lists.
        split: a file with a line for each pair, picture and part (``train``, ``val``,
            ``test``) with a tab between them. None: Wikipedia's published training pairs, its
            published test pairs cut into 231 and 462; otherwise all pairs cut at random, each
            class in proportion, always in the same way.
        output: the folder to write; None for the place in the cache where the loader looks.
        device: where the network runs; ``"auto"`` for a GPU where there is one.
        batch_size: pictures seen at once.
        extractor: another network: a function from a list of b RGB pictures (``PIL.Image``) to
            (b, 4096) numbers; its attribute ``description``, else its name, is recorded.
        progress: whether to show a progress bar.

    Returns:
        The folder, for the loader's ``root``.

    Raises:
        ValueError: no such data set, no such device, or a batch size below 1.
        DataUnavailable: something is not there or not what it should be: torchvision, a
            picture, a text, a class, a part; or the features are there already.

    Chapter:
        8, "The retrieval table".

    Example:
        >>> try:
        ...     make_features("pascal_sentences", "no such folder", "no such file")
        ... except DataUnavailable as error:
        ...     print(error)
        no such file: cannot be read (No such file or directory)
    """
    _, features = features_of(name)
    batch_size = as_whole(batch_size, "batch_size")
    target = cache_dir() / name if output is None else Path(output)
    _refuse_to_replace(target)
    originals = read_originals(name, Path(texts), None if split is None else Path(split))
    pictures = find_pictures(Path(images), originals.ids)
    vocabulary, counts = count_words(originals.texts, features.sizes[0], features.text_width)
    see = Vgg19Fc7(device) if extractor is None else extractor
    described = getattr(see, "description", getattr(see, "__qualname__", type(see).__qualname__))

    target.mkdir(parents=True, exist_ok=True)
    with one_process(target / _LOCK):
        _refuse_to_replace(target)  # another process may have been at work while this one waited
        _see_pictures(
            pictures, see, target, features.image_width, batch_size,
            fingerprint=_fingerprint(name, str(described), pictures),
            label=f"{name}: pictures", progress=progress,
        )  # fmt: skip
        np.save(target / "texts.npy", counts)
        np.save(target / "labels.npy", originals.labels)
        made = {
            "images": str(described),
            "texts": (
                f"counts of the {features.text_width} most frequent words of the training texts; "
                "runs of letters and digits in capitals, no stop words, no stemming"
            ),
            "splits": originals.split_rule,
        }
        sums = {file: sha256_of(target / file) for file in ARRAYS}
        write_meta(target, Meta(name, originals.ids, vocabulary, made, sums))
        (target / _COUNT).unlink()
    return target


def _refuse_to_replace(target: Path) -> None:
    if (target / META).exists():
        raise DataUnavailable(
            f"{target}: holds features already; remove the folder to make them anew, or give "
            "another one as output"
        )


def _fingerprint(name: str, described: str, pictures: Sequence[Path]) -> str:
    """Return what an interrupted run has to agree in for its work to count."""
    facts: list[object] = [name, described]
    for path in pictures:
        state = path.stat()
        facts.append([str(path), state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _see_pictures(
    pictures: Sequence[Path],
    see: Extractor,
    target: Path,
    width: int,
    batch_size: int,
    *,
    fingerprint: str,
    label: str,
    progress: bool,
) -> None:
    """Fill ``images.npy`` row by row, and keep count of the rows that are on the disk."""
    rows, count = target / "images.npy", target / _COUNT
    done = _rows_done(rows, count, fingerprint, (len(pictures), width))
    mode = "r+" if done else "w+"
    array = open_memmap(rows, mode, np.float32, (len(pictures), width))
    starts = range(done, len(pictures), batch_size)
    with (
        progress_bar(len(pictures), label, shown=progress, unit="image") as bar,
        ThreadPoolExecutor(_READERS) as readers,
    ):
        bar.initial = done  # so that the time left is that of this run's own speed
        bar.update(done)

        def ask(start: int) -> list[Future[Image]]:
            return [readers.submit(_open, path) for path in pictures[start : start + batch_size]]

        waiting = ask(done)
        for start in starts:
            batch, waiting = waiting, ask(start + batch_size)
            try:
                found = _checked(see([future.result() for future in batch]), len(batch), width)
            except BaseException:
                for future in waiting:
                    future.cancel()
                raise
            array[start : start + len(batch)] = found
            array.flush()
            with replacing(count) as path:
                record = {"fingerprint": fingerprint, "rows": start + len(batch)}
                path.write_text(json.dumps(record), encoding="utf-8")
            bar.update(len(batch))


def _rows_done(rows: Path, count: Path, fingerprint: str, shape: tuple[int, int]) -> int:
    """Return how many rows an interrupted run left that still count."""
    try:
        record = json.loads(count.read_text(encoding="utf-8"))
        there = np.load(rows, mmap_mode="r", allow_pickle=False)
        same = record["fingerprint"] == fingerprint and there.shape == shape
        return int(record["rows"]) if same and there.dtype == np.float32 else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _open(path: Path) -> Image:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataUnavailable(
            f"{path}: is no picture that can be read ({error}); put a sound copy in its place and "
            "run this again, which continues where it stopped"
        ) from error


def _checked(found: ArrayLike, n: int, width: int) -> NDArray[np.float32]:
    array = np.asarray(found, dtype=np.float32)
    if array.shape != (n, width):
        raise ValueError(f"extractor: expected ({n}, {width}) for {n} pictures, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("extractor: gave NaN or infinity")
    return array


# torchvision's classifier is fc6, ReLU, dropout, fc7, ReLU, dropout, fc8: these five reach fc7.
_UP_TO_FC7 = 5


class Vgg19Fc7:
    """Turn pictures into the 4,096 activations of VGG-19's second hidden layer, after its ReLU.

    Pictures are resized to 256 pixels at the shorter side, cut to the middle 224×224, scaled to
    [0, 1] and standardised with the colours of ImageNet, as torchvision's weights want it.

    Args:
        device: where to compute; ``"auto"`` for a GPU where there is one.

    Raises:
        ValueError: a device that is not there.
        DataUnavailable: torchvision is not installed, or its weights cannot be had.
    """

    def __init__(self, device: str = "auto") -> None:
        import torch

        self.device = _as_device(device)
        try:
            import torchvision
            from torchvision.models import VGG19_Weights, vgg19
        except ImportError as error:
            raise DataUnavailable(
                "the features of pictures need torchvision, which is not installed: "
                'pip install "vlalign-lib[features]"'
            ) from error
        except RuntimeError as error:
            raise DataUnavailable(
                f"torchvision does not fit torch {torch.__version__} here ({error}); install "
                "the two together, from one source"
            ) from error
        weights = VGG19_Weights.IMAGENET1K_V1
        network = _load(vgg19, weights)
        network.classifier = network.classifier[:_UP_TO_FC7]
        self.network = network.eval().to(self.device)
        self.prepare = weights.transforms()
        self.description = (
            f"VGG-19 fc7 after ReLU, torchvision {torchvision.__version__}, weights {weights}; "
            "shorter side 256, middle 224×224"
        )

    def __call__(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Return (b, 4096) float32 for b RGB pictures."""
        import torch

        batch = torch.stack([self.prepare(picture) for picture in pictures])
        try:
            with torch.inference_mode():
                features = self.network(batch.to(self.device))
        except torch.OutOfMemoryError as error:
            raise ValueError(
                f"batch size {len(pictures)}: too many pictures for the memory of {self.device}; "
                "try half (--batch-size)"
            ) from error
        array: NDArray[np.float32] = features.float().cpu().numpy()
        return array


def _load(vgg19: Any, weights: Any) -> Any:
    import torch

    kept = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    try:
        if offline() and not kept.is_file():
            raise OSError("VLALIGN_OFFLINE=1 forbids the network")
        return vgg19(weights=weights)
    except (OSError, RuntimeError) as error:
        raise DataUnavailable(
            f"the weights of VGG-19 (548 MB) cannot be had: {error}. With a network (and without "
            f"VLALIGN_OFFLINE), run this again; or put {weights.url} at {kept}"
        ) from error


def _as_device(device: str) -> Any:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'device: {device!r} cannot be used here ({error}); use "cpu" or "auto"'
        ) from error
    return found

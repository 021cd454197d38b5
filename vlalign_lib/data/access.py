"""Whether a data set is at hand, bringing it here, checking it, and what it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path

import numpy as np

from vlalign_lib._validate import is_one_of
from vlalign_lib.data import _glyph_manifest as manifest
from vlalign_lib.data._cache import DataUnavailable
from vlalign_lib.data._download import FileState, download, file_states, mirror_has
from vlalign_lib.data._made import how_to_make, made_paths, made_states
from vlalign_lib.data._registry import SETS, lookup
from vlalign_lib.data.glyphs import cached_pictures, draw_pictures

#: sha256 of the 1,797 pictures as bytes, followed by their labels as bytes.
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


@dataclass(frozen=True)
class DataCard:
    """What a data set is, who made it, and under which terms it may be used.

    Args:
        name: name of the set.
        title: what it is, in a few words.
        text: the card, in Markdown, beginning with a heading of the second level.

    Chapter:
        the appendix with the data cards.

    Example:
        >>> print(DataCard("toy", "numbers in a row", "## Toy"))
        ## Toy
    """

    name: str
    title: str
    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def card(name: str) -> DataCard:
    """Return the data card of a set; a notebook shows it as formatted text.

    Args:
        name: one of ``DATASETS``.

    Raises:
        ValueError: no such data set.

    Chapter:
        the appendix with the data cards.

    Example:
        >>> print(card("glyphs").text.splitlines()[0])
        ## Glyphs
    """
    entry = lookup(name)
    source = resources.files("vlalign_lib.data").joinpath("cards", f"{name}.md")
    return DataCard(entry.name, entry.title, source.read_text(encoding="utf-8"))


def available(name: str) -> bool:
    """Return whether a data set can be loaded without the network.

    That is so where a dependency brings it, where the cache holds all its files, or where
    ``VLALIGN_MIRROR`` is a folder that does; the files are checked, nothing is downloaded. A
    synthetic twin in their place does not count. Where this is False and a network is there, the
    loader of a set that is downloaded may still succeed.

    Args:
        name: one of ``DATASETS``; False for any other word.

    Chapter:
        3, "Linear coordinates: CCA and kin".

    Example:
        >>> available("digits"), available("no such set")
        (True, False)
    """
    if not is_one_of(name, tuple(SETS)):
        return False
    try:
        if name == "digits":
            return util.find_spec("sklearn") is not None
        if name == "glyphs":
            return all(manifest.font_path(face).is_file() for face in manifest.FONTS)
        if SETS[name].features is not None:
            return all(state.state == "ok" for state in made_states(name))
        return all(state.state == "ok" for state in file_states(name)) or mirror_has(name)
    except (OSError, ImportError):
        return False


def fetch(name: str, *, progress: bool = True) -> tuple[Path, ...]:
    """Bring a data set into the cache, and show its licence and whom to cite.

    Files that are there undamaged are left alone. Sources are tried in order: the folder or
    address in ``VLALIGN_MIRROR``, laid out as ``<mirror>/<set>/<file>``, then the registered
    addresses. A download that is cut continues where it stopped, in the same call or in the
    next; a file counts only once its sha256 is right. With ``VLALIGN_OFFLINE=1`` no address is
    asked, a mirror that is a folder still is. Several processes may fetch at once: one works,
    the others wait and find the files.

    Sets whose features are made from the originals (``make_features``) have no address; for them
    this returns the files in the cache or in a mirror folder, or says how to make them.

    Args:
        name: one of ``DATASETS``.
        progress: whether to show a progress bar.

    Returns:
        The files; none for a set that a dependency brings (the pictures of glyphs are drawn
        when they are first loaded).

    Raises:
        ValueError: no such data set.
        DataUnavailable: a file cannot be had, or cannot be kept; the text names it and the
            ways out.

    Chapter:
        3, "Linear coordinates: CCA and kin".

    Example:
        >>> fetch("digits")
        ()
    """
    if lookup(name).features is not None:
        return _made(name)
    return download(name, progress=progress)


def _made(name: str) -> tuple[Path, ...]:
    wrong = [state for state in made_states(name) if state.state != "ok"]
    if wrong and wrong[0].state == "damaged":
        raise DataUnavailable(how_to_make(name, f"{wrong[0].path}: {wrong[0].detail}"))
    return made_paths(name)


def verify(name: str) -> list[FileState]:
    """Return the state of every file of a data set, compared byte for byte.

    For digits the numbers inside scikit-learn are compared. For glyphs the fonts inside
    matplotlib are, the pictures are drawn anew, and the cached ones are compared with them.
    Where a picture's digest is another one than recorded, its summed grey levels decide,
    within the recorded tolerance. Features that were made are compared with the check sums that
    were recorded then.

    Args:
        name: one of ``DATASETS``.

    Returns:
        One ``FileState`` (``path``, ``state``, ``detail``) a file; ``state`` is ``"ok"``,
        ``"missing"`` or ``"damaged"``.

    Raises:
        ValueError: no such data set.

    Chapter:
        the appendix with the data cards.

    Example:
        >>> [file.state for file in verify("digits")]
        ['ok']
    """
    entry = lookup(name)
    if entry.features is not None:
        return made_states(name)
    if name == "digits":
        return [_digits_state()]
    if name == "glyphs":
        return [state for face in manifest.FONTS for state in _glyph_states(face)]
    return file_states(name)


def _digits_state() -> FileState:
    import sklearn.datasets

    path = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    try:
        bunch = sklearn.datasets.load_digits()
    except OSError as error:
        return FileState(path, "missing", f"{error}; reinstall scikit-learn")
    numbers = bunch.images.astype(np.uint8).tobytes() + bunch.target.astype(np.uint8).tobytes()
    found = hashlib.sha256(numbers).hexdigest()
    if found != DIGITS_SHA256:
        return FileState(
            path, "damaged", f"other digits than recorded: sha256 {found}, not {DIGITS_SHA256}"
        )
    return FileState(path, "ok")


def _glyph_states(face: str) -> list[FileState]:
    shipped = manifest.load_manifest()
    font = manifest.font_path(face)
    try:
        data = font.read_bytes()
        pictures = draw_pictures(face)
    except OSError as error:
        return [FileState(font, "missing", str(error))]
    detail = ""
    recorded = shipped.facts["fonts"][face]
    if hashlib.sha256(data).hexdigest() != recorded:
        detail = "another build of the font than recorded"
    state = "ok"
    if manifest.digest(pictures) != shipped.facts["pictures"][face]:
        ink = shipped.ink[face][shipped.ink[face] >= 0]
        off = np.abs(pictures.sum(axis=(1, 2), dtype=np.int64) - ink)
        if off.max() > shipped.facts["ink_tolerance"]:
            state = "damaged"
            which = chr(int(shipped.codes[shipped.ink[face] >= 0][off.argmax()]))
            detail = f"draws other pictures than recorded, most of all of {which!r}" + (
                f" ({detail})" if detail else ""
            )
        else:
            detail = f"pictures within tolerance; {detail or 'other rounding than recorded'}"
    states = [FileState(font, state, detail)]
    file, cached = cached_pictures(face)
    if cached is not None and not np.array_equal(cached, pictures):
        states.append(FileState(file, "damaged", "not what the font draws; delete it"))
    elif cached is None and file.exists():
        states.append(FileState(file, "damaged", "cannot be read; it will be drawn anew"))
    elif cached is not None:
        states.append(FileState(file, "ok"))
    return states

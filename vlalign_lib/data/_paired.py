"""What every loader returns: pairs of a picture and a text, row by row."""

from __future__ import annotations

import html
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._readonly import ReadOnlyDict, same_fields
from vlalign_lib._validate import as_array, check_mapping, is_one_of
from vlalign_lib.data._tfidf import TfIdf

_PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False, repr=False)
class PairedDataset:
    """Pairs of an image and a text, one row a pair, with their official cut into parts.

    The arrays are read-only, so that no cell can change what a later cell sees; take
    ``ds.images.copy()``, or ``torch.tensor(ds.images)``, to get numbers of your own.

    Args:
        name: name of the set.
        images: (n, …) float32, the first view.
        texts: (n, q) float32, the second view; row i is the partner of image i.
        labels: (n,) int64, an index into ``label_names``; −1 where a pair has no class.
        label_names: names of the classes.
        captions: n strings in words, or None where the set has none.
        ids: n strings that name the pairs.
        splits: rising row numbers of each part, ``"train"``, ``"val"``, ``"test"`` and further
            ones where a loader says so. The three are disjoint.
        encoder: the fitted vocabulary behind ``texts``, or None.

    Raises:
        ValueError: the parts do not fit together.

    Chapter:
        1, "A multimodal world".

    Example:
        >>> import numpy as np
        >>> ds = PairedDataset(
        ...     "toy", images=np.eye(4), texts=np.eye(4), labels=[0, 0, 1, -1],
        ...     label_names=("cat", "dog"), ids=tuple("abcd"), splits={"train": [0, 1, 2]},
        ... )
        >>> len(ds), len(ds.split("train")), ds.images.dtype
        (4, 3, dtype('float32'))
    """

    name: str
    images: NDArray[np.float32]
    texts: NDArray[np.float32]
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    captions: tuple[str, ...] | None = None
    ids: tuple[str, ...] = ()
    splits: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    encoder: TfIdf | None = None

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("images", _frozen(self.images, np.float32, "images"))
        put("texts", _frozen(self.texts, np.float32, "texts"))
        put("labels", _frozen(self.labels, np.int64, "labels"))
        if self.images.ndim < 2 or self.texts.ndim != 2 or self.labels.ndim != 1:
            raise ValueError(
                "expected images (n, …), texts (n, q) and labels (n,), got "
                f"{self.images.shape}, {self.texts.shape} and {self.labels.shape}"
            )
        put("label_names", _strings(self.label_names, "label_names"))
        n = len(self.images)
        put("ids", _strings(self.ids, "ids") or tuple(str(i) for i in range(n)))
        if self.captions is not None:
            put("captions", _strings(self.captions, "captions"))
        check_mapping(self.splits, "splits", '{"train": row numbers, …}')
        for what in ("texts", "labels", "ids", "captions"):
            value = getattr(self, what)
            if value is not None and len(value) != n:
                raise ValueError(
                    f"{what}: {len(value)} rows for {n} images; row i of one must be the "
                    "partner of row i of the other"
                )
        if n and not -1 <= self.labels.min() <= self.labels.max() < len(self.label_names):
            raise ValueError(
                f"labels: expected −1 … {len(self.label_names) - 1}, one name a class, got "
                f"{self.labels.min()} … {self.labels.max()}"
            )
        parts = {name: _rows(rows, n, f"splits[{name!r}]") for name, rows in self.splits.items()}
        together = [row for name in _PARTS if name in parts for row in parts[name].tolist()]
        if len(set(together)) != len(together):
            raise ValueError("splits: a row may be in only one of train, val and test")
        put("splits", ReadOnlyDict({k: _frozen(v, np.int64, k) for k, v in parts.items()}))

    def __len__(self) -> int:
        return len(self.images)

    def split(self, part: str) -> PairedDataset:
        """Return the pairs of one part, in the order of the whole set.

        Args:
            part: ``"train"``, ``"val"`` or ``"test"``, or another name in ``splits``.

        Raises:
            ValueError: there is no such part.
        """
        if not is_one_of(part, tuple(self.splits)):
            raise ValueError(
                f"split {part!r}: {self.name} has {', '.join(map(repr, self.splits)) or 'none'}"
            )
        return self.subset(self.splits[part])

    def subset(self, indices: ArrayLike) -> PairedDataset:
        """Return the pairs that ``indices`` names, in that order.

        The parts of the cut shrink to the rows that are taken and keep their names; a part of
        which no row is taken goes.

        Args:
            indices: row numbers, or one truth value a row. Repetitions are allowed.

        Raises:
            ValueError: not row numbers of this set.
        """
        rows = _rows(indices, len(self), "indices", ordered=False)
        splits = {}
        for name, members in self.splits.items():
            inside = np.zeros(len(self), dtype=np.bool_)
            inside[members] = True
            kept = np.flatnonzero(inside[rows])
            if kept.size:
                splits[name] = kept
        return replace(
            self,
            images=_no_copy(self.images[rows]),
            texts=_no_copy(self.texts[rows]),
            labels=_no_copy(self.labels[rows]),
            captions=None if self.captions is None else tuple(self.captions[i] for i in rows),
            ids=tuple(self.ids[i] for i in rows),
            splits=splits,
        )

    def encode_captions(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Return captions of your own as rows like those of ``texts``.

        The vocabulary is the one fitted on the training captions. Case does not matter, and
        unknown words count for nothing; a caption with no known word warns and is all zeros.

        Args:
            captions: n strings.

        Returns:
            (n, q) float32.

        Raises:
            ValueError: this set has no words, or ``captions`` is not a list of strings.
        """
        if self.encoder is None:
            raise ValueError(
                f"{self.name} has no captions: its texts are numbers from the start; "
                "load_glyphs() has words"
            )
        captions = _strings(captions, "captions", such_as='["BLACK CHESS QUEEN"]')
        encoded = self.encoder.transform(captions)
        blank = [c for c, row in zip(captions, encoded, strict=True) if not row.any()]
        if blank:
            warnings.warn(
                f"no known word in {', '.join(map(repr, blank[:3]))}"
                + (f" and {len(blank) - 3} more" if len(blank) > 3 else "")
                + f": all zeros. Known words look like {', '.join(self._common_words())}",
                stacklevel=2,
            )
        return encoded

    def _common_words(self) -> list[str]:
        assert self.encoder is not None
        common = np.argsort(self.encoder.weights, kind="stable")[:40:8]
        return [self.encoder.vocabulary[i] for i in common]

    def _facts(self) -> list[tuple[str, str]]:
        parts = ", ".join(f"{name} {len(rows):,}" for name, rows in self.splits.items())
        shape = ", ".join(map(str, self.images.shape[1:]))
        facts = [
            ("pairs", f"{len(self):,}" + (f" ({parts})" if parts else "")),
            ("images", f"(n, {shape}) {self.images.dtype}"),
            ("texts", f"(n, {self.texts.shape[1]}) {self.texts.dtype}"),
            ("classes", _shorten(self.label_names) if self.label_names else "none"),
        ]
        without = int((self.labels < 0).sum())
        if without:
            facts[-1] = ("classes", f"{facts[-1][1]}; {without:,} pairs without one")
        if self.captions:
            facts.append(("captions", _shorten([repr(c) for c in self.captions], count=False)))
        return facts

    def __repr__(self) -> str:
        lines = [f"  {what + ':':<9} {value}" for what, value in self._facts()]
        return "\n".join([f"PairedDataset {self.name!r}", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{what}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for what, value in self._facts()
        )
        caption = f'<caption style="text-align:left">{html.escape(self.name)}</caption>'
        return f"<table>{caption}<tbody>{rows}</tbody></table>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays that arrive can be written to; the constructor makes them read-only again.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other)

    def __hash__(self) -> int:
        return hash((self.name, self.ids))


def _strings(values: Any, name: str, *, such_as: str = '["a", "b"]') -> tuple[str, ...]:
    """Return a list, tuple or array of strings as a tuple."""
    several = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
    if not several or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name}: expected a list of strings, such as {such_as}, got {values!r}")
    return tuple(str(value) for value in values)


def _shorten(items: Sequence[str], *, count: bool = True) -> str:
    shown = ", ".join(items[:3]) + (", …" if len(items) > 3 else "")
    return f"{len(items)}: {shown}" if count else shown


def _no_copy(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _frozen(values: Any, dtype: type, name: str) -> NDArray[Any]:
    """Return ``values`` as a read-only array; what the caller could still write to is copied."""
    array = as_array(values, name)
    if array.dtype.kind not in "fiub" or (dtype is np.int64 and array.dtype.kind == "f"):
        raise ValueError(f"{name}: expected numbers ({np.dtype(dtype)}), got {array.dtype}")
    if array.dtype != dtype or array.flags.writeable:
        array = array.astype(dtype)
    return _no_copy(array)


def _rows(values: Any, n: int, name: str, *, ordered: bool = True) -> NDArray[np.int64]:
    rows = as_array(values, name)
    if rows.ndim == 1 and rows.size == 0:
        rows = rows.astype(np.int64)
    if rows.dtype == np.bool_ and rows.shape == (n,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected row numbers, or {n} truth values, got {rows.dtype} of shape "
            f"{rows.shape}"
        )
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise ValueError(
            f"{name}: expected row numbers 0 … {n - 1}, got {rows.min()} … {rows.max()}"
        )
    if ordered and (np.diff(rows.astype(np.int64)) <= 0).any():
        raise ValueError(f"{name}: expected rising row numbers, each once")
    return rows.astype(np.int64)

"""Which characters make up glyphs, which of them look alike, and the official splits.

The list ships as ``glyphs.tsv`` beside this file, so that the set is the same everywhere.
``tools/make_glyph_manifest.py`` makes it anew from the fonts, and a test compares.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.data._order import grouped_cut, permutation
from vlalign_lib.data._raster import rasterise, read_outlines
from vlalign_lib.data._tfidf import words

FONTS = {"sans": "DejaVuSans.ttf", "serif": "DejaVuSerif.ttf", "mono": "DejaVuSansMono.ttf"}
FAMILY_SIZE = 60
#: Two pictures look exactly alike when no pixel differs by more than this many of 255 levels.
ALIKE_LEVELS = 8
RANDOM_SIZES = {"val": 500, "test": 1000}
FAMILIES_SIZES = {"val": 200, "test": 800}
COMPOSITIONAL_SIZES = {"val": 400, "test": 800}  # reached, and passed by a few
_KEY = 2  # sets glyphs apart from the other sets in random orders
_OUT = "-"
_LETTER = {"train": "t", "val": "v", "test": "e"}
SPLITS = ("random", "families", "compositional", "typeface", "serif", "mono")
COLUMNS = ("code", "alike", *SPLITS, "ink", "ink_serif", "ink_mono")


@dataclass(frozen=True, eq=False)
class GlyphManifest:
    """The characters of glyphs in the order of their code points, with the official splits.

    Args:
        codes: (n,) int64 code points.
        alike: (n,) int64, the first code point that looks exactly like this one in Sans.
        splits: name of a column to (n,) strings: ``t`` train, ``v`` val, ``e`` test, ``-`` out.
        ink: typeface to (n,) int64, the sum of the grey levels; −1 where it has no picture.
        facts: fonts' and pictures' sha256, rasteriser version.
    """

    codes: NDArray[np.int64]
    alike: NDArray[np.int64]
    splits: dict[str, NDArray[np.str_]]
    ink: dict[str, NDArray[np.int64]]
    facts: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """The Unicode name of each character."""
        return [unicodedata.name(chr(code)) for code in self.codes.tolist()]

    @classmethod
    def from_text(cls, text: str) -> GlyphManifest:
        """Return the manifest that a text like ``glyphs.tsv`` holds."""
        facts, head, *lines = text.splitlines()
        if tuple(head.split("\t")) != COLUMNS:
            raise ValueError(f"glyphs.tsv: expected the columns {COLUMNS}, got {head!r}")
        columns = dict(zip(COLUMNS, zip(*(r.split("\t") for r in lines), strict=True), strict=True))
        inks = dict(zip(FONTS, ("ink", "ink_serif", "ink_mono"), strict=True))
        return cls(
            codes=np.array([int(code, 16) for code in columns["code"]], dtype=np.int64),
            alike=np.array([int(code, 16) for code in columns["alike"]], dtype=np.int64),
            splits={name: np.array(columns[name]) for name in SPLITS},
            ink={
                face: np.array([int(v) if v else -1 for v in columns[column]], dtype=np.int64)
                for face, column in inks.items()
            },
            facts=json.loads(facts.removeprefix("# ")),
        )


@lru_cache(maxsize=1)
def load_manifest() -> GlyphManifest:
    """Return the manifest that ships with the library."""
    source = resources.files("vlalign_lib.data").joinpath("glyphs.tsv")
    return GlyphManifest.from_text(source.read_text(encoding="utf-8"))


def font_path(face: str) -> Path:
    """Return where matplotlib keeps the font of a typeface: ``sans``, ``serif`` or ``mono``."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FONTS[face]


def open_font(face: str) -> Any:
    """Return matplotlib's ``FT2Font`` of a typeface, without its horizontal oversampling."""
    import matplotlib
    from matplotlib import ft2font

    # The factor stretches outlines for the hinter; from 3.11 on it is deprecated and 1 anyway.
    keywords: dict[str, Any] = (
        {"hinting_factor": 1} if matplotlib.__version_info__[:2] < (3, 11) else {}
    )
    return ft2font.FT2Font(str(font_path(face)), **keywords)


def family_words(names: Sequence[str]) -> tuple[str, ...]:
    """Return, in alphabetical order, the first words that at least 60 names begin with."""
    counts = Counter(name.split()[0] for name in names)
    return tuple(sorted(word for word, count in counts.items() if count >= FAMILY_SIZE))


def without_family(name: str, families: Sequence[str]) -> str:
    """Return ``name`` without its first word if that is one of the ``families``."""
    first, _, rest = name.partition(" ")
    return rest if first in families else name


def grouped_split(alike: NDArray[np.int64], sizes: dict[str, int], *key: int) -> NDArray[np.str_]:
    """Return the letter of the part of each character; look-alikes are in one part."""
    val, test = sizes["val"], sizes["test"]
    parts = grouped_cut(alike, (test, val, len(alike) - test - val), *key)
    letters = np.full(len(alike), _LETTER["train"])
    letters[parts[0]] = _LETTER["test"]
    letters[parts[1]] = _LETTER["val"]
    return letters


def random_split(alike: NDArray[np.int64], seed: int | None) -> NDArray[np.str_]:
    """Return the split of all characters at random."""
    return grouped_split(alike, RANDOM_SIZES, _KEY, *_seed(seed))


def families_split(
    alike: NDArray[np.int64], inside: NDArray[np.bool_], seed: int | None
) -> NDArray[np.str_]:
    """Return the split at random of the characters ``inside`` a family; the others are out."""
    letters = np.full(len(alike), _OUT)
    letters[inside] = grouped_split(alike[inside], FAMILIES_SIZES, _KEY + 1, *_seed(seed))
    return letters


def compositional_split(
    names: Sequence[str], alike: NDArray[np.int64], seed: int | None
) -> NDArray[np.str_]:
    """Return a split whose test names combine words that never met in training.

    Pairs of words that stand together in two to twelve names are held out one after the other:
    all names with both words leave the training part, unless a word of theirs would then be
    missing from it. Family words are no part of such pairs, and names in a family count on
    training names in families alone, so that the split holds with and without family words and
    within the families. Characters that look exactly like a held-out one, but are not held
    out themselves, are out.
    """
    families = family_words(names)
    bags = [set(words(without_family(name, families))) for name in names]
    inside = np.array([name.split()[0] in families for name in names])
    together: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, bag in enumerate(bags):
        for pair in combinations(sorted(bag.difference(families)), 2):
            together[pair].append(i)
    pairs = sorted(pair for pair, where in together.items() if 2 <= len(where) <= 12)
    mates: dict[int, list[int]] = defaultdict(list)
    for i, first in enumerate(alike.tolist()):
        mates[first].append(i)

    letters = np.full(len(names), _LETTER["train"])
    # How many training names hold a word: among all, and among those of the families.
    left = [Counter(w for b in bags for w in b)]
    left.append(Counter(w for b, f in zip(bags, inside, strict=True) if f for w in b))
    needed: list[set[str]] = [set(), set()]
    order = iter(permutation(len(pairs), _KEY + 2, *_seed(seed)).tolist())
    for part in ("test", "val"):
        held = 0
        for number in order:
            chosen = [i for i in together[pairs[number]] if letters[i] == _LETTER["train"]]
            leaving = sorted({m for i in chosen for m in mates[int(alike[i])]})
            leaving = [m for m in leaving if letters[m] == _LETTER["train"]]
            gone = [Counter(w for m in leaving for w in bags[m])]
            gone.append(Counter(w for m in leaving if inside[m] for w in bags[m]))
            wanted = [
                needed[0].union(*(bags[i] for i in chosen)),
                needed[1].union(*(bags[i] for i in chosen if inside[i])),
            ]
            if any(
                left[k][word] <= count and word in wanted[k]
                for k in (0, 1)
                for word, count in gone[k].items()
            ):
                continue
            needed = wanted
            for k in (0, 1):
                left[k].subtract(gone[k])
            letters[leaving] = _OUT
            letters[chosen] = _LETTER[part]
            held += len(chosen)
            if held >= COMPOSITIONAL_SIZES[part]:
                break
    return letters


def typeface_split(alike: NDArray[np.int64], seed: int | None) -> NDArray[np.str_]:
    """Return which characters train and which validate in Sans."""
    return grouped_split(alike, {**RANDOM_SIZES, "test": 0}, _KEY + 3, *_seed(seed))


def _seed(seed: int | None) -> tuple[int, ...]:
    return (0,) if seed is None else (1, seed)


def render(face: str, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the pictures (n, 32, 32) uint8 of characters in a typeface."""
    return rasterise(read_outlines(open_font(face), codes))


def digest(pictures: NDArray[np.uint8]) -> str:
    """Return the sha256 of pictures, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()

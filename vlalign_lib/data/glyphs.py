"""Characters and their names: real pictures by type designers, real text by a standards body."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._files import replacing
from vlalign_lib._validate import is_one_of
from vlalign_lib.data import _glyph_manifest as manifest
from vlalign_lib.data._cache import DataUnavailable, cache_dir
from vlalign_lib.data._order import check_seed
from vlalign_lib.data._paired import PairedDataset
from vlalign_lib.data._raster import RASTER_VERSION, SIZE
from vlalign_lib.data._tfidf import TfIdf

Split = Literal["random", "compositional", "typeface"]
_LETTERS = {"train": "t", "val": "v", "test": "e"}


def load_glyphs(
    split: Split = "random",
    drop_family_word: bool = False,
    *,
    families_only: bool = False,
    seed: int | None = None,
) -> PairedDataset:
    r"""Return 5,573 pairs of a character's picture and its Unicode name.

    The characters are those that DejaVu Sans, the font inside matplotlib, draws and Unicode
    names. Texts are TF-IDF vectors of the words of the names,

    .. math::

        y_{iw} \propto \mathrm{count}_i(w) \left(1 + \ln\frac{1 + n}{1 + n_w}\right),
        \qquad \lVert y_i \rVert_2 = 1,

    with the vocabulary and the :math:`n_w` (of the :math:`n` training names, those that hold
    the word) of the training part alone; a word that no training name holds counts for
    nothing. Characters whose pictures look exactly alike (A in Latin, Greek and Cyrillic) are
    in one part, in every split.

    The splits:

    - ``"random"``: 4,073 to train, 500 to validate, 1,000 to test. With ``families_only``, a
      random split of its own: 2,843, 200 and 800.
    - ``"compositional"``: every name in ``val`` and ``test`` holds a pair of words that no
      training name holds together, although each of its words is in some training name. The
      characters that look exactly like a held-out one, but are not held out themselves, are
      left out.
    - ``"typeface"``: train and validate in DejaVu Sans; test on the pictures that DejaVu Serif
      and DejaVu Sans Mono draw of the training characters, without those that look exactly
      like some picture in Sans. ``splits`` then also has ``"serif"`` and ``"mono"``, which make
      up ``"test"``; a character drawn by both is in ``"test"`` twice, so retrieve row by row
      within one of them.

    The first word of a name gives its class where at least 60 names begin with it.

    Args:
        split: how the pairs are cut into train, val and test.
        drop_family_word: take the first word out of the names of the 17 families, in
            ``captions`` and hence in ``texts``. Without it the label can be read off the text.
        families_only: keep only the pairs with a class.
        seed: None for the official cut, a whole number for another random one made by the
            same rule.

    Returns:
        ``images`` (n, 32, 32) float32 in [0, 1], 1 where there is ink; ``texts`` (n, words)
        float32; ``captions`` the names; ``labels`` 0 … 16, −1 for the other characters;
        ``label_names`` the 17 first words; ``ids`` the characters themselves.

    Raises:
        ValueError: no such split, or ``seed`` is neither None nor a whole number.
        DataUnavailable: matplotlib's fonts are not the usual ones.

    Source:
        DejaVu fonts 2.35 (bundled with matplotlib); The Unicode Standard, character names.

    Chapter:
        1, "A multimodal world".

    Example:
        >>> ds = load_glyphs(drop_family_word=True)
        >>> ds.ids[68], ds.captions[68], ds.label_names[ds.labels[68]]
        ('e', 'SMALL LETTER E', 'LATIN')
        >>> len(ds), ds.images.shape[1:], len(ds.split("test"))
        (5573, (32, 32), 1000)
    """
    if not is_one_of(split, get_args(Split)):
        raise ValueError(f"split: expected one of {get_args(Split)}, got {split!r}")
    seed = check_seed(seed)
    shipped = manifest.load_manifest()
    names = shipped.names
    families = manifest.family_words(names)
    family = {word: i for i, word in enumerate(families)}
    labels = np.array([family.get(name.split()[0], -1) for name in names], dtype=np.int64)
    captions = (
        [manifest.without_family(name, families) for name in names] if drop_family_word else names
    )
    inside = labels >= 0
    letters = _letters(shipped, split, families_only, seed, names, inside)

    kept = (letters != "-") & (inside if families_only else True)
    pictures = [_pictures("sans")[kept]]
    who = [np.flatnonzero(kept)]
    parts = [letters[kept]]
    faces = ["sans"] * int(kept.sum())
    if split == "typeface":
        for face in ("serif", "mono"):
            here = (shipped.splits[face] == "e") & kept & (letters == "t")
            drawn = shipped.ink[face] >= 0
            pictures.append(_pictures(face)[here[drawn]])
            who.append(np.flatnonzero(here))
            parts.append(np.full(int(here.sum()), "e"))
            faces += [face] * int(here.sum())
    rows, part = np.concatenate(who), np.concatenate(parts)
    splits = {name: np.flatnonzero(part == letter) for name, letter in _LETTERS.items()}
    if split == "typeface":
        face_of = np.array(faces)
        splits |= {face: np.flatnonzero(face_of == face) for face in ("serif", "mono")}

    encoder = TfIdf.fit([captions[rows[i]] for i in splits["train"].tolist()])
    images = np.concatenate(pictures).astype(np.float32)
    images /= np.float32(255.0)
    texts = encoder.transform(captions)[rows]
    for array in (images, texts):
        array.setflags(write=False)  # saves the data set a copy of its own
    return PairedDataset(
        f"glyphs ({split}{', families' if families_only else ''})",
        images=images,
        texts=texts,
        labels=labels[rows],
        label_names=families,
        captions=tuple(captions[i] for i in rows.tolist()),
        ids=tuple(chr(code) for code in shipped.codes[rows].tolist()),
        splits=splits,
        encoder=encoder,
    )


def _letters(
    shipped: manifest.GlyphManifest,
    split: Split,
    families_only: bool,
    seed: int | None,
    names: list[str],
    inside: NDArray[np.bool_],
) -> NDArray[np.str_]:
    """Return the letter of each character's part: official from the manifest, else made here."""
    column = "families" if split == "random" and families_only else split
    if seed is None:
        return shipped.splits[column]
    if column == "families":
        return manifest.families_split(shipped.alike, inside, seed)
    if column == "compositional":
        return manifest.compositional_split(names, shipped.alike, seed)
    if column == "typeface":
        return manifest.typeface_split(shipped.alike, seed)
    return manifest.random_split(shipped.alike, seed)


def _pictures(face: str) -> NDArray[np.uint8]:
    """Return the pictures of all characters that a typeface draws, from the cache if they are."""
    file, cached = cached_pictures(face)
    if cached is not None:
        return cached
    pictures = draw_pictures(face)
    try:
        with replacing(file) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, pictures=pictures)
    except OSError as error:
        warnings.warn(
            f"{file}: cannot be written ({error.strerror or error}), so the pictures are drawn "
            "anew each time, which takes about a second; set VLALIGN_CACHE to a folder with "
            "room that you can write to",
            stacklevel=3,
        )
    return pictures


def draw_pictures(face: str) -> NDArray[np.uint8]:
    """Return the pictures (n, 32, 32) of all characters that a typeface draws, drawn now."""
    shipped = manifest.load_manifest()
    codes = shipped.codes[shipped.ink[face] >= 0]
    try:
        known = manifest.open_font(face).get_charmap()
    except (OSError, RuntimeError) as error:
        raise _no_font(face, f"cannot be read ({error})") from error
    missing = [chr(code) for code in codes.tolist() if code not in known]
    if missing:
        raise _no_font(face, f"lacks {len(missing)} of {len(codes)} characters: {missing[0]!r} …")
    return manifest.render(face, codes)


def cached_pictures(face: str) -> tuple[Path, NDArray[np.uint8] | None]:
    """Return the cache file of a typeface, and its pictures unless it is missing or damaged."""
    shipped = manifest.load_manifest()
    codes = shipped.codes[shipped.ink[face] >= 0]
    try:
        font = manifest.font_path(face).read_bytes()
    except OSError as error:
        raise _no_font(face, f"cannot be read ({error})") from error
    # Another list of characters, font, size or rasteriser is another file.
    key = hashlib.sha256(codes.tobytes() + font).hexdigest()[:16]
    file = cache_dir() / "glyphs" / f"{face}-{SIZE}px-raster{RASTER_VERSION}-{key}.npz"
    try:
        # The members of an archive carry check sums; a damaged one is a BadZipFile.
        with np.load(file, allow_pickle=False) as archive:
            pictures = archive["pictures"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return file, None
    if pictures.dtype != np.uint8 or pictures.shape != (len(codes), SIZE, SIZE):
        return file, None
    return file, pictures


def _no_font(face: str, what: str) -> DataUnavailable:
    return DataUnavailable(
        f"{manifest.font_path(face)}: {what}. Glyphs are drawn with the fonts that matplotlib "
        "ships; reinstall it with `pip install --force-reinstall --no-deps matplotlib`"
    )

"""Write vlalign_lib/data/glyphs.tsv anew from matplotlib's fonts; with --check, only compare."""

from __future__ import annotations

import hashlib
import json
import sys
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from vlalign_lib.data._glyph_manifest import (
    ALIKE_LEVELS,
    COLUMNS,
    FONTS,
    SPLITS,
    GlyphManifest,
    compositional_split,
    digest,
    families_split,
    family_words,
    font_path,
    open_font,
    random_split,
    render,
    typeface_split,
)
from vlalign_lib.data._raster import RASTER_VERSION, SIZE

TARGET = Path(__file__).resolve().parents[1] / "vlalign_lib" / "data" / "glyphs.tsv"
#: How far the summed grey levels of a picture may be off where its digest is another one: the
#: mean of its 1,024 pixels is then within a sixteenth of a grey level.
INK_TOLERANCE = 64


def lookalikes(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return for each picture the first one that it looks exactly like, over chains."""
    unique, member = np.unique(pictures.reshape(len(pictures), -1), axis=0, return_inverse=True)
    # Candidates by the means of blocks of 4×4, which cannot differ by more than the pixels do;
    # float32 is enough for them, with room for its rounding.
    blocks = unique.reshape(-1, SIZE // 4, 4, SIZE // 4, 4).mean(axis=(2, 4))
    coarse = blocks.reshape(len(unique), -1).astype(np.float32)
    square = (coarse**2).sum(axis=1)
    reach = 1.1 * ALIKE_LEVELS**2 * coarse.shape[1]
    near: list[NDArray[np.int64]] = []
    for start in range(0, len(coarse), 1024):
        block = slice(start, start + 1024)
        distance = square[block, None] + square - 2 * coarse[block] @ coarse.T
        rows, columns = np.nonzero(distance <= reach)
        rows += start
        apart = np.abs(unique[rows].astype(np.int16) - unique[columns]).max(axis=1)
        near.append(np.stack([rows, columns])[:, apart <= ALIKE_LEVELS])
    edges = np.concatenate(near, axis=1)
    graph = coo_matrix((np.ones(edges.shape[1]), edges), shape=(len(unique), len(unique)))
    group = connected_components(graph, directed=False)[1][member.ravel()]
    first = np.full(group.max() + 1, len(pictures))
    np.minimum.at(first, group, np.arange(len(pictures)))
    return first[group]


def derive() -> GlyphManifest:
    """Return the manifest as it follows from the fonts here."""
    invisible = {"Zs", "Zl", "Zp", "Cf", "Mn", "Me"}
    codes = np.array(
        [
            code
            for code in sorted(open_font("sans").get_charmap())
            if unicodedata.name(chr(code), None)
            and unicodedata.category(chr(code)) not in invisible
        ],
        dtype=np.int64,
    )
    pictures = render("sans", codes)
    drawn = pictures.any(axis=(1, 2))
    codes, pictures = codes[drawn], pictures[drawn]
    n = len(codes)
    names = [unicodedata.name(chr(code)) for code in codes.tolist()]
    families = family_words(names)
    inside = np.array([name.split()[0] in families for name in names])
    alike = codes[lookalikes(pictures)]
    splits = {
        "random": random_split(alike, None),
        "families": families_split(alike, inside, None),
        "compositional": compositional_split(names, alike, None),
        "typeface": typeface_split(alike, None),
    }
    ink = {"sans": pictures.sum(axis=(1, 2), dtype=np.int64)}
    digests = {"sans": digest(pictures)}
    for face in ("serif", "mono"):
        known = open_font(face).get_charmap()
        have = np.flatnonzero([code in known for code in codes.tolist()])
        other = render(face, codes[have])
        drawn = other.any(axis=(1, 2))
        have, other = have[drawn], other[drawn]
        first = lookalikes(np.concatenate([pictures, other]))
        new = first[n:] >= n  # looks like no picture in Sans
        splits[face] = np.full(n, "-")
        splits[face][have[new]] = "e"
        ink[face] = np.full(n, -1, dtype=np.int64)
        ink[face][have] = other.sum(axis=(1, 2), dtype=np.int64)
        digests[face] = digest(other)
    facts = {
        "fonts": {face: hashlib.sha256(font_path(face).read_bytes()).hexdigest() for face in FONTS},
        "names": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "ink_tolerance": INK_TOLERANCE,
        "pictures": digests,
        "raster": RASTER_VERSION,
    }
    return GlyphManifest(codes, alike, splits, ink, facts)


def to_text(manifest: GlyphManifest) -> str:
    """Return the manifest as the text of ``glyphs.tsv``."""
    lines = [f"# {json.dumps(manifest.facts, sort_keys=True)}", "\t".join(COLUMNS)]
    columns = [
        [f"{code:04X}" for code in manifest.codes.tolist()],
        [f"{code:04X}" for code in manifest.alike.tolist()],
        *(manifest.splits[name].tolist() for name in SPLITS),
        *(["" if v < 0 else str(v) for v in manifest.ink[face].tolist()] for face in FONTS),
    ]
    lines += ["\t".join(row) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    text = to_text(derive())
    if "--check" in arguments:
        same = TARGET.read_text(encoding="utf-8") == text
        print(f"{TARGET}: {'as the fonts say' if same else 'differs from the fonts here'}")
        return 0 if same else 1
    TARGET.write_text(text, encoding="utf-8", newline="\n")
    print(f"{TARGET}: {text.count(chr(10)) - 2} characters")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

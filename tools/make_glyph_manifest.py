"""Write vlalign_lib/data/glyphs.tsv anew from matplotlib's fonts; with --check, only compare."""

from __future__ import annotations

import sys
from pathlib import Path

from vlalign_lib.data._glyph_manifest import derive

TARGET = Path(__file__).resolve().parents[1] / "vlalign_lib" / "data" / "glyphs.tsv"


def main(arguments: list[str]) -> int:
    text = derive().to_text()
    if "--check" in arguments:
        same = TARGET.read_text(encoding="utf-8") == text
        print(f"{TARGET}: {'as the fonts say' if same else 'differs from the fonts here'}")
        return 0 if same else 1
    TARGET.write_text(text, encoding="utf-8", newline="\n")
    print(f"{TARGET}: {text.count(chr(10)) - 2} characters")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

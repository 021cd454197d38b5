"""The colour of a method by the name that a table gives it."""

from __future__ import annotations

import re

from vlalign_lib.viz.palette import CYCLE, colour, has_colour


def known_as(name: str) -> str | None:
    """Return what the palette knows ``name`` as, or the word that it starts with; else None.

    "Triplet, semi-hard" and "CMDN-style" are known as Triplet and CMDN, "late + dropout" as late.
    """
    first = re.split(r"[\s,:+(-]", name.strip(), maxsplit=1)[0]
    return next((word for word in (name, first) if has_colour(word)), None)


def shade_of(name: str, place: int) -> str:
    """Return the palette's colour of ``name``, or the colour of the cycle at ``place``."""
    known = known_as(name)
    return CYCLE[place % len(CYCLE)] if known is None else colour(known)

"""One colour for one thing, through the whole book."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

# Every colour has a contrast of at least 3:1 against white. Groups that appear together
# (the two views, the splits, the methods of one chapter) stay apart for readers with
# deuteranopia, protanopia or tritanopia as well; the tests measure it.
PALETTE: Mapping[str, str] = MappingProxyType(
    {
        # modalities
        "image": "#0072B2",
        "text": "#D55E00",
        "joint": "#4B1F6F",
        # splits, and what is measured against
        "train": "#8A7FC0",
        "val": "#A67C1A",
        "test": "#2B2B2B",
        "chance": "#767676",
        # verdicts
        "right": "#00866A",
        "wrong": "#B2182B",
        # fusion, chapter 02
        "SingleView": "#767676",
        "EarlyFusion": "#B07D00",
        "LateFusion": "#004D40",
        "CoordinatedFusion": "#8E44AD",
        # closed forms, chapters 03 and 08
        "CCA": "#332288",
        "KernelCCA": "#39762D",
        "CFA": "#A08A00",
        "SM": "#D9607A",
        "SCM": "#7A1648",
        "LGCFL": "#6C4F13",
        "JRL": "#AA4499",
        # autoencoders and deep methods, chapters 04 to 08
        "BimodalAE": "#8C6D31",
        "CorrAE": "#C4711B",
        "CorrCrossAE": "#4F8A6B",
        "CorrFullAE": "#7E3F98",
        "DCCA": "#1F6FB4",
        "DCCAE": "#4A9BC9",
        "DeepSM": "#B8433F",
        "ACMR": "#5C7A29",
        "CMDN": "#6B5B95",
        "CCL": "#00798C",
        "SAM": "#D1345B",
        "Triplet": "#2A9D8F",
        "InfoNCE": "#C08A00",
    }
)
"""Hexadecimal colours by name: modalities, splits, verdicts, methods."""

CYCLE = ("#0072B2", "#D55E00", "#00866A", "#C0508E", "#332288", "#A08A00", "#767676")
"""Colours for what has no name of its own, in order."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Shapes that go with :data:`CYCLE`, so that colour never carries the meaning alone."""

_ALIASES = {
    "images": "image",
    "texts": "text",
    "both": "joint",
    "validation": "val",
    "random": "chance",
    "kcca": "kernelcca",
    "semanticmatching": "sm",
    "single": "singleview",
    "early": "earlyfusion",
    "late": "latefusion",
    "coordinated": "coordinatedfusion",
    "multimodalae": "bimodalae",
}


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def colour(name: str) -> str:
    """Return the colour that stands for a modality, a split or a method, wherever it appears.

    Args:
        name: such as "image", "text", "test" or "CCA"; case, spaces, dashes and underscores
            do not matter.

    Returns:
        The colour as ``"#RRGGBB"``.

    Raises:
        ValueError: nothing of this name has a colour; the message names the nearest.

    Chapter:
        The notation page shows the colours.

    Example:
        >>> colour("image"), colour("kernel_cca") == colour("KernelCCA")
        ('#0072B2', True)
    """
    by_key = {_key(known): value for known, value in PALETTE.items()}
    key = _key(str(name))
    key = _ALIASES.get(key, key)
    if key in by_key:
        return by_key[key]
    near = difflib.get_close_matches(key, list(by_key), n=1)
    known = {_key(each): each for each in PALETTE}
    way_out = f"did you mean {known[near[0]]!r}?" if near else f"there are {', '.join(PALETTE)}"
    raise ValueError(f"no colour for {name!r}; {way_out}")


def has_colour(name: str) -> bool:
    """Tell whether :func:`colour` knows a name.

    Args:
        name: as for :func:`colour`.

    Chapter:
        The notation page shows the colours.

    Example:
        >>> has_colour("CCA"), has_colour("a method of my own")
        (True, False)
    """
    try:
        colour(name)
    except ValueError:
        return False
    return True

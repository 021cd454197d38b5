"""Numbers that others have printed, quoted with their source; shown beside ours, never mixed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class PrintedRow:
    """One method's class mAP as printed, for one data set.

    Args:
        method: the method's short name here.
        printed_as: its name in the source.
        dataset: the data set as the source calls it.
        i2t: image query, texts ranked; None where only the average is quoted.
        t2i: text query, images ranked; None likewise.
        mean: the average as printed.
        source: the source's short name, a key of :data:`SOURCES`.
        measured_as: the data set here that has the very features, None where none has.
    """

    method: str
    printed_as: str
    dataset: str
    i2t: float | None
    t2i: float | None
    mean: float
    source: str
    measured_as: str | None = None


SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "webinar": (
            "D. Semedo, Deep Multimodal and Cross-modal Embeddings, DSPT #80 webinar, "
            "Universidade NOVA de Lisboa; table 'Some results on cross-modal retrieval'"
        ),
        "Rasiwasia 2010": (
            "N. Rasiwasia et al., A New Approach to Cross-Modal Multimedia Retrieval, ACM "
            "Multimedia 2010; only the averages, as they are commonly quoted: the original table "
            "was not read again for this one"
        ),
    }
)
"""``{short name: full reference}`` of the tables quoted here."""

FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "Pascal Sentences": "4096-d network features, 1000-d bag of words; 800/100/100 pairs",
        "NUS-WIDE-10k": "4096-d network features, 1000-d bag of words; 8000/1000/1000 pairs",
        "Wikipedia": "4096-d network features, 3000-d bag of words; 2173/231/462 pairs",
    }
)
"""What the printed numbers were computed from, as far as the released codes tell."""


_WEBINAR_SETS = ("Pascal Sentences", "NUS-WIDE-10k", "Wikipedia")


def _webinar(
    method: str, printed_as: str, *cells: tuple[float, float, float]
) -> tuple[PrintedRow, ...]:
    return tuple(
        PrintedRow(method, printed_as, name, i2t, t2i, mean, "webinar")
        for name, (i2t, t2i, mean) in zip(_WEBINAR_SETS, cells, strict=True)
    )


# fmt: off
RETRIEVAL_ROWS: tuple[PrintedRow, ...] = (
    *_webinar("cca", "CCA", (0.203, 0.208, 0.206), (0.167, 0.181, 0.174), (0.298, 0.273, 0.286)),
    *_webinar("cfa", "CFA", (0.476, 0.470, 0.473), (0.406, 0.435, 0.421), (0.319, 0.316, 0.318)),
    *_webinar("kcca", "KCCA", (0.488, 0.446, 0.467), (0.351, 0.356, 0.354), (0.438, 0.389, 0.414)),
    *_webinar(
        "lgcfl", "LGCFL", (0.539, 0.503, 0.521), (0.453, 0.485, 0.469), (0.466, 0.431, 0.449)
    ),
    *_webinar("jrl", "JRL", (0.563, 0.505, 0.534), (0.466, 0.499, 0.483), (0.479, 0.428, 0.454)),
    *_webinar(
        "corr_ae", "Corr-AE", (0.532, 0.521, 0.527), (0.441, 0.494, 0.468), (0.442, 0.429, 0.436)
    ),
    *_webinar("dcca", "DCCA", (0.568, 0.509, 0.539), (0.452, 0.465, 0.459), (0.445, 0.399, 0.422)),
    *_webinar("cmdn", "CMDN", (0.544, 0.526, 0.535), (0.492, 0.542, 0.517), (0.487, 0.427, 0.457)),
    *_webinar(
        "deep_sm", "Deep-SM", (0.560, 0.539, 0.550), (0.497, 0.478, 0.488), (0.478, 0.422, 0.450)
    ),
    *_webinar("acmr", "ACMR", (0.538, 0.544, 0.541), (0.519, 0.542, 0.531), (0.468, 0.412, 0.440)),
    *_webinar("ccl", "CCL", (0.576, 0.561, 0.569), (0.481, 0.520, 0.501), (0.505, 0.457, 0.481)),
    *_webinar("sam", "SAM", (0.637, 0.643, 0.640), (0.563, 0.594, 0.579), (0.518, 0.457, 0.487)),
)
# fmt: on
"""All twelve rows of the webinar's table, in its order."""

LINEAR_ROWS: tuple[PrintedRow, ...] = tuple(
    row for row in RETRIEVAL_ROWS if row.method in ("cca", "cfa", "kcca")
)
"""The linear rows of the webinar's table that chapter 03 measures: CCA, CFA and KCCA."""

CLASSIC_ROWS: tuple[PrintedRow, ...] = tuple(
    PrintedRow(method, name, "Wikipedia, classic", None, None, mean, "Rasiwasia 2010", "wikipedia")
    for method, name, mean in (("cca", "CM", 0.223), ("sm", "SM", 0.224), ("scm", "SCM", 0.252))
)
"""Averages of both directions on the classic features, the ones measured here."""

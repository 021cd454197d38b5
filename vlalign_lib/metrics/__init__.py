"""Retrieval metrics: average precision by class, ranks of partners, intervals, reports.

Queries and gallery are numpy arrays or torch tensors, one row an item, in one space. On a CUDA
device the heavy part stays there. Ties are everywhere scored by the expectation over their random
order, so that a space in which everything lies on one point gets the score of chance.
"""

from vlalign_lib.metrics.classes import (
    average_precision,
    average_precisions,
    chance_average_precision,
    mean_average_precision,
)
from vlalign_lib.metrics.curves import PrecisionRecall, precision_recall_curve
from vlalign_lib.metrics.pairs import (
    mean_reciprocal_rank,
    median_rank,
    ranks,
    ranks_from_scores,
    recall_at_k,
)
from vlalign_lib.metrics.report import (
    Interval,
    RetrievalReport,
    bootstrap_interval,
    retrieval_report,
)
from vlalign_lib.metrics.search import nearest

__all__ = [
    "Interval",
    "PrecisionRecall",
    "RetrievalReport",
    "average_precision",
    "average_precisions",
    "bootstrap_interval",
    "chance_average_precision",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "median_rank",
    "nearest",
    "precision_recall_curve",
    "ranks",
    "ranks_from_scores",
    "recall_at_k",
    "retrieval_report",
]

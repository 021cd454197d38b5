"""Alignment of sequences in time: DTW, soft-DTW, S2DTW.

Costs are tensors (B, n, m), one matrix a pair of sequences. Every function runs on the CPU
(compiled loops), on CUDA (a Triton kernel) and, as plain torch, everywhere else.
"""

from vlalign_lib.temporal.dtw import dtw
from vlalign_lib.temporal.pairwise import pairwise_s2dtw
from vlalign_lib.temporal.permutation import permute_in_time
from vlalign_lib.temporal.s2dtw import S2DTW, s2dtw
from vlalign_lib.temporal.sequence_cost import sequence_cost
from vlalign_lib.temporal.soft_alignment import soft_alignment
from vlalign_lib.temporal.soft_dtw import SoftDTW, soft_dtw
from vlalign_lib.temporal.soft_min import soft_min

__all__ = [
    "S2DTW",
    "SoftDTW",
    "dtw",
    "pairwise_s2dtw",
    "permute_in_time",
    "s2dtw",
    "sequence_cost",
    "soft_alignment",
    "soft_dtw",
    "soft_min",
]

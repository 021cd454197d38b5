"""Closed-form methods that bring two views into one space.

``CCA``, ``KernelCCA``, ``CFA`` and ``SemanticMatching`` share one contract: ``fit`` on pairs,
``embed_images`` and ``embed_texts`` each usable alone, ``score``, ``save`` and ``load``.
"""

from vlalign_lib.linear.cca import CCA
from vlalign_lib.linear.cfa import CFA
from vlalign_lib.linear.correlation import canonical_correlations, correlation
from vlalign_lib.linear.kernel_cca import KernelCCA
from vlalign_lib.linear.semantic_matching import SemanticMatching

__all__ = [
    "CCA",
    "CFA",
    "KernelCCA",
    "SemanticMatching",
    "canonical_correlations",
    "correlation",
]

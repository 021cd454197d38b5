"""Closed-form methods that bring two views into one space.

``CCA``, ``KernelCCA``, ``CFA``, ``SemanticMatching``, ``LGCFL`` and ``JRL`` share one contract:
``fit`` on pairs, ``embed_images`` and ``embed_texts`` each usable alone, ``score``, ``save`` and
``load``.
"""

from vlalign_lib.linear.cca import CCA
from vlalign_lib.linear.cfa import CFA
from vlalign_lib.linear.correlation import canonical_correlations, correlation
from vlalign_lib.linear.jrl import JRL
from vlalign_lib.linear.kernel_cca import KernelCCA
from vlalign_lib.linear.lgcfl import LGCFL
from vlalign_lib.linear.semantic_matching import SemanticMatching

__all__ = [
    "CCA",
    "CFA",
    "JRL",
    "LGCFL",
    "KernelCCA",
    "SemanticMatching",
    "canonical_correlations",
    "correlation",
]

"""Wirings of two views into one answer, and what happens when a wire is cut (chapter 02)."""

from vlalign_lib.models.fusion.coordinated import CoordinatedFusion, coordination_loss
from vlalign_lib.models.fusion.decision import DecisionFusion
from vlalign_lib.models.fusion.dropout import modality_dropout
from vlalign_lib.models.fusion.early import EarlyFusion
from vlalign_lib.models.fusion.late import LateFusion
from vlalign_lib.models.fusion.single import SingleView
from vlalign_lib.models.fusion.standardise import BlockStandardiser

__all__ = [
    "BlockStandardiser",
    "CoordinatedFusion",
    "DecisionFusion",
    "EarlyFusion",
    "LateFusion",
    "SingleView",
    "coordination_loss",
    "modality_dropout",
]

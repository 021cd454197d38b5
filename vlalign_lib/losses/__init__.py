"""The objectives of the course: functions first, with a thin module around each."""

from vlalign_lib.losses.adaptive_margin import (
    AdaptiveMarginTripletLoss,
    adaptive_margin_triplet_loss,
    margin_weight,
)
from vlalign_lib.losses.cca import CCALoss, cca_loss
from vlalign_lib.losses.cka import CKALoss, cka_loss
from vlalign_lib.losses.classification_proxy import (
    ClassificationProxyLoss,
    classification_proxy_loss,
)
from vlalign_lib.losses.contrastive_pair import ContrastivePairLoss, contrastive_pair_loss
from vlalign_lib.losses.correspondence import CorrespondenceLoss, correspondence_loss
from vlalign_lib.losses.domain_adversarial import (
    DomainAdversarialLoss,
    GradientReversal,
    domain_adversarial_loss,
    gradient_reversal,
    reversal_schedule,
)
from vlalign_lib.losses.info_nce import InfoNCELoss, info_nce_loss
from vlalign_lib.losses.mil_nce import MILNCELoss, mil_nce_loss
from vlalign_lib.losses.s2dtw_contrastive import S2DTWContrastiveLoss, s2dtw_contrastive_loss
from vlalign_lib.losses.sigmoid_pair import SigmoidPairLoss, sigmoid_pair_loss
from vlalign_lib.losses.triplet import TripletLoss, TripletStatistics, triplet_loss

__all__ = [
    "AdaptiveMarginTripletLoss",
    "CCALoss",
    "CKALoss",
    "ClassificationProxyLoss",
    "ContrastivePairLoss",
    "CorrespondenceLoss",
    "DomainAdversarialLoss",
    "GradientReversal",
    "InfoNCELoss",
    "MILNCELoss",
    "S2DTWContrastiveLoss",
    "SigmoidPairLoss",
    "TripletLoss",
    "TripletStatistics",
    "adaptive_margin_triplet_loss",
    "cca_loss",
    "cka_loss",
    "classification_proxy_loss",
    "contrastive_pair_loss",
    "correspondence_loss",
    "domain_adversarial_loss",
    "gradient_reversal",
    "info_nce_loss",
    "margin_weight",
    "mil_nce_loss",
    "reversal_schedule",
    "s2dtw_contrastive_loss",
    "sigmoid_pair_loss",
    "triplet_loss",
]

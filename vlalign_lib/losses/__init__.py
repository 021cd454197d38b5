"""The objectives of the course: functions first, with a thin module around each."""

from vlalign_lib.losses.cca import CCALoss, cca_loss
from vlalign_lib.losses.classification_proxy import (
    ClassificationProxyLoss,
    classification_proxy_loss,
)
from vlalign_lib.losses.correspondence import CorrespondenceLoss, correspondence_loss
from vlalign_lib.losses.domain_adversarial import (
    DomainAdversarialLoss,
    GradientReversal,
    domain_adversarial_loss,
    gradient_reversal,
    reversal_schedule,
)

__all__ = [
    "CCALoss",
    "ClassificationProxyLoss",
    "CorrespondenceLoss",
    "DomainAdversarialLoss",
    "GradientReversal",
    "cca_loss",
    "classification_proxy_loss",
    "correspondence_loss",
    "domain_adversarial_loss",
    "gradient_reversal",
    "reversal_schedule",
]

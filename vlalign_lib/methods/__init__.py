r"""The cross-modal methods of the results table: one class each, one contract.

``fit(images, texts, labels=None, *, validation=None)`` learns from pairs; ``embed_images`` and
``embed_texts`` are usable alone, where the other view is missing; ``score`` is the mean reciprocal
rank; ``save`` and ``load`` keep a fitted method in one safetensors file. Parameters are those of
scikit-learn: ``get_params``, ``clone`` and ``GridSearchCV`` work. ``from_paper()`` gives the
settings of the paper as far as they are known; the defaults work on a thousand pairs.

The trained methods take feature vectors (n, p) or pictures (n, height, width), and share these
parameters:

- ``n_components``: dimensions k of the shared space; :class:`DeepSM` does not read it, its space
  has a dimension for each class;
- ``hidden``: widths of the layers between, for views of vectors;
- ``channels``: filters of the first of three convolutions, for pictures; vectors have none, and it
  is not read for them;
- ``dropout``: share of units left out of each training step;
- ``shift``: pixels that pictures are moved at random in training, each way at most; vectors cannot
  be moved, and with them ``fit`` refuses anything but the default and 0;
- ``scaling``: ``"view"`` takes the mean off each column and divides the whole view by one number,
  so that a rare word keeps a small weight; ``"columns"`` brings each column to deviation 1, for
  views whose columns have units of their own. Pictures have one mean and one deviation;
- ``epochs``, ``batch_size``, ``learning_rate`` (falling to 0 along a cosine), ``weight_decay``
  (AdamW's);
- ``random_state``: of weights, order and jitter; None is 0;
- ``device``: ``"auto"``, ``"cpu"``, ``"cuda"``; ``progress``: whether to show a bar.

After ``fit`` they have ``loss_curve_``, ``validation_curve_``, ``best_epoch_`` and ``network_``.
"""

from vlalign_lib.linear import CCA, CFA, JRL, LGCFL, KernelCCA, SemanticMatching
from vlalign_lib.linear._base import TwoViewEstimator
from vlalign_lib.methods.acmr import ACMR
from vlalign_lib.methods.bimodal_ae import BimodalAE
from vlalign_lib.methods.ccl import CCL
from vlalign_lib.methods.cmdn import CMDN
from vlalign_lib.methods.corr_ae import CorrAE, CorrCrossAE, CorrFullAE
from vlalign_lib.methods.dcca import DCCA
from vlalign_lib.methods.deep_sm import DeepSM
from vlalign_lib.methods.info_nce import InfoNCE
from vlalign_lib.methods.sam import SAM
from vlalign_lib.methods.scm import SCM
from vlalign_lib.methods.triplet import Triplet

METHODS: dict[str, type[TwoViewEstimator]] = {
    "cca": CCA,
    "cfa": CFA,
    "kcca": KernelCCA,
    "lgcfl": LGCFL,
    "jrl": JRL,
    "sm": SemanticMatching,
    "scm": SCM,
    "bimodal_ae": BimodalAE,
    "corr_ae": CorrAE,
    "corr_cross_ae": CorrCrossAE,
    "corr_full_ae": CorrFullAE,
    "dcca": DCCA,
    "cmdn": CMDN,
    "deep_sm": DeepSM,
    "acmr": ACMR,
    "ccl": CCL,
    "triplet": Triplet,
    "sam": SAM,
    "info_nce": InfoNCE,
}
"""``{name: class}`` of every method of the table and its neighbours."""

__all__ = [
    "ACMR",
    "CCL",
    "CMDN",
    "DCCA",
    "METHODS",
    "SAM",
    "SCM",
    "BimodalAE",
    "CorrAE",
    "CorrCrossAE",
    "CorrFullAE",
    "DeepSM",
    "InfoNCE",
    "Triplet",
]

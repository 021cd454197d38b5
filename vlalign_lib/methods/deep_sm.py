"""Deep semantic matching: two classifiers that never meet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import Tensor

from vlalign_lib._validate import Rule, as_number, check_choice
from vlalign_lib.linear._base import Name
from vlalign_lib.losses import classification_proxy_loss
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork
from vlalign_lib.training import FitContext


@dataclass(kw_only=True, repr=False, eq=False)
class DeepSM(DeepMethod):
    r"""Train one classifier a view, and compare what they believe.

    .. math::

        \min_{f, g} \; -\frac1B \sum_i \bigl(\log \sigma(f(x_i))_{c_i}
            + \log \sigma(g(y_i))_{c_i}\bigr), \qquad
        u = \sigma(f(x)/T), \quad v = \sigma(g(y)/T)

    with the softmax σ over the C classes. No pair is used: the two sums share no weights, and
    shuffling the pairs within a class changes nothing. The classes are the shared space, so items
    of one class end on nearly one point and the partner among them cannot be found.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`. ``n_components`` is not read: the space
    has a dimension for each class.

    Args:
        temperature: T > 0 of the posteriors that are compared; training has 1. Over-confident
            networks give one-hot posteriors that tie, and a higher T tells them apart.
        posterior: compare ``"probabilities"`` or ``"logarithms"`` of them.

    Raises:
        ValueError: in ``fit``; labels are needed, of at least two classes.

    Source:
        Wei et al., "Cross-Modal Retrieval With CNN Visual Features: A New Baseline", IEEE
        Transactions on Cybernetics 47(2), 2017. Certain: one network a view, softmax
        cross-entropy, posteriors compared. The networks are smaller here than the fine-tuned
        AlexNet there.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = DeepSM(epochs=2, random_state=0)
        >>> method = method.fit(train.images, train.texts, train.labels)
        >>> method.embed_images(train.images[:3]).sum(axis=1).round(6).tolist()
        [1.0, 1.0, 1.0]
    """

    needs_labels: ClassVar[bool] = True
    _rules: ClassVar[dict[str, Rule]] = {
        **{name: rule for name, rule in DeepMethod._rules.items() if name != "n_components"},
        "temperature": partial(as_number, above=0),
        "posterior": partial(check_choice, choices=("probabilities", "logarithms")),
    }

    temperature: float = 1.0
    posterior: str = "probabilities"

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of Wei et al. as far as they are known.

        Certain: probabilities are compared, without a temperature. Not known here: rates and
        epochs of the text network.
        """
        return cls()

    def _network(self) -> TwoViewNetwork:
        return TwoViewNetwork(*self._encoders(len(self.classes_)))

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        x_logits, y_logits = network(x, y)
        return classification_proxy_loss(x_logits, y_logits, labels, gather=True)

    def _output(self, codes: NDArray[np.float64], view: Name) -> NDArray[np.float64]:
        function = softmax if self.posterior == "probabilities" else log_softmax
        compared: NDArray[np.float64] = function(codes / self.temperature, axis=1)
        return compared

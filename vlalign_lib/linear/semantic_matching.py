"""Semantic matching: both views into the space of classes."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import clone

from vlalign_lib._validate import Rule, as_number, as_whole, check_choice, optional
from vlalign_lib.linear._base import (
    Name,
    TwoViewEstimator,
    class_numbers,
    classes_of,
    ridge,
    standardise,
)

# The solver stops when no derivative of the mean loss is larger: posteriors to about 1e-3.
_GRADIENT = 1e-5
# No ridge is weaker than this, or stronger than its inverse.
_WEAKEST = 1e-300
# Colder than this, dividing by the temperature could overflow.
_COLDEST = 1e-9


def _estimator(value: Any, name: str) -> TwoViewEstimator:
    """Return the estimator to fit beneath."""
    if isinstance(value, TwoViewEstimator):
        return value
    raise ValueError(
        f"{name}: expected None or an estimator of vlalign_lib.linear such as CCA(), got {value!r}"
    )


class SemanticMatching(TwoViewEstimator):
    r"""Embed each view as its class probabilities: one classifier a view, no pairs needed.

    .. math::

        u_c = P(c \mid x) = \frac{\exp((w_c^\top x + b_c) / T)}{\sum_{c'} \exp((w_{c'}^\top x
            + b_{c'}) / T)}, \qquad
        \min_{W, b} -\frac1n \sum_i \log P(c_i \mid x_i) + \frac{\kappa}{2} \|W\|_F^2,

    multinomial logistic regression fitted to the images and, by itself, to the texts. Both
    posteriors live in one simplex, so an image and a text are close when the classifiers say
    the same. With ``on=CCA(...)`` the classifiers read CCA's variates instead of the inputs:
    semantic correlation matching (SCM), which uses the pairs and the labels.

    Args:
        reg: :math:`\kappa`, the ridge on the weights of the standardised inputs, relative to
            the mean loss of a pair.
        on: None for SM; an estimator that is not fitted yet (``CCA``, ``KernelCCA``, ``CFA``) for
            SCM. ``fit`` clones it; the fitted one is ``on_``.
        space: ``"probability"`` embeds as :math:`u`, ``"log"`` as :math:`\log u` minus its mean
            over the classes, which over-confident classifiers do not round to 0 and 1.
        temperature: T > 0 (1e-9 at least) at embedding; above 1 it softens the posteriors, and
            does nothing to the fit.
        max_iter: Steps of the solver at most.
        random_state: Taken by every method; nothing here is random.

    Attributes:
        classes_: (C,) the class indices seen in ``fit``, ascending: the axes of the space.
        image_weights_, text_weights_: (p, C), (q, C) W on the standardised inputs.
        image_bias_, text_bias_: (C,) b.
        on_: The fitted estimator beneath, None for SM.
        n_components_: C.

    Raises:
        ValueError: in ``fit``; see there. Labels are needed, of two classes or more. A label of
            -1 marks a pair without one: it takes part in ``on``, not in the classifiers.

    Source:
        Rasiwasia et al., "A new approach to cross-modal multimedia retrieval", ACM
        Multimedia 2010, sections 4.3 and 4.4; Costa Pereira et al., "On the role of correlation
        and abstraction in cross-modal multimedia retrieval", TPAMI 36, 2014.

    Chapter:
        3, Linear coordinates: CCA and kin.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(90) % 3
        >>> images = np.eye(3)[labels] + 0.1 * rng.normal(size=(90, 3))
        >>> texts = np.eye(3)[labels] @ rng.normal(size=(3, 5))
        >>> sm = SemanticMatching().fit(images, texts, labels)
        >>> bool((sm.embed_texts(texts).argmax(axis=1) == labels).all())
        True
    """

    _rules: ClassVar[dict[str, Rule]] = {
        "reg": ridge,
        "on": optional(_estimator),
        "space": partial(check_choice, choices=("probability", "log")),
        "temperature": partial(as_number, low=_COLDEST),
        "max_iter": as_whole,
    }

    classes_: NDArray[np.int64]
    image_weights_: NDArray[np.float64]
    text_weights_: NDArray[np.float64]
    image_bias_: NDArray[np.float64]
    text_bias_: NDArray[np.float64]
    on_: TwoViewEstimator | None

    def __init__(
        self,
        reg: float = 1e-3,
        *,
        on: TwoViewEstimator | None = None,
        space: Literal["probability", "log"] = "probability",
        temperature: float = 1.0,
        max_iter: int = 1000,
        random_state: int | None = None,
    ) -> None:
        self.reg = reg
        self.on = on
        self.space = space
        self.temperature = temperature
        self.max_iter = max_iter
        self.random_state = random_state

    @classmethod
    def from_paper(cls) -> Self:
        """Return SM as in Rasiwasia et al. 2010; for SCM, set ``on=CCA.from_paper()``.

        Certain: multinomial logistic regression in each view, posteriors as embedding. Not
        certain: the strength of its regularisation (here the default), and which distance each
        printed number used (there KL, L1, normalised correlation; here cosine).
        """
        return cls()

    def _fit(
        self, x: NDArray[np.floating], y: NDArray[np.floating], labels: ArrayLike | None
    ) -> None:
        given = self._checked()
        classes = class_numbers(labels, len(x), "semantic matching")
        self.on_ = None if self.on is None else clone(self.on).fit(x, y, classes)
        if self.on_ is not None:
            x, y = self.on_.embed_images(x), self.on_.embed_texts(y)
        known = classes >= 0
        self.classes_ = classes_of(classes)
        for side, rows in (("image", x), ("text", y)):
            z, mean, scale = standardise(rows[known], f"{side}s")
            weights, bias = _logistic_regression(z, classes[known], given.reg, given.max_iter)
            setattr(self, f"{side}_mean_", mean)
            setattr(self, f"{side}_scale_", scale)
            setattr(self, f"{side}_weights_", weights)
            setattr(self, f"{side}_bias_", bias)
        self.n_components_ = len(self.classes_)

    def _embed(self, rows: NDArray[np.floating], view: Name) -> NDArray[np.float64]:
        if self.on_ is not None:
            rows = self.on_.embed_images(rows) if view == "images" else self.on_.embed_texts(rows)
        z = (rows - self._learned(view, "mean")) / self._learned(view, "scale")
        logits = (z @ self._learned(view, "weights") + self._learned(view, "bias")) / (
            self.temperature
        )
        if self.space == "probability":
            posterior: NDArray[np.float64] = softmax(logits, axis=1)
            return posterior
        logarithm: NDArray[np.float64] = log_softmax(logits, axis=1)
        return logarithm - logarithm.mean(axis=1, keepdims=True)


def _logistic_regression(
    z: NDArray[np.float64], classes: NDArray[np.int64], reg: float, max_iter: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights (p, C) and biases (C,) of multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    # scikit-learn sums the losses and, for two classes, keeps one weight vector w for ±w/2.
    binary = len(np.unique(classes)) == 2
    strength = np.inf
    if reg > 0:
        pull = min(max(len(z) * reg, _WEAKEST), 1 / _WEAKEST)  # so that its inverse is a number
        strength = (2 if binary else 1) / pull
    fitted = LogisticRegression(C=strength, tol=_GRADIENT, max_iter=max_iter).fit(z, classes)
    weights, bias = fitted.coef_.T, fitted.intercept_
    if binary:
        weights, bias = np.hstack([-weights, weights]) / 2, np.hstack([-bias, bias]) / 2
    return weights.astype(np.float64), bias.astype(np.float64)

"""Deep canonical correlation analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vlalign_lib._validate import Rule, as_flag
from vlalign_lib.linear import CCA
from vlalign_lib.linear._base import Name
from vlalign_lib.losses import cca_loss
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork
from vlalign_lib.training import FitConfig, FitContext


@dataclass(kw_only=True, repr=False, eq=False)
class DCCA(DeepMethod):
    r"""Train two encoders until their outputs correlate, then rotate them onto each other by CCA.

    .. math::

        \max_{f, g} \sum_{j=1}^{k} \rho_j\bigl(f(X), g(Y)\bigr), \qquad
        u = A^\top f(x), \quad v = B^\top g(y)

    with the canonical correlations ρ of each batch, and A, B from a linear CCA fitted to the
    outputs for all training pairs. The objective does not change when either output is turned
    (or multiplied by any invertible matrix, without ridge), so raw outputs of the two networks
    are in no common space: without that last fit retrieval is near chance.

    Labels are not read.

    ``dropout``, and with pictures ``shift``, disturb what a batch correlates. With the hundreds of
    pairs of small sets they pay; with thousands of pictures choose them on validation pairs, zero
    among the values: of the names of characters the defaults find far fewer.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`. The incomplete last batch of an epoch is
    left out.

    Args:
        reg: ridge κ of the correlations in each batch, relative to the mean variance.
        refit: whether to fit CCA to the outputs after training. False shows what happens without.
        refit_reg: ridge κ of that CCA.
        n_components: dimensions k of the outputs, and of the shared space. Use batches of 2.5
            times as many pairs at least; from k + 1 pairs down every correlation is perfect.

    Attributes:
        refit_: the CCA that was fitted last, None without ``refit``.

    Raises:
        ValueError: in ``fit``; a batch of k + 1 pairs or fewer, or as few held-out pairs.

    Warns:
        UserWarning: in ``fit``; batches of fewer than 2.5 pairs a dimension.

    Source:
        Andrew, Arora, Bilmes, Livescu, "Deep canonical correlation analysis", ICML 2013,
        section 3.

    Chapter:
        5, Deep CCA.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = DCCA(epochs=2, random_state=0).fit(train.images, train.texts)
        >>> method.correlations_.shape
        (10,)
    """

    _rules: ClassVar[dict[str, Rule]] = DeepMethod._rules | {"refit": as_flag}

    n_components: int = 10
    batch_size: int | None = 100
    reg: float = 1e-3
    refit: bool = True
    refit_reg: float = 1e-3

    @classmethod
    def from_paper(cls) -> Self:
        """Return settings near those of Andrew et al. 2013.

        Certain: the objective on the full batch, and the linear CCA at the end. Different here:
        Adam in place of L-BFGS, no pretraining by denoising autoencoders, rectifiers in place of
        their cube-root sigmoid.
        """
        return cls(batch_size=None, epochs=200)

    @property
    def correlations_(self) -> NDArray[np.float64]:
        """The correlations of the final CCA on the training pairs."""
        if self.refit_ is None:
            raise AttributeError("correlations_: there is no final CCA with refit=False")
        return self.refit_.correlations_

    def _config(self, given: SimpleNamespace, n: int) -> FitConfig:
        return replace(super()._config(given, n), drop_last=True)

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        return cca_loss(*network(x, y), reg=self.reg, gather=True)

    def _monitor(self, x: Tensor, y: Tensor, labels: Tensor) -> Callable[[nn.Module], float]:
        if len(x) - 1 <= self.n_components:
            raise ValueError(
                f"validation: {len(x)} pairs with {self.n_components} dimensions correlate "
                f"perfectly whatever the epoch; hold out more than {2.5 * self.n_components:g} "
                "pairs, or use fewer dimensions (chapter 5)"
            )

        def minus_correlation(network: nn.Module) -> float:
            """All held-out pairs at once: a batch of what is left over would mean nothing."""
            device = next(network.parameters()).device
            return float(cca_loss(*network(x.to(device), y.to(device)), reg=self.reg))

        return minus_correlation

    def _finish(self, zx: NDArray[np.float64], zy: NDArray[np.float64], labels: Tensor) -> None:
        self.refit_ = None
        if self.refit:
            u, v = self._codes(zx, "images"), self._codes(zy, "texts")
            self.refit_ = CCA(self.n_components, self.refit_reg).fit(u, v)

    def _output(self, codes: NDArray[np.float64], view: Name) -> NDArray[np.float64]:
        return codes if self.refit_ is None else self.refit_._embed(codes, view)

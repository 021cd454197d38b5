"""Kernel canonical correlation analysis."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack, solve_triangular

from vlalign_lib._fast import fast
from vlalign_lib._validate import Rule, as_number, as_whole, check_choice, is_whole, optional
from vlalign_lib.linear._base import (
    Matrix,
    Name,
    TwoViewEstimator,
    as_pair,
    components,
    ridge,
    settle_signs,
    squared_distances,
)
from vlalign_lib.linear.cca import View, canonical_pairs, linear_view

Kernel = Literal["rbf", "linear"]

# Test kernels are made this many rows at a time; the median heuristic looks at so many at most.
_ROWS = 2000
# A centred kernel whose mean diagonal is below this is rounding and nothing else.
_FLAT = 1e-12


class _KernelView:
    """One standardised view seen through its kernel, whole or through landmarks."""

    def __init__(
        self,
        z: Matrix,
        kernel: Kernel,
        gamma: float | None,
        drawn: NDArray[np.intp] | None,
    ) -> None:
        self.corner: Matrix | None
        self.gamma = None if kernel == "linear" else gamma or _typical_gamma(z)
        if drawn is None:
            self.anchors, self.corner = z, None
            self.centred = gram(z, z, self.gamma)
            self.column_means = centre(self.centred)
            spread = float(np.trace(self.centred))
        else:
            # Nyström: φ(z) = R⁻¹ k(landmarks, z) with R Rᵀ the landmarks' own kernel.
            self.anchors, self.corner = _independent(z[drawn], self.gamma)
            seen = gram(z, self.anchors, self.gamma)
            self.column_means = seen.mean(axis=0)
            features = solve_triangular(self.corner, (seen - self.column_means).T, lower=True)
            self.centred = features.T
            spread = float(np.vdot(self.centred, self.centred))
        if spread < _FLAT * len(z):
            raise ValueError(
                f"gamma={gamma}: so wide a kernel finds all items alike; take a larger gamma, "
                'None for the median heuristic, or kernel="linear"'
            )

    def factorise(self, reg: float, eps: float, wanted: int | None) -> View:
        """Return the view ready for pairing, its ridge reg · tr(K)/n."""
        if self.corner is None:
            return kernel_view(self.centred, reg, eps)
        n, d = self.centred.shape
        return linear_view(self.centred, reg * d / n, eps, wanted=wanted or d)

    def coefs(self, view: View, weights: Matrix, partner: Matrix, rho: Matrix) -> Matrix:
        """Return one weight for each anchor and component."""
        if self.corner is None:
            return view.duals(weights, partner, rho)
        on_features = view.weights(self.centred, weights, partner, rho)
        return solve_triangular(self.corner, on_features, trans="T", lower=True)


def gram(a: Matrix, b: Matrix, gamma: float | None) -> Matrix:
    """Return the kernel between the rows of a (n, p) and b (m, p); gamma None: linear."""
    if gamma is None:
        return a @ b.T
    return rbf(squared_distances(a, b), gamma)


def rbf(distances: Matrix, gamma: float) -> Matrix:
    """Turn squared distances into exp(−γd²), in place."""
    distances *= -gamma
    return np.exp(distances, out=distances)


def median_gamma(distances: Matrix) -> float:
    """Return 1/(2 median d²) over the pairs i < j of a square matrix of squared distances.

    Where more than half of the rows coincide the mean takes the place of the median.
    """
    below = distances[np.tri(len(distances), k=-1, dtype=bool)]
    typical = float(np.median(below)) or float(below.mean())
    return 1 / (2 * typical)


def centre(kernel: Matrix) -> Matrix:
    """Centre a Gram matrix (n, n) in feature space, in place; return its column means (n,)."""
    means: Matrix = kernel.mean(axis=0)
    kernel -= means
    kernel -= (means - means.mean())[:, None]
    return means


def _typical_gamma(z: Matrix) -> float:
    if len(z) > _ROWS:
        z = z[np.linspace(0, len(z) - 1, _ROWS).astype(int)]
    return median_gamma(squared_distances(z, z))


def _independent(rows: Matrix, gamma: float | None) -> tuple[Matrix, Matrix]:
    """Return the rows whose kernel is not singular, and its lower Cholesky factor."""
    factor, pivots, rank, _ = lapack.dpstrf(gram(rows, rows, gamma).T, lower=1)
    return rows[pivots[:rank] - 1], np.tril(factor[:rank, :rank])


class KernelCCA(TwoViewEstimator):
    r"""Find curved directions along which the pairs agree: CCA in the feature space of a kernel.

    .. math::

        \max_{\alpha, \beta} \alpha^\top K_x K_y \beta
        \quad\text{s.t.}\quad \alpha^\top (K_x^2 + c_x K_x) \alpha
            = \beta^\top (K_y^2 + c_y K_y) \beta = n - 1,
        \qquad c_x = \kappa \frac{\operatorname{tr} K_x}{n},

    on centred kernels, whose solutions satisfy
    :math:`(K_x + c_x I)^{-1} K_y (K_y + c_y I)^{-1} K_x \alpha = \rho^2 \alpha`. An image x is
    then embedded as :math:`\sum_i \alpha_i \, k(x, x_i)`, centred with the means of the training
    kernel. Solved on the pivoted Cholesky factors of the kernels (Hardoon's partial
    Gram-Schmidt), which stop at the numerical rank.

    A kernel such as ``"rbf"`` has room for every pair: without a ridge every training
    correlation is 1 whatever the data.

    Args:
        n_components: Shared dimensions k; None for as many as there are. Where the data have
            fewer, ``fit`` warns and keeps those (``n_components_``).
        kernel: ``"rbf"``, :math:`\exp(-\gamma \|x - x'\|^2)`, or ``"linear"``,
            :math:`x^\top x'`; a pair ``(images, texts)`` to treat the views differently. Inputs
            are standardised first.
        gamma: :math:`\gamma > 0` of the rbf kernel; None for the median heuristic,
            :math:`1 / (2 \operatorname{median}_{i<j} \|x_i - x_j\|^2)` in each view, over
            2,000 rows evenly spaced where there are more; a pair ``(images, texts)`` to treat
            the views differently.
        reg: :math:`\kappa`, the ridge relative to the mean eigenvalue of the kernel. With a
            linear kernel, ``reg`` here is CCA's ``reg`` times n/p.
            The default lies between what digits (0.1) and glyphs and Wikipedia (1) like best.
        landmarks: None for every training pair, at the price of a few n×n matrices and of time
            that grows as n³; a number m for the Nyström approximation with m of the pairs
            drawn at random.
        random_state: Seed of the draw of landmarks, an int or a numpy Generator; nothing else is
            random.

    Attributes:
        correlations_: (k,) :math:`\rho` of the regularised problem, descending.
        image_coefs_: (n, k) :math:`\alpha`, one row a training image (a landmark). Signs: in
            each column the entry of largest magnitude is positive.
        text_coefs_: (n, k) :math:`\beta`.
        image_anchors_, text_anchors_: The standardised training rows (landmarks) that new ones
            are compared with.
        image_gamma_, text_gamma_: :math:`\gamma` as used; None for a linear kernel.
        n_components_: k as learned.

    Raises:
        ValueError: in ``fit``; see there.

    Source:
        Hardoon, Szedmak, Shawe-Taylor, "Canonical correlation analysis: an overview with
        application to learning methods", Neural Computation 16, 2004, section 4; pivoted Cholesky:
        Bach and Jordan, "Kernel independent component analysis", JMLR 3, 2002.

    Chapter:
        3, Linear coordinates: CCA and kin.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> angle = rng.uniform(0, 2 * np.pi, 300)
        >>> once = np.column_stack([np.cos(angle), np.sin(angle)])
        >>> twice = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)])
        >>> kcca = KernelCCA(n_components=2).fit(once[:200], twice[:200])
        >>> u, v = kcca.embed_images(once[200:]), kcca.embed_texts(twice[200:])
        >>> bool(np.corrcoef(u[:, 0], v[:, 0])[0, 1] > 0.95)
        True
    """

    _rules: ClassVar[dict[str, Rule]] = {
        "n_components": components,
        "kernel": partial(
            as_pair,
            rule=partial(check_choice, choices=get_args(Kernel)),
            what='"rbf", "linear"',
        ),
        "gamma": partial(
            as_pair,
            rule=optional(partial(as_number, above=0)),
            what="None (median heuristic), or a positive number",
        ),
        "reg": ridge,
        "landmarks": optional(partial(as_whole, least=2, hint="; None takes every pair")),
    }

    correlations_: NDArray[np.float64]
    image_anchors_: NDArray[np.float64]
    text_anchors_: NDArray[np.float64]
    image_coefs_: NDArray[np.float64]
    text_coefs_: NDArray[np.float64]
    image_gamma_: float | None
    text_gamma_: float | None
    image_offset_: NDArray[np.float64]
    text_offset_: NDArray[np.float64]

    def __init__(
        self,
        n_components: int | None = 10,
        kernel: Kernel | tuple[Kernel, Kernel] = "rbf",
        gamma: float | tuple[float | None, float | None] | None = None,
        reg: float = 0.3,
        *,
        landmarks: int | None = None,
        random_state: int | np.random.Generator | None = None,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.reg = reg
        self.landmarks = landmarks
        self.random_state = random_state

    @classmethod
    def from_paper(cls) -> Self:
        """Return kernel CCA as in Hardoon et al. 2004: Gaussian for images, linear for texts.

        Certain: the regularised problem, its solution by partial Gram-Schmidt, a Gaussian
        kernel on image colours and a linear one on term frequencies. Not certain: the width of
        the Gaussian (here the median heuristic) and the ridge, which the paper chooses by
        comparison with randomised pairs and does not state relative to the kernel (here the
        default).
        """
        return cls(kernel=("rbf", "linear"))

    def _fit(
        self, x: NDArray[np.floating], y: NDArray[np.floating], labels: ArrayLike | None
    ) -> None:
        given = self._checked()
        drawn = self._draw(given.landmarks, len(x))
        views = [
            _KernelView(z, kernel, gamma, drawn)
            for z, kernel, gamma in zip(
                self._learn_scale(x, y), given.kernel, given.gamma, strict=True
            )
        ]
        factors = [
            view.factorise(given.reg, float(np.finfo(source.dtype).eps), given.n_components)
            for view, source in zip(views, (x, y), strict=True)
        ]
        a, b, rho = canonical_pairs(
            factors[0], factors[1], given.n_components, given.reg, stacklevel=4
        )
        u, v = factors[0].scores @ a, factors[1].scores @ b
        alpha = views[0].coefs(factors[0], a, v, rho)
        beta = views[1].coefs(factors[1], b, u, rho)
        self.image_coefs_, self.text_coefs_ = settle_signs(alpha, beta)
        for side, view in zip(("image", "text"), views, strict=True):
            coefs = getattr(self, f"{side}_coefs_")
            setattr(self, f"{side}_anchors_", view.anchors)
            setattr(self, f"{side}_gamma_", view.gamma)
            setattr(self, f"{side}_offset_", view.column_means @ coefs)
        self.correlations_ = rho
        self.n_components_ = len(rho)

    def _draw(self, landmarks: int | None, n: int) -> NDArray[np.intp] | None:
        """Return the rows that serve as landmarks, None for all."""
        if landmarks is None or landmarks >= n:
            return None
        rng = as_generator(self.random_state)
        return np.sort(rng.choice(n, landmarks, replace=False))

    def _embed(self, rows: NDArray[np.floating], view: Name) -> NDArray[np.float64]:
        anchors, coefs = self._learned(view, "anchors"), self._learned(view, "coefs")
        gamma: float | None = getattr(self, f"{view[:-1]}_gamma_")
        embedded = np.empty((len(rows), coefs.shape[1]))
        for start in range(0, len(rows), _ROWS):
            block = rows[start : start + _ROWS] - self._learned(view, "mean")
            block /= self._learned(view, "scale")
            embedded[start : start + _ROWS] = gram(block, anchors, gamma) @ coefs
        # Centring takes away the training kernel's column means here, and the mean of each new
        # row: that term is nothing, since the coefficients of a full kernel add up to zero.
        return embedded - self._learned(view, "offset")


def as_generator(random_state: Any) -> np.random.Generator:
    """Return the generator that ``random_state`` stands for."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None or (is_whole(random_state) and random_state >= 0):
        return np.random.default_rng(random_state)
    raise ValueError(
        "random_state: expected None, a whole number of at least 0 or a numpy Generator, got "
        f"{random_state!r}"
    )


@fast("kernel_view")
def kernel_view(gram: Matrix, reg: float, eps: float) -> View:
    """Factorise a centred Gram matrix K (n, n), ridge c = reg · tr(K)/n."""
    n = gram.shape[0]
    ridge = reg * float(np.trace(gram)) / n
    values, vectors = np.linalg.eigh(gram)
    keep = values > values[-1] * n * eps
    values, vectors = values[keep], vectors[:, keep]
    root = np.sqrt(values)
    return View(vectors * root, np.diag(1 / np.sqrt(values + ridge)), vectors / root)

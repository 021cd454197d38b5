"""Correlation of two views: of given embeddings, and the best that linear maps can reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import as_matrix, check_paired
from vlalign_lib.linear._base import Matrix, ridge, standardise
from vlalign_lib.linear.cca import canonical_pairs, linear_view


def correlation(u: ArrayLike, v: ArrayLike) -> NDArray[np.float64]:
    r"""Measure how far each component of two embeddings goes together over the pairs.

    .. math::

        \rho_j = \frac{\sum_i (u_{ij} - \bar u_j)(v_{ij} - \bar v_j)}
            {\sqrt{\sum_i (u_{ij} - \bar u_j)^2 \, \sum_i (v_{ij} - \bar v_j)^2}}

    On the pairs that CCA was fitted to, this is what it maximised; on held-out pairs, it is
    what the components are worth.

    Args:
        u: (n, k) embedded images, at least two rows.
        v: (n, k) embedded texts, row i the partner of row i.

    Returns:
        (k,) Pearson correlations in [-1, 1], float64. A component that is constant in either
        view shares nothing: 0.

    Raises:
        ValueError: shapes that differ, fewer than two pairs, NaN or infinity.

    Source:
        Hotelling, "Relations between two sets of variates", Biometrika 28, 1936.

    Chapter:
        3, Linear coordinates: CCA and kin.

    Example:
        >>> u = [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
        >>> v = [[5.0, 0.0], [3.0, 1.0], [1.0, 2.0]]
        >>> correlation(u, v)
        array([-1.,  0.])
    """
    a, b = as_matrix(u, "u", min_rows=2), as_matrix(v, "v", min_rows=2)
    check_paired(a, b, ("u", "v"))
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"u has {a.shape[1]} components and v has {b.shape[1]}: component j of one is compared "
            "with component j of the other; for raw views use canonical_correlations"
        )
    return paired_correlation(a, b)


def canonical_correlations(x: ArrayLike, y: ArrayLike, *, reg: float = 0.0) -> NDArray[np.float64]:
    r"""Measure the correlations that the best pairs of linear maps of two views reach.

    The singular values of the whitened cross-covariance,

    .. math::

        \rho = \operatorname{diag} \Sigma, \qquad
        (S_x + r_x I)^{-1/2} \, S_{xy} \, (S_y + r_y I)^{-1/2} = U \Sigma V^\top,
        \qquad r_x = \kappa \operatorname{tr}(S_x) / p .

    Without regularisation the first of them is the largest correlation that any direction of x
    and any direction of y have on these pairs; the number means nothing unless there are many
    more pairs than dimensions.

    Args:
        x: (n, p) one view, standardised inside.
        y: (n, q) the other view, row i the partner of row i.
        reg: :math:`\kappa`, ridge relative to the mean variance of the columns that vary.

    Returns:
        (min(rank of x, rank of y),) correlations in [0, 1], descending, float64.

    Raises:
        ValueError: views that are not paired, fewer than two pairs, NaN or infinity, a view
            without variation, a negative ``reg``.

    Warns:
        UserWarning: no regularisation and so few pairs that correlations are 1 whatever
            the data.

    Source:
        Hotelling, "Relations between two sets of variates", Biometrika 28, 1936; ridge:
        Vinod, "Canonical ridge and econometrics of joint production", J. Econometrics 4, 1976.

    Chapter:
        3, Linear coordinates: CCA and kin.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=(500, 1))
        >>> noise = np.random.default_rng(1).normal(size=(500, 2))
        >>> bool(canonical_correlations(z @ [[1.0, 2.0]] + noise, z)[0] > 0.8)
        True
    """
    kappa = ridge(reg, "reg")
    a, b = as_matrix(x, "x", min_rows=2), as_matrix(y, "y", min_rows=2)
    check_paired(a, b, ("x", "y"))
    za, zb = standardise(a, "x")[0], standardise(b, "y")[0]
    first, second = (
        linear_view(z, kappa, float(np.finfo(source.dtype).eps), wanted=z.shape[1])
        for z, source in ((za, a), (zb, b))
    )
    return canonical_pairs(first, second, None, kappa, stacklevel=3)[2]


def paired_correlation(u: NDArray[np.floating], v: NDArray[np.floating]) -> Matrix:
    """Return the Pearson correlation of each column of u with that of v, 0 for constant ones."""
    a, b = _unit_columns(u), _unit_columns(v)
    return np.clip(np.einsum("ij,ij->j", a, b), -1.0, 1.0)


def _unit_columns(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Centre the columns and scale them to length 1; constant columns become 0."""
    _, exponents = np.frexp(np.abs(x).max(axis=0))
    x = np.ldexp(
        x.astype(np.float64), -exponents
    )  # the same columns, with squares that are numbers
    centred = x - x.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    constant = length <= len(x) * np.finfo(np.float64).eps * np.abs(x).max(axis=0)
    unit: NDArray[np.float64] = centred / np.where(constant, 1.0, length)
    unit[:, constant] = 0.0
    return unit

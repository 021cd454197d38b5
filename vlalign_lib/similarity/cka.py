"""Centred kernel alignment."""

from __future__ import annotations

from typing import Any

from vlalign_lib.similarity._views import (
    Kernel,
    Settings,
    as_rows,
    check_terms,
    check_variation,
)
from vlalign_lib.similarity.hsic import terms_of


def cka(
    x: Any,
    y: Any,
    *,
    kernel: Kernel = "linear",
    unbiased: bool = False,
    bandwidth: float = 0.5,
    sigma: float | tuple[float, float] | None = None,
    mask: Any = None,
) -> Any:
    r"""Compare the similarity structures that two views give the same items.

    .. math::

        \mathrm{CKA}(X, Y) = \frac{\mathrm{HSIC}(K, L)}
            {\sqrt{\mathrm{HSIC}(K, K) \, \mathrm{HSIC}(L, L)}}

    with the Gram matrices K of X and L of Y; for linear kernels in the biased form, on centred
    columns, that is

    .. math::

        \mathrm{CKA}(X, Y) = \frac{\|Y^\top X\|_F^2}{\|X^\top X\|_F \, \|Y^\top Y\|_F},
        \qquad
        \frac{\partial\,\mathrm{CKA}}{\partial X} = 2\,\mathrm{CKA}
            \Bigl( \frac{L_c}{\langle K_c, L_c \rangle} - \frac{K_c}{\langle K_c, K_c \rangle}
            \Bigr) X .

    Linear CKA does not change when a view is rotated, shifted, or scaled as a whole; it does
    under other linear maps. A value of 1 therefore leaves the rotation between the views open.
    The gradient grows as one over the size of the view: it explodes as representations
    collapse.

    The biased form lies in [0, 1], but views of d dimensions that have nothing in common reach
    about :math:`d / (n + d)`, so that a value says little without n, d and the form. The
    unbiased form is near 0 then, lies in [−1, 1], and needs at least 4 rows. Over a data set in
    batches use ``MinibatchCKA``: the mean of the batches' CKA is not the CKA.

    Few outliers decide a linear kernel. Where some rows are thousands of times as long as the
    others, the unbiased form wants float64: in float32 it keeps about three digits.

    The form of the computation is the cheaper one: products of columns where there are more rows
    than columns in both views, products of rows otherwise.

    Args:
        x: (n, p) one view; a tensor, or an array (whole numbers become float64).
        y: (n, q) the other view, row i the partner of row i; of the same kind as ``x``.
        kernel: ``"linear"``, :math:`x^\top x'`, or ``"rbf"``,
            :math:`\exp(-\|x - x'\|^2 / 2\sigma^2)`.
        unbiased: Which form of HSIC, three times.
        bandwidth: :math:`\sigma` of the rbf kernel as a multiple of the median distance between
            two different rows, in each view its own (0.2 to 0.8 are usual); the median counts as
            a constant in the gradient.
        sigma: :math:`\sigma` itself in the units of the data, one for both views or a pair for
            (x, y); None for ``bandwidth``.
        mask: (n,) booleans, True for the rows that count; what the others hold does not matter.
            Padding that counts as rows is an alignment of the padding.

    Returns:
        For tensors a scalar tensor on their device, with a gradient of any order; for arrays a
        float. float32 and float64 keep their width, half precision is computed in float32.

    Raises:
        ValueError: different numbers of rows, fewer than 2 rows (4 in the unbiased form), a view
            that does not vary, NaN or infinity, a tensor of whole numbers, a tensor beside an
            array, a mask that is not boolean, a median distance of 0.

    Source:
        Kornblith et al., "Similarity of neural network representations revisited", ICML 2019;
        the unbiased form: Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same
        things?", ICLR 2021.

    Chapter:
        9, Measuring alignment.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
        >>> round(cka(x, 5 * x @ turn + 7), 6)
        1.0
        >>> noise = np.random.default_rng(2).normal(size=(50, 200))
        >>> round(cka(noise[:, :100], noise[:, 100:]), 2)  # nothing in common, yet
        0.66
        >>> abs(cka(noise[:, :100], noise[:, 100:], unbiased=True)) < 0.1
        True
    """
    settings = Settings(kernel, unbiased, bandwidth, sigma)
    x, y, arrays = as_rows(x, y, mask, settings)
    terms = terms_of(x, y, settings)
    check_terms(terms, x, y)
    check_variation(terms, x, y, settings)
    return float(terms.cka) if arrays else terms.cka

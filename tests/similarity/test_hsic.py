"""HSIC: two forms, two kernels, two ways of computing, and one definition."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.similarity import hsic

NAME = "similarity.hsic"
FORMS = list(itertools.product(("linear", "rbf"), (False, True)))


@pytest.mark.parametrize(("n", "p", "q"), [(9, 2, 3), (5, 7, 2), (6, 6, 8), (4, 1, 1)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_by_loops(agrees, loops, views, n, p, q, kernel, unbiased):
    x, y = views(n, p, q)
    sigma = (2.5, 1.5)
    agrees(
        NAME,
        hsic(x, y, kernel=kernel, unbiased=unbiased, sigma=sigma),
        loops.hsic(x, y, kernel, unbiased, sigma),
        kind="loop",
        against="the definition, in loops",
        tolerance=1e-11,
    )


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(4, 7),
    p=st.integers(1, 9),
    q=st.integers(1, 9),
    unbiased=st.booleans(),
    exponent=st.integers(-60, 60),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_scale(loops, views, n, p, q, unbiased, exponent, seed):
    x, y = views(n, p, q, seed=seed)
    expected = loops.hsic(x, y, "linear", unbiased)
    size = loops.hsic(x, x, "linear") * loops.hsic(y, y, "linear")
    factor = 2.0**exponent
    found = hsic(x * factor, y / 8, unbiased=unbiased)
    assert float(found) / factor**2 * 64 == pytest.approx(expected, abs=1e-12 * size**0.5)


def test_known_by_hand(agrees):
    """One column each: the squared covariance. Four points on a line: worked out on paper."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 30, 1))
    covariance = np.cov(x[:, 0], y[:, 0])[0, 1]
    agrees(
        NAME,
        hsic(x, y),
        covariance**2,
        kind="closed form",
        against="squared covariance",
        tolerance=1e-12,
    )
    line = np.array([[0.0], [0.0], [1.0], [1.0]])
    # Off the diagonal K has two ones: ⟨K, K⟩ = 2, 1ᵀK1 = 2, K1 = (0, 0, 1, 1).
    assert hsic(line, line, unbiased=True) == pytest.approx((2 + 4 / 6 - 2) / 4, abs=1e-15)
    # K_c = ±1/4 everywhere: 16 sixteenths over (n − 1)².
    assert hsic(line, line) == pytest.approx(1 / 9, abs=1e-15)


def test_columns_and_rows_are_the_same(agrees, views):
    """Columns of zeros change nothing but the way of computing."""
    x, y = views(40, 6, 9)
    wide = torch.cat([x, torch.zeros(40, 60, dtype=x.dtype)], dim=1)
    for unbiased in (False, True):
        agrees(
            NAME,
            hsic(x, y, unbiased=unbiased),
            hsic(wide, y, unbiased=unbiased),
            kind="derivation",
            against="products of columns beside products of rows",
            tolerance=1e-12,
        )


def test_symmetric_and_quadratic_in_each_view(views, orthogonal):
    x, y = views(15, 4, 6)
    for unbiased in (False, True):
        value = hsic(x, y, unbiased=unbiased)
        torch.testing.assert_close(hsic(y, x, unbiased=unbiased), value, rtol=1e-12, atol=0)
        moved = hsic(3 * x @ orthogonal(4) + 5, y - 1, unbiased=unbiased)
        torch.testing.assert_close(moved, 9 * value, rtol=1e-11, atol=0)


def test_unbiased_means_that_batches_average_to_the_whole():
    """The mean over all subsets of 4 of 7 rows is the value of the 7 rows, exactly."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((7, 3)), rng.standard_normal((7, 2))
    for kernel in ("linear", "rbf"):
        parts = [
            hsic(x[list(rows)], y[list(rows)], kernel=kernel, unbiased=True, sigma=1.0)
            for rows in itertools.combinations(range(7), 4)
        ]
        whole = hsic(x, y, kernel=kernel, unbiased=True, sigma=1.0)
        assert np.mean(parts) == pytest.approx(whole, abs=1e-13)


def test_bandwidth_is_a_multiple_of_the_median_distance(agrees, views):
    x, y = views(21, 3, 4)
    widths = []
    for view in (x, y):
        apart = [
            float(np.linalg.norm(a - b)) for a, b in itertools.combinations(view.numpy(), 2)
        ]  # 210 distances: the mean of the two in the middle
        widths.append(0.3 * float(np.median(apart)))
    agrees(
        NAME,
        hsic(x, y, kernel="rbf", bandwidth=0.3),
        hsic(x, y, kernel="rbf", sigma=tuple(widths)),
        kind="closed form",
        against="the median over pairs",
        tolerance=1e-12,
    )


def test_of_a_constant_view_is_zero():
    x = np.random.default_rng(0).standard_normal((6, 2))
    assert hsic(np.full((6, 3), 0.1), x) == pytest.approx(0, abs=1e-30)


def test_a_wide_kernel_keeps_its_digits(agrees, views):
    """For σ → ∞ the rbf kernel is 1 − d²/2σ², and centred it is the linear one over σ²."""
    x, y = views(12, 3, 3, dtype=torch.float32)
    agrees(
        NAME,
        hsic(x, y, kernel="rbf", sigma=1e4) * 1e16,
        hsic(x, y),
        kind="closed form",
        against="a very wide kernel is the linear one",
        tolerance=2e-6,
    )


@pytest.mark.parametrize(("n", "p"), [(12, 3), (5, 9)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_gradient(agrees, views, n, p, kernel, unbiased):
    inputs = tuple(view.requires_grad_() for view in views(n, p, p + 1))

    def value(x, y):
        return hsic(x, y, kernel=kernel, unbiased=unbiased, sigma=4.0)

    agrees.gradcheck(NAME, value, inputs)
    agrees.gradcheck(NAME, value, inputs, second=True)


def test_arrays_tensors_and_precisions(views):
    x, y = views(10, 3, 2)
    value = hsic(x, y)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert hsic(x.numpy(), y.tolist()) == pytest.approx(float(value), rel=1e-15)
    assert type(hsic(x.numpy(), y.numpy())) is float
    assert hsic(x.float(), y.float()).dtype == torch.float32
    assert hsic(x.half(), y.bfloat16()).dtype == torch.float32
    frozen = x.numpy().copy()
    frozen.setflags(write=False)
    assert hsic(frozen, y.numpy()[::1]) == pytest.approx(float(value), rel=1e-15)
    assert hsic(x.numpy()[::-1], y.numpy()[::-1]) == pytest.approx(float(value), rel=1e-12)
    counts = np.random.default_rng(0).integers(0, 5, (10, 3))
    assert hsic(counts, counts) == pytest.approx(hsic(counts * 1.0, counts * 1.0), rel=1e-15)


def test_never_writes_to_its_input(views):
    for n, p in ((10, 3), (5, 9)):
        x, y = views(n, p, p)
        before = x.clone(), y.clone()
        for kernel, unbiased in FORMS:
            hsic(x, y, kernel=kernel, unbiased=unbiased)
        assert torch.equal(x, before[0])
        assert torch.equal(y, before[1])


BAD = [
    ({"x": torch.ones(5, 2), "y": torch.ones(4, 2)}, "x has 5 rows and y has 4"),
    ({"x": np.ones((5, 2)), "y": np.ones((4, 2))}, "x has 5 rows and y has 4"),
    ({"x": torch.ones(5)}, r"expected shape \(B, p\), got \(5,\)"),
    ({"x": np.ones(5), "y": np.eye(5)}, r"x: expected shape \(B, p\), got \(5,\)"),
    ({"x": torch.ones(5, 2, 2)}, "pair_sequences makes rows of sequences"),
    ({"x": np.ones((5, 2, 2)), "y": np.eye(5)}, "pair_sequences makes rows of sequences"),
    ({"x": torch.ones(5, 2, dtype=torch.int64)}, "x: expected real numbers in floating point"),
    ({"x": np.full((5, 2), "a"), "y": np.eye(5)}, "x: expected real numbers"),
    ({"x": np.eye(5)}, "y is a tensor and x is not"),
    ({"x": torch.tensor([[1.0], [2.0], [torch.nan], [1.0], [2.0]])}, "x: 1 row.* is row 2"),
    ({"y": torch.full((5, 2), torch.inf)}, "y: 5 row.* NaN or infinity"),
    ({"x": np.full((5, 2), np.inf), "y": np.eye(5)}, "x: 5 row.* NaN or infinity"),
    ({"x": torch.eye(5)[:3], "y": torch.eye(5)[:3], "unbiased": True}, "3 rows.* needs at least 4"),
    ({"x": torch.eye(5)[:1], "y": torch.eye(5)[:1]}, "1 row: .* needs at least 2"),
    ({"kernel": "cosine"}, 'kernel: expected one of "linear", "rbf"'),
    ({"unbiased": "yes"}, "unbiased: expected True or False"),
    ({"kernel": "rbf", "bandwidth": 0.0}, "bandwidth: expected a number greater than 0"),
    ({"kernel": "rbf", "sigma": -1.0}, "sigma: expected a number greater than 0"),
    ({"kernel": "rbf", "sigma": (1.0, 2.0, 3.0)}, "sigma: expected a number, or a pair"),
    ({"mask": torch.zeros(5, dtype=torch.bool)}, "mask keeps 0 rows"),
    ({"mask": torch.ones(5)}, "mask: expected booleans"),
    ({"mask": np.ones(5)}, "mask: expected booleans"),
    ({"mask": torch.ones(4, dtype=torch.bool)}, r"mask: expected shape \(5,\), got \(4,\)"),
    ({"x": torch.ones(5, 2), "kernel": "rbf"}, "x: the median distance between two rows is 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_explains_bad_input(change, message):
    arguments = {"x": torch.eye(5), "y": torch.eye(5)} | change
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(ValueError, match=message):
        hsic(x, y, **arguments)


def test_repeated_rows_leave_no_median():
    """Exactly so, whatever rounding says of the distances between equal rows."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        rows = rng.standard_normal((30, 50)).astype(dtype) + 100
        repeated = rows[np.repeat([0, 1], [25, 5])]
        with pytest.raises(ValueError, match="drop repeated rows"):
            hsic(repeated, rows, kernel="rbf")
        assert hsic(repeated, rows, kernel="rbf", sigma=10.0) > 0

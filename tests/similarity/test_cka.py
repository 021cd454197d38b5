"""CKA: its definition, its invariances, what it says of nothing, and what it costs to forget n."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.similarity import cka, hsic

NAME = "similarity.cka"
FORMS = list(itertools.product(("linear", "rbf"), (False, True)))
SHAPES = [(9, 2, 3), (5, 7, 2), (6, 6, 8), (5, 1, 1)]


@pytest.mark.parametrize(("n", "p", "q"), SHAPES)
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_by_loops(agrees, loops, views, n, p, q, kernel, unbiased):
    x, y = views(n, p, q)
    sigma = (2.5, 1.5)
    agrees(
        NAME,
        cka(x, y, kernel=kernel, unbiased=unbiased, sigma=sigma),
        loops.cka(x, y, kernel, unbiased, sigma),
        kind="loop",
        against="the definition, in loops",
        tolerance=1e-10,
    )


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("n", [13, 14, 40])
def test_columns_and_rows_are_the_same(agrees, views, n, unbiased):
    """Columns of zeros change nothing but the way of computing."""
    x, y = views(n, 13, 9)
    wide = torch.cat([x, torch.zeros(n, n, dtype=x.dtype)], dim=1)
    agrees(
        NAME,
        cka(x, y, unbiased=unbiased),
        cka(wide, y, unbiased=unbiased),
        kind="derivation",
        against="products of columns beside products of rows",
        tolerance=1e-12,
    )


@pytest.mark.parametrize(("n", "p"), [(30, 5), (7, 12)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_what_changes_nothing(agrees, views, orthogonal, n, p, kernel, unbiased):
    x, y = views(n, p, p)
    alike = {"kernel": kernel, "unbiased": unbiased}
    agrees(
        NAME,
        cka(x, 7 * x @ orthogonal(p) - 3, **alike),
        1.0,
        kind="closed form",
        against="1 for a view turned, scaled and shifted",
        tolerance=1e-12,
    )
    value = cka(x, y, **alike)
    moved = cka(x @ orthogonal(p, 1) * 1e-5 + 2e-5, 1e8 * y @ orthogonal(p, 2) - 1e8, **alike)
    torch.testing.assert_close(moved, value, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(cka(y, x, **alike), value, rtol=1e-13, atol=1e-15)
    order = torch.from_numpy(np.random.default_rng(0).permutation(n))
    torch.testing.assert_close(cka(x[order], y[order], **alike), value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_permuting_one_view_lowers_it(views, kernel, unbiased):
    x, y = views(40, 6, 5, shared=3)
    value = cka(x, y, kernel=kernel, unbiased=unbiased)
    for seed in range(20):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(40))
        assert cka(x[order], y, kernel=kernel, unbiased=unbiased) < value


def test_other_linear_maps_do_change_it():
    """The population value for a Gaussian 20×20 map of white x is near √(p / (2p + 1)) = .70.

    Few rows bring it nearer to 1: 100 of them to .77.
    """
    values = {100: [], 20_000: []}
    for n, found in values.items():
        for seed in range(10):
            rng = np.random.default_rng(seed)
            x, a = rng.standard_normal((n, 20)), rng.standard_normal((20, 20))
            found.append(cka(x, x @ a))
    assert np.mean(values[20_000]) == pytest.approx(math.sqrt(20 / 41), abs=0.02)
    assert np.mean(values[100]) == pytest.approx(0.75, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(4, 30),
    p=st.integers(1, 40),
    q=st.integers(1, 40),
    seed=st.integers(0, 10_000),
    form=st.sampled_from(FORMS),
    exponents=st.tuples(st.integers(-900, 900), st.integers(-900, 900)),
)
def test_bounds_and_scales(views, n, p, q, seed, form, exponents):
    """Biased in [0, 1], unbiased in [−1, 1], at any scale that a float64 can hold."""
    kernel, unbiased = form
    x, y = views(n, p, q, seed=seed)
    value = float(cka(x, y, kernel=kernel, unbiased=unbiased))
    assert -1e-12 - unbiased <= value <= 1 + 1e-12
    scaled = (2.0 ** exponents[0] * x, 2.0 ** exponents[1] * y)
    assert float(cka(*scaled, kernel=kernel, unbiased=unbiased)) == pytest.approx(value, rel=1e-12)


# The table of independent Gaussian views. The biased form reaches d/(n + d), since
# E‖XᵀY‖² = (n − 1)d² and E‖XᵀX‖² = (n − 1)d(n + d); a ratio of means is not the mean of ratios,
# which adds a share of the order of Var(tr K)/E(tr K)² = 2/((n − 1)d). The unbiased form is the
# cosine of two directions in the n(n − 3)/2 dimensions of U-centred matrices, so that its
# standard deviation is √(2/(n(n − 3))).
NOTHING_IN_COMMON = [
    (8, 32, 0.80, 0.21, 200),
    (16, 128, 0.89, 0.10, 200),
    (64, 128, 0.67, 0.02, 200),
    (1024, 128, 0.11, 0.001, 25),
]


@pytest.mark.parametrize(("n", "d", "biased", "spread", "draws"), NOTHING_IN_COMMON)
def test_views_that_have_nothing_in_common(agrees, n, d, biased, spread, draws):
    rng = np.random.default_rng(0)
    values = np.array(
        [
            [cka(x, y), cka(x, y, unbiased=True)]
            for x, y in (rng.standard_normal((2, n, d)) for _ in range(draws))
        ]
    )
    level, deviation = d / (n + d), math.sqrt(2 / (n * (n - 3)))
    assert round(level, 2) == biased
    assert deviation == pytest.approx(spread, abs=10 ** (-2 - (spread < 0.01)) * 1.5)
    error = 3 * values[:, 0].std(ddof=1) / math.sqrt(draws)
    assert values[:, 0].mean() == pytest.approx(level, abs=error + level * 4 / ((n - 1) * d))
    agrees(
        NAME,
        values[:, 0].mean(),
        level,
        kind="closed form",
        against="d/(n + d), the mean of independent views",
        tolerance=0.015,
    )
    assert abs(values[:, 1].mean()) < 3 * deviation / math.sqrt(draws)
    # The standard deviation of so many draws is known to a relative 1/√(2 draws).
    assert values[:, 1].std(ddof=1) == pytest.approx(deviation, rel=3 / math.sqrt(2 * draws))


def test_padding_that_counts_is_what_gets_aligned():
    """12 slots, 4 to 12 of them tokens of mean 2 in 20 dimensions, unrelated: .90, and .03.

    With a share f of real rows each covariance is fI + f(1−f)μ²11ᵀ, and the cross-covariance
    is the second part of it alone.
    """
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 13, 80)
    real = (np.arange(12) < lengths[:, None]).ravel()
    x, y = (np.where(real[:, None], rng.normal(2, 1, (960, 20)), 0) for _ in range(2))
    f = real.mean()
    shared = f * (1 - f) * 4 * 20
    expected = shared**2 / ((f + shared) ** 2 + 19 * f**2)
    assert expected == pytest.approx(0.90, abs=0.01)
    assert cka(x, y) == pytest.approx(expected, abs=0.01)
    masked = cka(x, y, mask=real)
    assert masked == cka(x[real], y[real])
    assert masked == pytest.approx(20 / (real.sum() + 20), abs=0.005)
    assert masked == pytest.approx(0.03, abs=0.005)


@pytest.mark.parametrize(("n", "p"), [(12, 3), (8, 11)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_what_padding_holds_does_not_matter(views, n, p, kernel, unbiased):
    x, y = views(n, p, p)
    real = torch.ones(n, dtype=torch.bool)
    real[[1, 4, n - 1]] = False
    kind = {"kernel": kernel, "unbiased": unbiased}
    expected = cka(x[real], y[real], **kind)
    for content in (0.0, 1e6, torch.nan, torch.inf):
        padded = x.clone()
        padded[~real] = content
        padded.requires_grad_()
        value = cka(padded, y, mask=real, **kind)
        assert torch.equal(value, expected)
        value.backward()
        assert not padded.grad[~real].any()
        assert padded.grad[real].isfinite().all()


def test_few_outliers_decide_a_linear_kernel():
    """100 pairs that have nothing in common, and one that is far out in both views."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 101, 5))
    x[0], y[0] = 100, 100
    assert cka(x, y) > 0.99
    assert cka(x, y, kernel="rbf") < 0.5


def test_sheet_gradient(agrees, views):
    """2 CKA (L/⟨K, L⟩ − K/⟨K, K⟩) X on centred Gram matrices."""
    for n, p in ((25, 4), (6, 9)):
        x, y = views(n, p, 5)
        x.requires_grad_()
        value = cka(x, y)
        (found,) = torch.autograd.grad(value, x)
        xc, yc = x.detach() - x.detach().mean(0), y - y.mean(0)
        k, m = xc @ xc.T, yc @ yc.T
        expected = 2 * value.detach() * (m / (k * m).sum() - k / (k * k).sum()) @ xc
        agrees(
            NAME,
            found,
            expected,
            kind="closed form",
            against="the gradient on paper",
            tolerance=1e-11,
        )


@pytest.mark.parametrize(("n", "p", "q"), [(12, 3, 4), (5, 9, 2), (6, 6, 6)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_gradient(agrees, views, n, p, q, kernel, unbiased):
    inputs = tuple(view.requires_grad_() for view in views(n, p, q))

    def value(x, y):
        return cka(x, y, kernel=kernel, unbiased=unbiased, sigma=(6.0, 2.0))

    agrees.gradcheck(NAME, value, inputs)
    agrees.gradcheck(NAME, value, inputs, second=True)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_gradient_with_a_mask(agrees, views, kernel, unbiased):
    inputs = tuple(view.requires_grad_() for view in views(9, 3, 4))
    real = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 1], dtype=torch.bool)

    def value(x, y):
        return cka(x, y, kernel=kernel, unbiased=unbiased, sigma=4.0, mask=real)

    agrees.gradcheck(NAME, value, inputs)


@pytest.mark.parametrize(("n", "p"), [(30, 4), (8, 15)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_where_the_gradient_does_not_point(views, n, p, kernel, unbiased):
    """Not along x (scale) with a linear kernel, and along no shift with any."""
    x, y = (view.requires_grad_() for view in views(n, p, p))
    grads = torch.autograd.grad(cka(x, y, kernel=kernel, unbiased=unbiased), (x, y))
    for view, grad in zip((x, y), grads, strict=True):
        size = float(grad.norm() * view.detach().norm())
        assert grad.sum(dim=0).abs().max() < 1e-12 * size
        if kernel == "linear":
            assert abs(float((view.detach() * grad).sum())) < 1e-12 * size


def test_the_gradient_explodes_as_a_view_collapses(views):
    x, y = views(20, 4, 4)
    sizes = []
    for factor in (1.0, 1e-3):
        small = (x * factor).requires_grad_()
        sizes.append(float(torch.autograd.grad(cka(small, y), small)[0].norm()))
    assert sizes[1] == pytest.approx(1e3 * sizes[0], rel=1e-10)


def test_the_median_is_a_constant_in_the_gradient(views):
    x, y = views(20, 3, 4)
    widths = []
    for view in (x, y):
        pairs = torch.pdist(view)
        widths.append(0.5 * float(pairs.quantile(0.5)))
    grads = []
    for width in ({"bandwidth": 0.5}, {"sigma": tuple(widths)}):
        leaf = x.clone().requires_grad_()
        value = cka(leaf, y, kernel="rbf", **width)
        grads.append(torch.autograd.grad(value, leaf)[0])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize(("n", "p"), [(300, 20), (40, 200)])
@pytest.mark.parametrize(
    "settings",
    [{}, *({"kernel": "rbf", "bandwidth": width} for width in (0.2, 0.5, 2.0, 100.0))],
    ids=str,
)
@pytest.mark.parametrize("unbiased", [False, True])
def test_float32_beside_float64(agrees, views, n, p, settings, unbiased, offset):
    """The same numbers, narrow; a mean of 1e4 times the spread costs nothing.

    A narrow kernel is near 0 off its diagonal and a wide one near 1, and what counts is by how
    much they differ from that.
    """
    x, y = (view.float() + offset for view in views(n, p, p, shared=5))
    narrow, wide = [], []
    for found, dtype in ((narrow, torch.float32), (wide, torch.float64)):
        leaf = x.to(dtype).requires_grad_()
        value = cka(leaf, y.to(dtype), unbiased=unbiased, **settings)
        found += [value.detach(), torch.autograd.grad(value, leaf)[0]]
    for ours, theirs, what in zip(narrow, wide, ("", ", gradient"), strict=True):
        assert ours.dtype == torch.float32
        agrees(
            NAME,
            ours,
            theirs,
            kind="float32",
            against=f"itself in float64{what}",
            tolerance=1e-5,
        )


@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_autocast_changes_nothing(views, kernel, unbiased):
    for n, p in ((40, 8), (8, 20)):
        x, y = (view.float() for view in views(n, p, p))
        found = []
        for enabled in (False, True):
            leaf = x.clone().requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                value = cka(leaf, y, kernel=kernel, unbiased=unbiased)
                (grad,) = torch.autograd.grad(value, leaf)
            found.append((value.detach(), grad))
        assert torch.equal(found[0][0], found[1][0])
        assert torch.equal(found[0][1], found[1][1])
        assert found[1][0].dtype == torch.float32


def test_half_precision_is_computed_in_float32(views):
    x, y = (view.half() for view in views(30, 5, 5))
    leaf = x.clone().requires_grad_()
    value = cka(leaf, y)
    value.backward()
    assert value.dtype == torch.float32
    assert leaf.grad.dtype == torch.float16
    assert torch.equal(value, cka(x.float(), y.float()))


def test_from_hsic(agrees, views):
    x, y = views(30, 5, 8)
    for kernel, unbiased in FORMS:
        kind = {"kernel": kernel, "unbiased": unbiased}
        own = hsic(x, x, **kind) * hsic(y, y, **kind)
        agrees(
            NAME,
            cka(x, y, **kind),
            hsic(x, y, **kind) / own.sqrt(),
            kind="derivation",
            against="three times HSIC",
            tolerance=1e-12,
        )


@pytest.mark.parametrize(("n", "p"), [(60, 7), (9, 30)])
def test_beside_ckatorch(agrees, peer, views, n, p):
    """Its rbf width is a fraction of a median over all n² distances, the zeros included."""
    core = peer("ckatorch.core")
    x, y = views(n, p, p)
    widths = tuple(0.7 * float((torch.cdist(v, v) ** 2).median().sqrt()) for v in (x, y))
    for unbiased in (False, True):
        for ours, theirs in (
            (cka(x, y, unbiased=unbiased), core.cka_base(x, y, "linear", unbiased)),
            (
                cka(x, y, kernel="rbf", sigma=widths, unbiased=unbiased),
                core.cka_base(x, y, "rbf", unbiased, threshold=0.7),
            ),
        ):
            agrees(NAME, ours, theirs, kind="peer", against="ckatorch", tolerance=1e-10)


def test_contiguous_or_not(views):
    x, y = views(20, 6, 4)
    value = cka(x, y)
    strange = torch.stack([x, x], dim=2)[:, :, 1]
    torch.testing.assert_close(cka(strange, y.T.contiguous().T), value, rtol=1e-14, atol=0)
    assert cka(x.numpy(), y.numpy()) == pytest.approx(float(value), rel=1e-14)
    repeated = x[:1].expand(20, 6) + y[:, :1]
    assert cka(repeated, y[:, :1]) == pytest.approx(1, abs=1e-12)


def test_one_answer_whichever_view_wants_a_gradient(views):
    x, y = views(12, 4, 5)
    values, grads = [], {}
    for wants in ((True, True), (True, False), (False, True)):
        leaves = [v.clone().requires_grad_(w) for v, w in zip((x, y), wants, strict=True)]
        value = cka(*leaves, unbiased=True)
        value.backward()
        values.append(float(value.detach()))
        for i, leaf in enumerate(leaves):
            if leaf.grad is not None:
                grads.setdefault(i, []).append(leaf.grad)
    assert len(set(values)) == 1
    for first, second in grads.values():
        assert torch.equal(first, second)
    same = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(cka(same, same), same)
    assert grad.abs().max() < 1e-14  # at its maximum


def test_long_views_need_no_square_matrix():
    """300,000 rows: an n×n matrix would be 360 GB."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300_000, 4), dtype=np.float32)
    for unbiased in (False, True):
        assert cka(x, 2 * x, unbiased=unbiased) == pytest.approx(1, abs=1e-5)


BAD = [
    ({"y": np.ones((4, 2))}, "x has 6 rows and y has 4"),
    ({"x": np.ones((6, 3))}, "x: all 6 rows are the same, and CKA with a constant view is 0/0"),
    ({"y": np.full((6, 3), 0.1)}, "y: all 6 rows are the same"),
    ({"y": np.full((6, 3), 1e8) + 0.1, "unbiased": True}, "y: all 6 rows are the same"),
    ({"x": np.zeros((6, 300))}, "x: all 6 rows are the same"),
    ({"unbiased": True, "mask": np.arange(6) < 3}, "mask keeps 3 rows: the unbiased form needs"),
    ({"mask": np.arange(6) < 1}, "mask keeps 1 row: the biased form needs at least 2"),
    ({"mask": np.zeros(6, dtype=bool)}, "mask keeps 0 rows"),
    ({"mask": np.ones(6)}, "mask: expected booleans"),
    ({"mask": [1, 1, 1, 1, 1, 0]}, "mask: expected booleans"),
    ({"x": np.eye(6), "unbiased": True}, "x: apart from rounding, every two rows are equally"),
    ({"y": 3 * np.eye(6, 30) + 7, "unbiased": True}, "y: apart from rounding, every two rows"),
    ({"x": np.eye(6)[:, :1] + 0.0, "unbiased": True}, "x: apart from rounding, every two rows"),
    ({"kernel": "rbf", "x": np.ones((6, 2))}, "x: the median distance between two rows is 0"),
    ({"kernel": "rbf", "sigma": 1e200}, "all rows are the same under this kernel.*smaller sigma"),
    ({"kernel": "rbf", "sigma": 1e-9, "unbiased": True}, "every two rows are equally alike"),
    ({"x": [[1.0], [2.0], [3.0], [4.0], [5.0], [np.nan]]}, "x: 1 row.*is row 5"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:50] for _, message in BAD])
@pytest.mark.parametrize("tensors", [False, True])
def test_explains_bad_input(change, message, tensors):
    rng = np.random.default_rng(0)
    arguments = {"x": rng.standard_normal((6, 3)), "y": rng.standard_normal((6, 2))} | change
    x, y = (np.asarray(arguments.pop(name)) for name in ("x", "y"))
    if tensors:
        x, y = torch.tensor(x), torch.tensor(y)
    with pytest.raises(ValueError, match=message):
        cka(x, y, **arguments)


def test_narrow_constant_views_are_seen_as_such():
    """Whatever rounding makes of the mean; and one last digit of variation is variation."""
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.standard_normal((33, 4))).float()
    for value in (0.1, 1e-37, 3e38, 12345.678):
        for columns in (3, 50):
            x = torch.full((33, columns), value, dtype=torch.float32)
            with pytest.raises(ValueError, match="x: all 33 rows are the same"):
                cka(x, y)
            x[0, 0] = torch.nextafter(x[0, 0], torch.tensor(torch.inf))
            other = torch.zeros(33, 1)
            other[0] = 1
            assert cka(x, other) == pytest.approx(1, abs=1e-5)

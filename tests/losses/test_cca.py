"""The loss of deep CCA: correlations, their gradient, and batches for which it is meaningless."""

import contextlib
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.linear import CCA
from vlalign_lib.losses import CCALoss, cca_loss

KERNELS = {"lapack": "1", "torch": "0"}
NAME = "losses.cca_loss"


def two_views(rows=60, p=5, q=4, shared=3, seed=0, dtype=torch.float64):
    """Two views that share some directions, of unequal means and scales."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((rows, shared))
    views = (
        common @ rng.standard_normal((shared, d)) + rng.standard_normal((rows, d)) for d in (p, q)
    )
    x, y = (torch.tensor(view, dtype=dtype) for view in views)
    return 3 * x + 1, y - 2


def gradients(loss, *views):
    views = [view.detach().clone().requires_grad_() for view in views]
    value = loss(*views)
    return value.detach(), *torch.autograd.grad(value, views)


def by_loops(x, y, reg):
    """Correlations from covariances summed one by one and symmetric inverse roots."""
    n = len(x)

    def covariance(a, b):
        s = np.zeros((a.shape[1], b.shape[1]))
        for i in range(a.shape[1]):
            for j in range(b.shape[1]):
                mi, mj = sum(a[:, i]) / n, sum(b[:, j]) / n
                s[i, j] = sum((a[t, i] - mi) * (b[t, j] - mj) for t in range(n)) / (n - 1)
        return s

    def inverse_root(s):
        s = s + reg * np.trace(s) / len(s) * np.eye(len(s))
        values, vectors = np.linalg.eigh(s)
        return sum(np.outer(v, v) / math.sqrt(e) for e, v in zip(values, vectors.T, strict=True))

    t = inverse_root(covariance(x, x)) @ covariance(x, y) @ inverse_root(covariance(y, y))
    return np.linalg.svd(t, compute_uv=False)


def differentiated(x, y, reg, power=1, top_k=None):
    """The same through torch's own derivative of singular values."""
    x, y = x - x.mean(0), y - y.mean(0)
    roots = []
    for view in (x, y):
        s = view.T @ view
        s = s + reg * s.trace() / len(s) * torch.eye(len(s), dtype=s.dtype)
        roots.append(torch.linalg.cholesky(s))
    t = torch.linalg.solve_triangular(roots[0], x.T @ y, upper=False)
    t = torch.linalg.solve_triangular(roots[1], t.T, upper=False)
    return -(torch.linalg.svdvals(t)[:top_k] ** power).sum()


@contextlib.contextmanager
def kernel(name, monkeypatch):
    """Let the CPU use one of the two kernels."""
    with monkeypatch.context() as patch:
        patch.setenv("VLALIGN_ENGINE", KERNELS[name])
        yield


@pytest.fixture(params=sorted(KERNELS))
def either_kernel(request, monkeypatch):
    with kernel(request.param, monkeypatch):
        yield request.param


# Values


@pytest.mark.parametrize("reg", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("shape", [(30, 4, 3), (30, 3, 5), (30, 1, 1), (30, 1, 6)])
def test_slow_loops(shape, reg, agrees, either_kernel):
    x, y = two_views(*shape)
    rho = by_loops(x.numpy(), y.numpy(), reg)
    for k in (None, 1, len(rho)):
        agrees(
            NAME,
            [cca_loss(x, y, reg=reg, top_k=k, objective=o) for o in ("sum", "sum_of_squares")],
            [-rho[:k].sum(), -(rho[:k] ** 2).sum()],
            kind="loop",
            against="covariances and inverse roots summed one by one",
            tolerance=1e-12,
        )


@pytest.mark.parametrize("reg", [0.0, 1e-4, 0.1])
def test_linear_cca_on_the_same_rows(reg, agrees, either_kernel):
    x, y = (((v - v.mean(0)) / v.std(0)) for v in two_views(300, 12, 7, shared=5))
    rho = CCA(n_components=None, reg=reg).fit(x.numpy(), y.numpy()).correlations_
    for k in (None, 3):
        agrees(
            NAME,
            -cca_loss(x, y, reg=reg, top_k=k),
            rho[:k].sum(),
            kind="closed form",
            against="linear.CCA fitted to the same rows",
            tolerance=1e-10,
        )


def test_singular_values_of_orthonormal_bases(agrees, either_kernel):
    x, y = two_views(80, 6, 9)
    q, r = (np.linalg.qr(v.numpy() - v.numpy().mean(0))[0] for v in (x, y))
    agrees(
        NAME,
        cca_loss(x, y, reg=0),
        -np.linalg.svd(q.T @ r, compute_uv=False).sum(),
        kind="derivation",
        against="cosines of the angles between the column spaces (QR, SVD)",
        tolerance=1e-12,
    )


def test_one_dimension_a_view_is_the_slide_s_correlation(agrees, either_kernel):
    x, y = two_views(50, 1, 1)
    u, v = x[:, 0] - x.mean(), y[:, 0] - y.mean()
    rho = (u * v).mean() / ((u**2).mean() * (v**2).mean()).sqrt()
    agrees(
        NAME,
        cca_loss(x, y, reg=0),
        -rho.abs(),
        kind="closed form",
        against="E[uv] / √(E[u²]E[v²])",
        tolerance=1e-12,
    )


def test_known_correlations(agrees, either_kernel):
    """Views built to have correlations 0.9, 0.5 and 0.2 exactly."""
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 7)))[0]
    basis = np.linalg.qr(np.column_stack([np.ones(40), basis]))[0][:, 1:7]
    rho = np.array([0.9, 0.5, 0.2])
    u, v = basis[:, :3], basis[:, :3] * rho + basis[:, 3:] * np.sqrt(1 - rho**2)
    x, y = torch.tensor(u @ np.diag([5, 1, 0.2]) + 3), torch.tensor(v @ np.ones((3, 3)) + v)
    for k, total in ((None, 1.6), (1, 0.9), (2, 1.4)):
        agrees(
            NAME,
            cca_loss(x, y, reg=0, top_k=k),
            -total,
            kind="closed form",
            against="views made to have given correlations",
            tolerance=1e-12,
        )
    squares = cca_loss(x, y, reg=0, objective="sum_of_squares")
    assert squares.item() == pytest.approx(-(0.81 + 0.25 + 0.04), abs=1e-12)


def test_perfectly_related_views_score_minus_the_number_of_dimensions(either_kernel):
    x, _ = two_views(200, 6, 6)
    mixed = x @ torch.randn(6, 6, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    assert cca_loss(x, mixed, reg=0).item() == pytest.approx(-6, abs=1e-10)
    assert cca_loss(x, mixed, reg=0, objective="sum_of_squares").item() == pytest.approx(
        -6, abs=1e-10
    )


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(1, 1e-3, 50),
        np.geomspace(1, 1e-9, 50),
        np.repeat([1.0, 0.5, 0.0], [5, 20, 25]),
        np.full(50, 0.6),
        np.zeros(50),
        np.r_[1.0, np.full(49, 1e-6)],
    ],
    ids=["even", "geometric", "half zero", "equal", "zero", "one large"],
)
@pytest.mark.parametrize(("p", "q"), [(60, 50), (50, 60), (50, 50)])
@pytest.mark.engine
def test_singular_triplets_of_any_spectrum(p, q, values):
    """The kernel's own decomposition, which takes a short cut for the large ones."""
    from vlalign_lib.engine import cca_lapack

    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((d, 50)))[0] for d in (p, q))
    t = np.asfortranarray((left * values) @ right.T)
    u, rho, v, info = cca_lapack.singular_triplets(t, vectors=True)
    assert info == 0
    np.testing.assert_allclose(rho, np.sort(values), atol=1e-14)
    np.testing.assert_allclose((u * rho) @ v.T, t, atol=1e-14)
    real = rho > cca_lapack.FAINT
    for vectors in (u[:, real], v[:, real]):
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(real.sum()), atol=1e-13)


# Gradients


@pytest.mark.parametrize("objective", ["sum", "sum_of_squares"])
@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("reg", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(14, 4, 3), (14, 3, 4)])
def test_gradient_is_that_of_finite_differences(
    shape, reg, top_k, objective, agrees, either_kernel
):
    views = [view.requires_grad_() for view in two_views(*shape)]
    agrees.gradcheck(
        NAME, lambda x, y: cca_loss(x, y, reg=reg, top_k=top_k, objective=objective), views
    )


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize("reg", [0.0, 1e-4, 0.5])
@pytest.mark.parametrize("shape", [(90, 8, 6), (200, 40, 50), (200, 50, 40)])
def test_gradient_beside_differentiated_singular_values(
    shape, reg, top_k, power, agrees, either_kernel
):
    x, y = two_views(*shape)
    objective = {1: "sum", 2: "sum_of_squares"}[power]
    ours = gradients(lambda a, b: cca_loss(a, b, reg=reg, top_k=top_k, objective=objective), x, y)
    theirs = gradients(lambda a, b: differentiated(a, b, reg, power, top_k), x, y)
    for a, b in zip(ours, theirs, strict=True):
        agrees(
            NAME,
            a,
            b,
            kind="derivation",
            against="singular values differentiated by torch, value and gradient",
            tolerance=1e-10,
        )


def test_relative_ridge_has_its_own_term_in_the_gradient():
    """With an absolute ridge the gradient would shrink the view; the relative one cannot."""
    x, y = two_views()
    _, gx, gy = gradients(lambda a, b: cca_loss(a, b, reg=0.5), x, y)
    for view, grad in ((x, gx), (y, gy)):
        along = (grad * (view - view.mean(0))).sum()  # derivative with respect to the scale
        assert abs(along) < 1e-13 * grad.norm() * view.norm()


def test_one_view_may_be_frozen(either_kernel):
    x, y = two_views()
    _, gx, gy = gradients(cca_loss, x, y)
    (alone,) = gradients(lambda a: cca_loss(a, y), x)[1:]
    (other,) = gradients(lambda b: cca_loss(x, b), y)[1:]
    assert torch.equal(alone, gx)
    assert torch.equal(other, gy)


def test_gradient_of_the_output_is_passed_on(either_kernel):
    x, y = two_views()
    _, gx, _ = gradients(cca_loss, x, y)
    _, scaled, _ = gradients(lambda a, b: -2.5 * cca_loss(a, b), x, y)
    torch.testing.assert_close(scaled, -2.5 * gx, rtol=1e-13, atol=1e-16)


def test_backward_twice_through_the_same_graph_gives_the_same(either_kernel):
    x, y = (v.requires_grad_() for v in two_views())
    loss = cca_loss(x, y)
    first = torch.autograd.grad(loss, (x, y), retain_graph=True)
    again = torch.autograd.grad(loss, (x, y))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.engine
def test_no_second_derivative_is_an_error_and_not_a_zero():
    x, y = (v.requires_grad_() for v in two_views())
    gx, gy = torch.autograd.grad(cca_loss(x, y), (x, y), create_graph=True)
    for penalty in (gx.square().sum(), gy.square().sum() + x.sum()):
        with pytest.raises(NotImplementedError, match="cca_loss has no second derivative"):
            penalty.backward(retain_graph=True)
    plain = torch.autograd.grad(cca_loss(x, y), (x, y))
    assert torch.equal(gx, plain[0])
    assert torch.equal(gy, plain[1])


def test_without_gradients_the_value_is_the_same(either_kernel):
    x, y = two_views()
    for keywords in ({}, {"objective": "sum_of_squares"}, {"top_k": 2}):
        with_gradient = cca_loss(x.clone().requires_grad_(), y, **keywords)
        assert cca_loss(x, y, **keywords).item() == pytest.approx(with_gradient.item(), abs=1e-13)
        with torch.no_grad():
            assert not cca_loss(x.clone().requires_grad_(), y, **keywords).requires_grad


def test_inputs_are_never_written_to(either_kernel):
    for dtype in (torch.float32, torch.float64):
        x, y = two_views(dtype=dtype)
        kept = x.clone(), y.clone()
        gradients(cca_loss, x, y)
        cca_loss(x, y)
        assert torch.equal(x, kept[0])
        assert torch.equal(y, kept[1])


# Where other formulations have no gradient


@pytest.mark.parametrize("objective", ["sum", "sum_of_squares"])
@pytest.mark.parametrize("value", [0.0, 7.25])
def test_dead_units_have_no_gradient_and_disturb_no_other(value, objective, either_kernel):
    x, y = two_views(60, 5, 4)
    dead = torch.cat([x[:, :2], torch.full((60, 3), value, dtype=x.dtype), x[:, 2:]], dim=1)
    loss, gx, gy = gradients(lambda a, b: cca_loss(a, b, reg=1e-3, objective=objective), dead, y)
    # The ridge is relative to the mean variance, in which dead units count.
    same, hx, hy = gradients(
        lambda a, b: cca_loss_with_ridges(a, b, (1e-3 * 5 / 8, 1e-3), objective), x, y
    )
    assert loss.item() == pytest.approx(same.item(), abs=1e-12)
    torch.testing.assert_close(gx[:, 2:5], torch.zeros(60, 3, dtype=x.dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close(gx[:, [0, 1, 5, 6, 7]], hx, rtol=0, atol=1e-11)
    torch.testing.assert_close(gy, hy, rtol=0, atol=1e-11)


def cca_loss_with_ridges(x, y, regs, objective):
    """With one ridge a view: ours has the same for both."""
    x, y = x - x.mean(0), y - y.mean(0)
    roots = []
    for view, reg in zip((x, y), regs, strict=True):
        s = view.T @ view
        s = s + reg * s.trace() / len(s) * torch.eye(len(s), dtype=s.dtype)
        roots.append(torch.linalg.cholesky(s))
    t = torch.linalg.solve_triangular(roots[0], x.T @ y, upper=False)
    t = torch.linalg.solve_triangular(roots[1], t.T, upper=False)
    return -(torch.linalg.svdvals(t) ** (1 if objective == "sum" else 2)).sum()


def test_a_view_that_has_collapsed_has_no_correlation_and_no_gradient(either_kernel):
    x, y = two_views()
    for reg in (1e-4, 0.0):
        for constant in (torch.zeros_like(x), torch.full_like(x, 3.7)):
            for objective in ("sum", "sum_of_squares"):
                loss, gx, gy = gradients(
                    lambda a, b, r=reg, o=objective: cca_loss(a, b, reg=r, objective=o), constant, y
                )
                assert abs(loss.item()) < 1e-10
                assert gx.abs().max() < 1e-9
                assert gy.abs().max() < 1e-9


@pytest.mark.parametrize("objective", ["sum", "sum_of_squares"])
def test_equal_correlations(objective, either_kernel):
    """Orthogonal designs: every correlation is the same, and eigenvectors are arbitrary."""
    basis = torch.linalg.qr(
        torch.randn(64, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    )[0]
    basis = torch.linalg.qr(torch.cat([torch.ones(64, 1, dtype=torch.float64), basis], 1))[0][:, 1:]
    x, y = basis[:, :4], 0.6 * basis[:, :4] + 0.8 * basis[:, 4:8]
    loss, gx, gy = gradients(lambda a, b: cca_loss(a, b, reg=0, objective=objective), x, y)
    power, slope = (1, 1.0) if objective == "sum" else (2, 2 * 0.6)
    assert loss.item() == pytest.approx(-4 * 0.6**power, abs=1e-12)
    # With S_x = S_y = I and S_xy = 0.6 I the gradient can be written down.
    torch.testing.assert_close(gx, -slope * (y - 0.6 * x), rtol=0, atol=1e-12)
    torch.testing.assert_close(gy, -slope * (x - 0.6 * y), rtol=0, atol=1e-12)


def test_identical_views_are_at_the_optimum(either_kernel):
    x, _ = two_views(60, 6, 6)
    loss, gx, gy = gradients(lambda a, b: cca_loss(a, b, reg=0), x, x)
    assert loss.item() == pytest.approx(-6, abs=1e-12)
    assert gx.abs().max() < 1e-10
    assert gy.abs().max() < 1e-10


@pytest.mark.parametrize("objective", ["sum", "sum_of_squares"])
@pytest.mark.parametrize("reg", [1e-8, 1e-4, 0.1])
def test_columns_that_depend_on_each_other(reg, objective, either_kernel):
    x, y = two_views(60, 5, 4)
    x = torch.cat([x, x[:, :2], x.sum(1, keepdim=True)], dim=1)
    y = torch.cat([y, 2 * y], dim=1)
    loss, gx, gy = gradients(lambda a, b: cca_loss(a, b, reg=reg, objective=objective), x, y)
    assert math.isfinite(loss)
    assert gx.isfinite().all()
    assert gy.isfinite().all()
    # An eigenvalue analysis of the pencil [0 S_xy; S_yx 0] w = ρ diag(S + r) w.
    import scipy.linalg

    c = np.cov(np.hstack([x.numpy(), y.numpy()]).T)
    p = x.shape[1]
    left, right = np.zeros_like(c), np.zeros_like(c)
    left[:p, p:], left[p:, :p] = c[:p, p:], c[p:, :p]
    for part in (slice(0, p), slice(p, None)):
        s = c[part, part]
        right[part, part] = s + reg * np.trace(s) / len(s) * np.eye(len(s))
    rho = scipy.linalg.eigh(left, right, eigvals_only=True)
    rho = np.sort(rho)[::-1][: min(p, len(c) - p)].clip(0)
    total = -(rho ** (1 if objective == "sum" else 2)).sum()
    assert loss.item() == pytest.approx(total, abs=1e-7 if reg < 1e-6 else 1e-10)
    # Following the gradient a little lowers the loss.
    step = 1e-4 / float(gx.norm())
    assert cca_loss(x - step * gx, y, reg=reg, objective=objective) < loss


def test_without_ridge_a_singular_covariance_is_refused(monkeypatch):
    x, y = two_views(60, 5, 4)
    dead = torch.cat([x, torch.zeros(60, 1, dtype=x.dtype)], dim=1)
    combined = torch.cat([x, x @ torch.tensor([1.0, 2, 0, -1, 3], dtype=x.dtype)[:, None]], dim=1)
    for views, name in (
        ((dead, y), "x"),
        ((y, dead), "y"),
        ((combined, y), "x"),
        ((y, combined), "y"),
    ):
        with pytest.raises(
            ValueError, match=rf"reg=0: {name} has no variance in some direction.*reg=1e-4"
        ):
            cca_loss(*views, reg=0)
        assert math.isfinite(cca_loss(*views, reg=1e-4))
        with kernel("torch", monkeypatch), pytest.raises(ValueError, match=f"{name} has no var"):
            cca_loss(*views, reg=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "keywords", [{}, {"objective": "sum_of_squares"}, {"top_k": 1}, {"reg": 0.0}]
)
def test_nan_comes_out_as_nan(keywords, bad, either_kernel):
    x, y = two_views()
    x[3, 2] = bad
    loss, gx, gy = gradients(lambda a, b: cca_loss(a, b, **keywords), x, y)
    assert math.isnan(loss)
    assert gx.isnan().all()
    assert gy.isnan().all()
    assert math.isnan(cca_loss(y, x, **keywords))


# Invariances


def invertible(d, generator, spread=0.3):
    return torch.eye(d, dtype=torch.float64) + spread * torch.randn(
        d, d, dtype=torch.float64, generator=generator
    ) / math.sqrt(d)


@pytest.mark.parametrize("objective", ["sum", "sum_of_squares"])
def test_separate_invertible_maps_change_nothing_without_ridge(objective, agrees, either_kernel):
    x, y = two_views(100, 6, 5)
    generator = torch.Generator().manual_seed(3)
    a, b = invertible(6, generator), invertible(5, generator)
    agrees(
        NAME,
        cca_loss(10 * x @ a + 4, y @ b - 9, reg=0, objective=objective),
        cca_loss(x, y, reg=0, objective=objective),
        kind="derivation",
        against="itself after an invertible map of either view",
        tolerance=1e-12,
    )
    # And with a small ridge hardly anything.
    moved = cca_loss(x @ a, y @ b, reg=1e-6, objective=objective)
    assert moved.item() == pytest.approx(
        cca_loss(x, y, reg=1e-6, objective=objective).item(), abs=1e-4
    )


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(-60, 60),
    shift=st.floats(-1e3, 1e3),
    reg=st.sampled_from([0.0, 1e-4, 0.3]),
    seed=st.integers(0, 1000),
    p=st.integers(1, 6),
    q=st.integers(1, 6),
)
def test_scale_shift_rotation_order_of_rows_and_of_views(scale, shift, reg, seed, p, q):
    x, y = two_views(40, p, q, seed=seed)
    reference = cca_loss(x, y, reg=reg)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(p, p, dtype=x.dtype, generator=generator))[0]
    order = torch.randperm(40, generator=generator)
    for a, b in (
        (x * 10**scale, y),
        (x, -y * 10**scale),
        (x + shift, y - 2 * shift),
        (x @ rotation, y),
        (x[order], y[order]),
        (y, x),
        (x, y.flip(1)),
        (torch.cat([x, x]), torch.cat([y, y])),
    ):
        assert cca_loss(a, b, reg=reg).item() == pytest.approx(reference.item(), abs=1e-9)
    assert -min(p, q) - 1e-12 <= reference <= 0
    other_partners = cca_loss(x, y[torch.arange(40).roll(7)], reg=reg)
    assert other_partners.item() != pytest.approx(reference.item(), abs=1e-9)


def test_more_ridge_means_less_correlation():
    x, y = two_views()
    values = [cca_loss(x, y, reg=reg).item() for reg in (0, 1e-4, 1e-2, 1, 100)]
    assert values == sorted(values)
    assert values[0] < values[1]


def test_gradient_is_centred_and_moves_with_rotations(either_kernel):
    x, y = two_views()
    _, gx, gy = gradients(cca_loss, x, y)
    assert gx.mean(0).abs().max() < 1e-14
    assert gy.mean(0).abs().max() < 1e-14
    rotation = torch.linalg.qr(
        torch.randn(5, 5, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    )[0]
    _, rotated, same = gradients(cca_loss, x @ rotation, y)
    torch.testing.assert_close(rotated, gx @ rotation, rtol=0, atol=1e-12)
    torch.testing.assert_close(same, gy, rtol=0, atol=1e-12)


# Peers


def test_cca_zoo_computes_the_sum_of_squares(agrees, peer):
    """Its objective is −Σρ² (with an absolute ridge, so none here), and not the −Σρ it cites."""
    objectives = peer("cca_zoo.deep.objectives")
    x, y = two_views(120, 7, 5)
    theirs = gradients(lambda a, b: objectives.CCALoss(reg_covar=0.0)([a, b]), x, y)
    ours = gradients(lambda a, b: cca_loss(a, b, reg=0, objective="sum_of_squares"), x, y)
    for a, b in zip(ours, theirs, strict=True):
        agrees(NAME, a, b, kind="peer", against="cca-zoo, DCCA objective", tolerance=1e-10)
    assert abs(theirs[0] - cca_loss(x, y, reg=0)) > 0.1
    # With its ridge: the same number where ours, relative to a mean variance of 1, is as large.
    x, y = (v / v.var(0).mean().sqrt() for v in (x, y))
    agrees(
        NAME,
        cca_loss(x, y, reg=0.01, objective="sum_of_squares"),
        objectives.CCALoss(reg_covar=0.01)([x, y]),
        kind="peer",
        against="cca-zoo, DCCA objective",
        tolerance=1e-10,
    )


def test_cca_zoo_loses_the_gradient_of_a_collapsed_view_and_ours_does_not(peer):
    objectives = peer("cca_zoo.deep.objectives")
    x, y = two_views(120, 7, 5)
    x = torch.zeros_like(x)
    theirs = gradients(lambda a, b: objectives.CCALoss(reg_covar=1e-4)([a, b]), x, y)
    assert theirs[1].isnan().all()
    ours = gradients(lambda a, b: cca_loss(a, b, objective="sum_of_squares"), x, y)
    assert all((value == 0).all() for value in ours)


def test_linear_encoders_trained_with_it_reach_linear_cca():
    """On linear encoders the minimum is known: the correlations of CCA."""
    x, y = two_views(200, 6, 5)
    x, y = ((v - v.mean(0)) / v.std(0) for v in (x, y))
    best = CCA(n_components=2, reg=0).fit(x.numpy(), y.numpy()).correlations_.sum()
    f, g = torch.nn.Linear(6, 2).double(), torch.nn.Linear(5, 2).double()
    with torch.no_grad():
        for layer in (f, g):
            layer.weight.copy_(
                torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
            )
    optimiser = torch.optim.LBFGS(
        [*f.parameters(), *g.parameters()],
        max_iter=200,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
    )

    def closure():
        optimiser.zero_grad()
        loss = cca_loss(f(x), g(y), reg=0)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert -cca_loss(f(x), g(y), reg=0).item() == pytest.approx(best, abs=1e-8)


# Precision


def test_float32_with_large_means(either_kernel):
    """Means a thousand times the deviation: a covariance in float32 would lose every digit."""
    x, y = two_views(300, 6, 5, dtype=torch.float32)
    x, y = x + 3000.0, y - 5000.0
    ours = gradients(cca_loss, x, y)
    wide = gradients(cca_loss, *(v.double() - v.double().mean(0) for v in (x, y)))
    for a, b in zip(ours, wide, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=1e-7 * float(b.abs().max()))


def test_views_of_any_memory_layout(either_kernel):
    x, y = two_views()
    reference = gradients(cca_loss, x, y)
    wide = torch.randn(60, 10, dtype=x.dtype)
    wide[:, ::2] = x
    for a in (x.T.contiguous().T, wide[:, ::2]):
        for ours, theirs in zip(gradients(cca_loss, a, y.T.contiguous().T), reference, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    expanded = torch.randn(60, 1, dtype=x.dtype).expand(60, 3)
    assert cca_loss(expanded, y).isfinite()
    assert cca_loss(x.float(), y).dtype == torch.float64


# Batches that say nothing


@pytest.mark.parametrize(("p", "q"), [(32, 7), (7, 32)])
def test_thresholds_are_exact(p, q):
    generator = torch.Generator().manual_seed(0)

    def call(rows):
        x = torch.randn(rows, p, dtype=torch.float64, generator=generator)
        y = torch.randn(rows, q, dtype=torch.float64, generator=generator)
        return cca_loss(x, y)

    for rows in (2, 16, 33):  # 33 − 1 <= 32
        with pytest.raises(
            ValueError,
            match=f"batch of {rows} pairs with 32 dimensions: the correlation is perfect whatever "
            r"the data; use more than 80 pairs, or fewer dimensions \(chapter 5\)",
        ):
            call(rows)
    for rows in (34, 79):
        with pytest.warns(
            UserWarning, match=f"batch of {rows} pairs with 32 dimensions.*mostly chance"
        ):
            call(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(80)


def test_the_reason_of_the_thresholds():
    """Unrelated views: correlation is perfect at the limit, and mostly chance near it."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400, 10, dtype=torch.float64, generator=generator) for _ in range(2))
    rho = by_loops(x[:11].numpy(), y[:11].numpy(), 0)
    assert rho.min() > 1 - 1e-6
    with pytest.warns(UserWarning, match="mostly chance"):
        assert cca_loss(x[:24], y[:24]) < -5
    assert cca_loss(x, y) > -2


def test_the_warning_points_at_the_caller():
    x, y = two_views(12, 5, 4)
    with pytest.warns(UserWarning, match="mostly chance") as caught:
        cca_loss(x, y)
    assert caught[0].filename == __file__


# Bad input


# Module and processes


def test_module():
    x, y = two_views()
    module = CCALoss(top_k=2, reg=0.01, objective="sum_of_squares")
    assert torch.equal(module(x, y), cca_loss(x, y, top_k=2, reg=0.01, objective="sum_of_squares"))
    assert repr(module) == "CCALoss(top_k=2, reg=0.01, objective='sum_of_squares', gather=False)"
    assert not list(module.parameters())


def test_two_processes_share_the_limits(two_processes):
    x, y = two_views(12, 11, 3)  # 6 rows a process
    for outcome in two_processes.run("vlalign_lib.losses:cca_loss", x, y):
        assert isinstance(outcome, ValueError)
        assert "batch of 12 pairs with 11 dimensions" in str(outcome)

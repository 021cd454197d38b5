"""What every loss keeps, whatever it computes: one contract over a table of all of them."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from reconstructing import full

from vlalign_lib import losses

SEED = np.random.default_rng(5)
ROWS, MANY = 12, 168  # of so many no hinge is within rounding of zero
CLASSES = torch.tensor([0, 1, 2, 0, 1, 1, 3, 3, 2, 0, 1, 2]).repeat(14)
SOME = torch.tensor([-1, -1, *CLASSES[2:]])  # a mean of means over two processes would be wrong
TARGETS = torch.tensor(SEED.integers(0, 2, (MANY, 4)))
ROTATION = torch.linalg.qr(torch.tensor(SEED.standard_normal((4, 4)))).Q
ORDER = torch.tensor([3, 7, 0, 11, 5, 1, 9, 2, 10, 4, 8, 6])
NOISE = torch.tensor(SEED.standard_normal((8, MANY, 4)))
SIZES = torch.logspace(-3, 3, 12, dtype=torch.float64)[:, None]


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def judge():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)]
    return torch.nn.Sequential(*layers).double()


def alike():
    unit = torch.nn.functional.normalize(NOISE[2, :4])
    return unit @ unit.T


def paired():
    return {"x": NOISE[0], "y": NOISE[0] + NOISE[1]}


def classed():
    return paired() | {"labels": CLASSES}


def captioned():
    return {"x": NOISE[0], "y": NOISE[0, :, None] + NOISE[1:4].transpose(0, 1)}


def sequences():
    return {"x": NOISE[:4].transpose(0, 1), "y": NOISE[4:7].transpose(0, 1)}


def autoencoded():
    names = ("u", "v", "x", "y", "x_own", "y_own", "x_crossed", "y_crossed")
    return dict(zip(names, NOISE, strict=True))


def swapped(a):
    return a | {"x": a["y"], "y": a["x"]}


def rotated(a):
    return a | {"x": a["x"] @ ROTATION, "y": a["y"] @ ROTATION}


def resized(a):
    return a | {"x": 3 * a["x"], "y": a["y"] / 7}


def resized_by_rows(a):
    return a | {"x": SIZES * a["x"], "y": a["y"] / SIZES}


def resized_much(a):
    return a | {"x": 1e-300 * a["x"], "y": 1e300 * a["y"]}


def moved(a):
    return a | {"x": a["x"] + 3, "y": a["y"] + 3}


def renamed(a):
    return a | {"labels": 7 - 3 * a["labels"]}


def renamed_alike(a):
    names = torch.tensor([2, 0, 3, 1])
    similarity = a["class_similarity"][names.argsort()][:, names.argsort()]
    return a | {"labels": names[a["labels"]], "class_similarity": similarity}


COSINES = (swapped, rotated, resized, resized_by_rows, resized_much)


@dataclass
class Loss:
    """One loss: what it is called with, and what it keeps beyond what all keep.

    ``rows`` are cut in two for two processes, ``shared`` is alike on both. Everything is tested
    with each of ``settings``, which may replace rows. ``same`` are changes that change nothing.
    ``numbers`` are settings that may be numpy's. ``apart`` says that rows do not see each other,
    ``blocks`` that the engine computes them in blocks, ``mixed`` that mixed precision comes in,
    ``asks`` that the host looks at values. ``module`` are the settings of a module to be computed
    by two processes.
    """

    rows: Callable
    shared: dict = field(default_factory=dict)
    settings: tuple = ({},)
    same: tuple = ()
    numbers: dict = field(default_factory=dict)
    float32: float = 1e-5
    beside: str = "float64"
    apart: bool = False
    blocks: bool = False
    mixed: bool = False
    asks: bool = False
    module: tuple | None = None
    target: str | None = None
    tolerance: float = 1e-11


MININGS = ({}, *({"mining": m, "intra": True} for m in ("semi-hard", "all", "hardest")))
LOSSES = {
    "adaptive_margin_triplet_loss": Loss(
        classed,
        shared={"class_similarity": alike()},
        settings=({}, {"weight": 0.3, "intra": False}),
        same=(*COSINES, renamed_alike),
        numbers={"margin": 0.25, "weight": 0.5},
        module=("AdaptiveMarginTripletLoss", {"n_classes": 4, "n_features": 4}),
    ),
    "cca_loss": Loss(
        paired,
        settings=({}, {"objective": "sum_of_squares"}, {"top_k": 2, "reg": 0.0}),
        same=(swapped, rotated, resized, moved),
        numbers={"top_k": 2, "reg": 0.5},
        float32=1e-7,
        beside="itself in float64",
        module=("CCALoss", {}),
    ),
    "cka_loss": Loss(
        paired, same=(swapped, rotated, resized, moved), beside="itself in float64", asks=True
    ),
    "classification_proxy_loss": Loss(
        classed,
        settings=(
            {},
            {"labels": SOME},
            {"x": None},
            {"labels": TARGETS, "multi_label": True},
        ),
        float32=5e-7,
        beside="itself in float64",
        apart=True,
        asks=True,
    ),
    "contrastive_pair_loss": Loss(
        classed,
        settings=({}, {"labels": None}, {"margin": 2.5}),
        same=(swapped, rotated, moved),
        numbers={"margin": 0.5},
        blocks=True,
    ),
    "correspondence_loss": Loss(
        autoencoded,
        settings=({}, {"alpha": 0.3}),
        numbers={"alpha": 0.5},
        float32=5e-7,
        beside="itself in float64",
        apart=True,
        target="reconstructing:full",
    ),
    "domain_adversarial_loss": Loss(
        paired,
        shared={"discriminator": judge()},
        settings=({}, {"strength": 0.7}),
        numbers={"strength": 0.5},
        float32=5e-7,
        beside="itself in float64",
        apart=True,
        mixed=True,
    ),
    "info_nce_loss": Loss(
        paired,
        shared={"temperature": number(0.2)},
        settings=({}, {"symmetric": False, "label_smoothing": 0.1}),
        same=(rotated, resized, resized_by_rows, resized_much),
        numbers={"temperature": 0.5, "label_smoothing": 0.25, "block_size": 5},
        blocks=True,
        module=("InfoNCELoss", {"learnable": True}),
    ),
    "mil_nce_loss": Loss(
        captioned,
        shared={"temperature": number(0.6)},
        settings=({}, {"as_released": True}, {"similarity": "cosine"}),
        same=(
            rotated,
            lambda a: a | {"x": 2 * a["x"], "y": a["y"] / 2},
            lambda a: a | {"y": a["y"][:, [2, 0, 1]]},
            lambda a: a | {"y": a["y"].repeat(1, 2, 1)},  # every caption twice
        ),
        numbers={"temperature": 0.5},
        blocks=True,
    ),
    "s2dtw_contrastive_loss": Loss(
        sequences,
        settings=({}, {"symmetric": True, "cost": "euclidean"}),
        same=(rotated,),
        numbers={"gamma": 0.5, "temperature": 2.0},
        float32=5e-6,
    ),
    "sigmoid_pair_loss": Loss(
        paired,
        shared={"scale": number(6.0), "bias": number(-4.0)},
        same=COSINES,
        numbers={"scale": 4.0, "bias": -2},
        blocks=True,
        module=("SigmoidPairLoss", {}),
    ),
    "triplet_loss": Loss(
        classed,
        settings=(*MININGS, {"labels": None}),
        same=COSINES,
        numbers={"margin": 0.25},
        module=("TripletLoss", {"mining": "all"}),
    ),
}
EACH = pytest.mark.parametrize("name", sorted(LOSSES))
VIEWS = ("u", "v", "x", "y")


def of(name):
    """Return the function, and its row of the table."""
    case = LOSSES[name]
    return full if case.target else getattr(losses, name), case


def parameters_of(name):
    return inspect.signature(getattr(losses, name)).parameters


def arguments(case, settings=None, dtype=torch.float64, rows=ROWS):
    """Return the arguments of a call: rows, what is shared, settings."""

    def converted(value):
        if isinstance(value, torch.nn.Module):
            return judge().to(dtype)
        floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(dtype) if floating else value

    given = case.rows() | case.shared | (settings or {})
    given |= {key: given[key][:rows] for key in case.rows() if given[key] is not None}
    return {key: converted(value) for key, value in given.items()}


def with_gradients(function, given):
    """Return the loss and its gradients by the views, None where one is not given."""
    leaves = {
        key: value.detach().clone().requires_grad_()
        for key, value in given.items()
        if key in VIEWS and value is not None
    }
    value = function(**given | leaves)
    return [value.detach(), *torch.autograd.grad(value.sum(), list(leaves.values()))]


@pytest.fixture(params=["by itself", "plain", pytest.param("blocks", marks=pytest.mark.engine)])
def way(request, monkeypatch, in_blocks):
    """However the loss is computed: by whoever takes it, by its plain form, in small blocks."""
    if request.param == "plain":
        monkeypatch.setenv("VLALIGN_ENGINE", "0")
    if request.param != "blocks":
        yield request.param
        return
    with in_blocks(30):
        yield request.param


def test_every_loss_is_in_the_table():
    assert sorted(LOSSES) == sorted(name for name in losses.__all__ if name.endswith("_loss"))


@EACH
def test_two_processes(two_processes, name):
    case = LOSSES[name]
    for settings in case.settings:
        rest = {key: value for key, value in settings.items() if key not in case.rows()}
        for reduction in ("mean", "sum", "none") if "reduction" in parameters_of(name) else (None,):
            if reduction:
                rest["reduction"] = reduction
            given = arguments(case, settings)
            two_processes(
                case.target or f"vlalign_lib.losses:{name}",
                *(given[key] for key in case.rows()),
                shared={key: given[key] for key in case.shared},
                **rest,
            )
    if case.module:
        module, options = case.module
        rows = [each[:ROWS] for each in case.rows().values()]
        two_processes(f"vlalign_lib.losses:{module}", *rows, **options)


@EACH
def test_order_of_the_rows_and_what_else_does_not_matter(name, way):
    function, case = of(name)
    for settings in case.settings:
        given = arguments(case, settings)
        rows = [key for key in case.rows() if given[key] is not None]
        wanted = function(**given)
        turned = given | {key: given[key][ORDER] for key in rows}
        others = [turned, *(change(given) for change in case.same)]
        for other in others:
            torch.testing.assert_close(function(**other), wanted, rtol=case.tolerance, atol=0)
        if "reduction" in parameters_of(name):
            each = function(**given, reduction="none")
            ours = function(**turned, reduction="none")
            torch.testing.assert_close(ours, each[ORDER], rtol=case.tolerance, atol=1e-14)
            for reduction in ("sum", "mean"):
                assert function(**given, reduction=reduction).ndim == 0


@EACH
def test_numbers_and_labels_of_numpy(name):
    function, case = of(name)
    given = arguments(case)
    for setting, value in case.numbers.items():
        kind = np.int64 if isinstance(value, int) else np.float32
        ours = function(**given | {setting: kind(value)})
        assert torch.equal(ours, function(**given | {setting: value}))
    if "labels" in given:
        wanted = function(**given)
        classes = given["labels"]
        frozen = classes.numpy().copy()
        frozen.flags.writeable = False
        backwards = classes.numpy()[::-1].copy()[::-1]
        kinds = (frozen, backwards, classes.tolist(), classes.int(), frozen.astype(np.uint8))
        for labels in (*kinds, tuple(classes.tolist())):
            assert torch.equal(function(**given | {"labels": labels}), wanted)


@EACH
def test_nan_comes_out_as_nan(name, way):
    function, case = of(name)
    for settings in case.settings:
        for view in VIEWS:
            given = arguments(case, settings)
            if given.get(view) is None:
                continue
            given[view] = given[view].clone()
            given[view][2, ..., 1] = torch.nan
            value, *slopes = with_gradients(function, given)
            assert value.isnan()
            assert given[view].isnan().sum() == given[view][2, ..., 1].numel(), "is written to"
            spoilt = [slope.isnan().any() for slope in slopes]
            assert any(spoilt) if case.apart else all(spoilt)
            if case.apart and "reduction" in parameters_of(name):
                each = function(**given, reduction="none")
                assert each.isnan().nonzero().flatten().tolist() == [2]


@EACH
def test_float32_and_half_precision(agrees, name, way):
    function, case = of(name)
    for settings in case.settings:
        wide, narrow = (
            with_gradients(function, arguments(case, settings, dtype, MANY))
            for dtype in (torch.float64, torch.float32)
        )
        assert all(each.dtype == torch.float32 for each in narrow)
        for got, wanted in zip(narrow, wide, strict=True):
            agrees(
                f"losses.{name}", got, wanted, kind="float32", against=case.beside,
                tolerance=case.float32,
            )  # fmt: skip
    if not case.mixed:
        for dtype in (torch.float16, torch.bfloat16):
            half = arguments(case, dtype=dtype)
            ours = function(**half)
            assert ours.dtype == torch.float32
            single = {
                k: v.float() if k in case.rows() and k != "labels" else v for k, v in half.items()
            }
            torch.testing.assert_close(ours, function(**single), rtol=1e-6, atol=1e-6)


@EACH
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_the_default_precision_does_not_matter(name, default):
    function, case = of(name)
    given = arguments(case, dtype=torch.float32)
    wanted = with_gradients(function, given)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        found = with_gradients(function, given)
    finally:
        torch.set_default_dtype(before)
    for got, each in zip(found, wanted, strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, each)


@pytest.mark.parametrize("name", sorted(name for name in LOSSES if not LOSSES[name].mixed))
def test_autocast_changes_nothing(name, way):
    function, case = of(name)
    for settings in case.settings:
        given = arguments(case, settings, torch.float32)
        leaves = {
            key: given[key].clone().requires_grad_() for key in VIEWS if given.get(key) is not None
        }
        outside = with_gradients(function, given)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = function(**given | leaves)
            inside = with_gradients(function, given)
        found = [value, *torch.autograd.grad(value.sum(), list(leaves.values()))]
        assert all(map(torch.equal, found, outside))
        assert all(map(torch.equal, inside, outside))


@pytest.mark.parametrize(
    ("name", "blocks"),
    [(name, False) for name in sorted(LOSSES) if not LOSSES[name].asks]
    + [
        pytest.param(name, True, marks=pytest.mark.engine)
        for name in sorted(LOSSES)
        if LOSSES[name].blocks
    ],
)
def test_on_a_gpu_the_host_never_waits(name, blocks, no_host_reads, in_blocks, monkeypatch):
    function, case = of(name)
    if not blocks:
        monkeypatch.setenv("VLALIGN_ENGINE", "0")
    for settings in case.settings:
        if settings.get("reg") == 0:
            continue  # what only the CPU looks at
        given = arguments(case, settings)
        with in_blocks(30) if blocks else nullcontext(), no_host_reads:
            found = with_gradients(function, given)
        assert all(part.isfinite().all() for part in found)


@EACH
def test_compiled(name):
    function, case = of(name)
    given = arguments(case)
    compiled = torch.compile(function, backend="eager")
    for got, wanted in zip(
        with_gradients(compiled, given), with_gradients(function, given), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-14)


@EACH
def test_arguments_are_taken_as_python_takes_them(name):
    function, parameters = getattr(losses, name), parameters_of(name)
    places = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    row = torch.ones(4, 4)
    with pytest.raises(TypeError, match="multiple values for argument 'x'"):
        function(*[row] * len(places), x=row)
    with pytest.raises(TypeError, match="positional argument"):
        function(*[row] * (len(places) + 1))
    with pytest.raises(TypeError, match="unexpected keyword argument 'mragin'"):
        function(*[row] * len(places), mragin=1)
    with pytest.raises(TypeError, match=r"missing .* required"):
        function(row)

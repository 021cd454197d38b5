"""The CUDA kernels: in Triton's interpreter, through its compiler, and on a card where one is.

In the interpreter every memory access is looked at and memory that nobody wrote holds NaN, so that
a race or a missing mask shows whatever the order in which programs run.
"""

import importlib
import math
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vlalign_lib.temporal import soft_alignment, soft_dtw

pytestmark = pytest.mark.engine

WORKER = Path(__file__).with_name("_triton_worker.py")
INF, NAN = math.inf, math.nan
TILES = {"LANES": 4, "WIDTH": 5}  # so that small matrices have many tiles
LENGTHS = torch.tensor([[7, 9], [1, 9], [4, 1], [5, 3], [1, 1], [7, 2]])
needs_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def interpreted(peer):
    """``interpreted(cost, gamma, …)`` → value, E, Hessian product, from the interpreter."""
    peer("triton")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:

        def ask(name, **job):
            pickle.dump((name, job), process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
            if isinstance(answer, Exception):
                raise answer
            return answer

        def run(cost, gamma, lengths=None, direction=None, **settings):
            return ask(
                "everything",
                cost=cost,
                lengths=lengths,
                gamma=gamma,
                direction=direction,
                settings=settings,
            )

        run.ask = ask
        yield run
        process.stdin.close()


def reference(cost, gamma, lengths=None, direction=None):
    """Value, E and Hessian product by the plain form in float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLALIGN_ENGINE", "0")
        cost = cost.detach().double().requires_grad_()
        value = soft_dtw(cost, gamma, lengths=lengths)
        expected = soft_alignment(cost, gamma, lengths=lengths)
        if direction is None:
            return value.detach(), expected.detach()
        product = torch.zeros_like(cost)
        if expected.requires_grad:
            (product,) = torch.autograd.grad((expected * direction.double()).sum(), cost)
        return value.detach(), expected.detach(), product


def by_autograd(slow, cost, gamma, ends, direction):
    """Value, E and Hessian product of loops over the cells, differentiated by autograd."""
    values, alignments, products = [], [], []
    for matrix, (n, m), z in zip(cost.double(), ends, direction.double(), strict=True):
        leaf = matrix.clone().requires_grad_()
        value = slow.soft_dtw(leaf[:n, :m], gamma)
        (expected,) = torch.autograd.grad(value, leaf, create_graph=True)
        product = torch.zeros_like(leaf)
        if expected.requires_grad:
            (product,) = torch.autograd.grad((expected * z).sum(), leaf)
        found = zip((values, alignments, products), (value, expected, product), strict=True)
        for collected, one in found:
            collected.append(one.detach())
    return torch.stack(values), torch.stack(alignments), torch.stack(products)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_loops_over_the_cells(dtype, lengths, interpreted, costs, slow, agrees):
    cost, z = costs(6, 7, 9).to(dtype), costs(6, 7, 9, seed=1).to(dtype)
    ends = [(7, 9)] * 6 if lengths is None else lengths.tolist()
    single = dtype == torch.float32
    for gamma, tiles in ((0.2, {}), (1.0, TILES)):
        ours = interpreted(cost, gamma, lengths, z, **tiles)[:3]
        theirs = by_autograd(slow, cost, gamma, ends, z)
        names = ("temporal.soft_dtw", "temporal.soft_alignment", "temporal.soft_alignment")
        whats = ("", "", ", its derivative")
        for name, what, one, other in zip(names, whats, ours, theirs, strict=True):
            agrees(
                name,
                one,
                other,
                kind="float32" if single else "loop",
                against="loops over the cells, beside the CUDA kernels interpreted" + what,
                tolerance=(1e-5 if what else 1e-6) if single else 5e-14,
            )


@pytest.mark.parametrize(
    ("shape", "gamma", "dtype", "tiles"),
    [
        ((1, 1, 1), 0.3, torch.float32, {}),
        ((2, 1, 6), 0.3, torch.float64, {}),
        ((2, 6, 1), 0.3, torch.float32, TILES | {"SHORT": 0}),
        ((40, 3, 4), 0.3, torch.float32, {}),
        ((2, 5, 5), 0.0, torch.float64, TILES),
        ((2, 9, 6), 0.3, torch.float64, {"LANES": 4, "WIDTH": 3}),
        ((2, 9, 6), 0.3, torch.float32, {"LANES": 4, "WIDTH": 3}),
        ((2, 5, 11), 0.0, torch.float32, {"LANES": 4, "WIDTH": 3}),
        ((2, 9, 11), 0.3, torch.float32, {"LANES": 4, "MANY": 1}),
        ((1, 35, 3), 0.3, torch.float32, {"SHORT": 0}),
        ((1, 33, 33), 0.3, torch.float32, {}),
    ],
)
def test_any_shape_in_any_tiles(shape, gamma, dtype, tiles, interpreted, costs):
    cost, z = costs(*shape).to(dtype), costs(*shape, seed=1).to(dtype)
    ours = interpreted(cost, gamma, None, z, **tiles)[:3]
    for one, other in zip(ours, reference(cost, gamma, direction=z), strict=True):
        bound = (1e-12 if dtype == torch.float64 else 2e-6) * float(1 + other.abs().max())
        torch.testing.assert_close(one.double(), other, rtol=0, atol=bound)


def test_how_many_launches(interpreted, costs):
    """One each way for short pairs; else one a diagonal of tiles, and one to look at costs."""
    assert interpreted(costs(3, 4, 5), 0.5)[3] == 2
    assert interpreted(costs(2, 5, 6), 0.5, **TILES)[3] == 2 * (2 + 2 - 1) + 1


def test_lengths_for_tall_matrices_and_shared_programs(interpreted, costs):
    lengths = LENGTHS.flip(1)
    cost, z = costs(6, 9, 7), costs(6, 9, 7, seed=1)
    cost[1, 4:, 2:], z[1, 2:] = NAN, NAN  # beyond the lengths nobody looks
    cost[1, :, 1:] = NAN
    lengths = lengths.clone()
    lengths[1] = torch.tensor([2, 1])
    rows, columns = torch.arange(9)[:, None], torch.arange(7)
    inside = (rows < lengths[:, 0, None, None]) & (columns < lengths[:, 1, None, None])
    theirs = reference(cost, 0.2, lengths, torch.where(inside, z, 0.0))
    for tiles in ({}, TILES):
        value, expected, product, _ = interpreted(cost, 0.2, lengths, z, **tiles)
        for one, other in zip((value, expected, product), theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        assert (expected[~inside] == 0).all()
        assert (product[~inside] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(5, 6, 8), (5, 8, 6)])
def test_hard_ties_go_diagonally_then_up_then_left(dtype, shape, interpreted):
    cost = torch.full(shape, 0.1, dtype=dtype)  # 0.1 has no end in binary: sums round
    cost[1] = 0
    cost[2:] = torch.randint(0, 2, (3, *shape[1:]), generator=torch.manual_seed(0)).to(dtype)
    theirs = reference(cost, 0.0)
    for tiles in ({}, TILES):
        value, expected, product, _ = interpreted(cost, 0.0, direction=cost, **tiles)
        torch.testing.assert_close(value.double(), theirs[0], rtol=1e-7, atol=0)
        torch.testing.assert_close(expected.double(), theirs[1], rtol=0, atol=0)
        assert (product == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_forbidden_cells_and_broken_pairs(dtype, gamma, interpreted, costs):
    cost = costs(8, 6, 8).to(dtype)
    cost[0, 2, :7] = INF  # one gap
    cost[1, 3] = INF  # no path
    cost[2, 0, 0] = INF
    cost[3, 5, 7] = INF
    cost[4, 2, 3] = NAN
    cost[5, 5, 7] = -INF
    cost[6, 1:5, 2:6] = INF
    cost[7, 5, 0] = NAN  # where no best path goes
    z = costs(8, 6, 8, seed=1).to(dtype)
    single = dtype == torch.float32
    theirs = reference(cost, gamma, direction=z)
    for tiles in ({}, TILES):
        value, expected, product, _ = interpreted(cost, gamma, direction=z, **tiles)
        ours = (value.double(), expected.double(), product.double())
        for one, other in zip(ours[:2], theirs, strict=False):
            bound = 1e-6 if single else 1e-13
            torch.testing.assert_close(one, other, rtol=bound, atol=bound, equal_nan=True)
        whole = [0, 1, 2, 3, 6]
        scale = max(1.0, float(theirs[2][whole].abs().max()))
        bound = (1e-5 if single else 1e-12) * scale
        torch.testing.assert_close(ours[2][whole], theirs[2][whole], rtol=0, atol=bound)
        assert (value[1:4] == INF).all()
        assert (expected[1:4] == 0).all()
        assert (expected[cost == INF] == 0).all()
        assert (product[whole][cost[whole] == INF] == 0).all()
        assert expected[[4, 5, 7]].isnan().all()
        if gamma > 0:
            assert product[[4, 5, 7]].isnan().all()


def test_costs_of_any_size_in_one_batch(interpreted, costs):
    """Pairs of one program take different ways: probabilities, or logarithms."""
    scales = torch.tensor([1.0, 1e30, -1e30, 1e4, 1e-30, 3e7, 1.0])
    cost = (costs(7, 6, 5) * scales[:, None, None]).float()
    cost[6, 3, 4] = 1e30
    cost[6, 4, 3] = -1e30
    for gamma, tiles in ((1.0, {}), (1e-3, {"SHORT": 0, "LANES": 4})):
        theirs = reference(cost, gamma)
        value, expected, _, _ = interpreted(cost, gamma, **tiles)
        torch.testing.assert_close(value.double(), theirs[0], rtol=2e-7, atol=0)
        torch.testing.assert_close(expected.double(), theirs[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("gamma", [1e-45, 1e-38, 1e-12, 1e12, 1e36])
def test_extreme_temperatures(gamma, interpreted, costs):
    for dtype in (torch.float32, torch.float64):
        cost = costs(2, 3, 4).to(dtype)
        value, expected, _, _ = interpreted(cost, gamma)
        theirs = reference(cost, gamma)
        torch.testing.assert_close(value.double(), theirs[0], rtol=2e-7, atol=0)
        torch.testing.assert_close(expected.double(), theirs[1], rtol=0, atol=1e-6)


def test_no_mass_is_lost_in_single_precision(interpreted, costs):
    cost = costs(1, 50, 50).abs().float()
    value, expected, _, _ = interpreted(cost, 0.1, LANES=64)
    theirs = reference(cost, 0.1)
    torch.testing.assert_close(value.double(), theirs[0], rtol=1e-7, atol=0)
    assert (expected.double() - theirs[1]).abs().max() < 1e-6
    assert abs(float(expected[0, 0, 0]) - 1) < 1e-6
    assert (expected >= 0).all()


def test_scan_in_place_of_shuffles(interpreted, costs):
    """Older releases of Triton have no gather: the same numbers, to the bit."""
    cost, z = costs(2, 5, 7).float(), costs(2, 5, 7, seed=1).float()
    ours = interpreted(cost, 0.2, direction=z)[:3]
    scans = interpreted(cost, 0.2, direction=z, _neighbour="_scanned")[:3]
    for one, other in zip(ours, scans, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_derivatives_of_the_public_functions(interpreted, costs):
    lengths = torch.tensor([[3, 2], [2, 4]])
    interpreted.ask("gradients", cost=costs(2, 3, 4), lengths=lengths, gamma=0.2)


def signatures(module, dtype):
    """Every kernel, the types of its arguments, and the constants to compile it with."""
    number = {torch.float32: "*fp32", torch.float64: "*fp64"}[dtype]
    types = dict.fromkeys(module.SIZES, "i32") | {"lengths": "*i64", "modes": "*i32"}
    types |= dict.fromkeys(("rows", "columns", "high", "across"), "i32")
    types |= dict.fromkeys(("rate", "rate_rest", "limit"), "fp32")
    types |= dict.fromkeys(("gamma_bits", "unit_bits"), "i64")
    edges = {"row_edges": "*i64", "column_edges": "*i64"}
    wide = {"row_edges": "*fp64", "column_edges": "*fp64"}
    forward = {"QUICK": dtype == torch.float32, "HARD": False, "KEEP": True}
    for pairs, tiled in ((1, True), (8, False)):
        shared = {"PAIRS": pairs, "HEIGHT": 32 // pairs, "STRIPS": tiled, "BLOCKS": tiled}
        shared |= {"SWAPPED": False, "LENGTHS": True}
        yield module._forward_tile, number, types | edges, shared | forward | {"FUSED": not tiled}
        yield module._tangent_tile, number, types | wide, shared
        yield module._flow_tile, number, types | wide, shared | {"SECOND": False}
        yield module._flow_tile, number, types | wide, shared | {"SECOND": True}


@pytest.mark.parametrize(
    ("dtype", "capability"), [(torch.float32, 75), (torch.float32, 90), (torch.float64, 80)]
)
def test_compiled_for_cards_that_are_not_here(dtype, capability, peer, tmp_path, monkeypatch):
    """One or two shuffles hand over what a lane needs; no shared memory, no barrier, no spill."""
    peer("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    triton = importlib.import_module("triton")
    compiler = importlib.import_module("triton.backends.compiler")
    module = importlib.import_module("vlalign_lib.engine.soft_dtw.triton_kernels")
    for kernel, number, types, constants in signatures(module, dtype):
        names = kernel.arg_names
        signature = {
            name: "constexpr" if name in constants else types.get(name, number) for name in names
        }
        source = triton.compiler.ASTSource(
            kernel,
            signature=signature,
            constexprs={(names.index(name),): value for name, value in constants.items()},
        )
        compiled = triton.compile(
            source,
            target=compiler.GPUTarget("cuda", capability, 32),
            options={"num_warps": 1, "num_stages": 1},
        )
        assembly = compiled.asm["ptx"]
        assert compiled.metadata.shared == 0
        assert not re.search(r"\b(bar|barrier|membar|fence)\.", assembly)
        assert "shfl.sync.idx" in assembly
        assert ".local" not in assembly


@needs_card
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (64, 17, 17), (9, 5, 300), (5, 300, 5), (3, 100, 257), (1100, 40, 33)]
)
def test_on_a_card(dtype, shape, peer, costs):
    peer("triton")
    ours = importlib.import_module("vlalign_lib.engine.soft_dtw.triton_kernels")
    cost, z = costs(*shape).to(dtype), costs(*shape, seed=1).to(dtype)
    generator = torch.Generator().manual_seed(2)
    ends = [torch.randint(1, s + 1, shape[:1], generator=generator) for s in shape[1:]]
    for lengths in (None, torch.stack(ends, 1)):
        for gamma in (0.0, 0.1, 1.0):
            theirs = reference(cost, gamma, lengths, z)
            there = [None if t is None else t.cuda() for t in (cost, lengths, z)]
            value, state = ours.forward(there[0], there[1], gamma, keep=True)
            expected = ours.alignment(state, there[1], gamma, shape)
            product = ours.hessian_product(state, expected, there[2], there[1], gamma)
            for one, other in zip((value, expected, product), theirs, strict=True):
                bound = (1e-5 if dtype == torch.float32 else 1e-11) * float(other.abs().max() + 1)
                torch.testing.assert_close(one.cpu().double(), other, rtol=0, atol=bound)


@needs_card
def test_single_precision_of_long_sequences_on_a_card(peer, costs):
    peer("triton")
    cost = costs(1, 2000, 2000).abs()
    expected = soft_alignment(cost.float().cuda(), 0.1)
    theirs = reference(cost.float(), 0.1)[1]
    assert float((expected.cpu().double() - theirs).abs().max()) <= 5e-6


@needs_card
def test_the_host_never_waits_for_the_card(peer, costs):
    peer("triton")
    cost = costs(4, 40, 50).float().cuda().requires_grad_()
    lengths = torch.tensor([[40, 50], [1, 1], [33, 40], [7, 50]]).cuda()
    ours = importlib.import_module("vlalign_lib.engine.soft_dtw.triton_kernels")
    torch.cuda.set_sync_debug_mode("error")
    try:
        value, state = ours.forward(cost.detach(), lengths, 0.1, keep=True)
        expected = ours.alignment(state, lengths, 0.1, tuple(cost.shape))
        ours.hessian_product(state, expected, cost.detach(), lengths, 0.1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(value, soft_dtw(cost, 0.1, lengths=lengths).detach())


@needs_card
def test_derivatives_on_a_card(peer, costs):
    peer("triton")
    cost = costs(2, 4, 5).cuda().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: soft_alignment(c, 0.3), cost)
    assert torch.autograd.gradgradcheck(lambda c: soft_dtw(c, 0.3), cost)

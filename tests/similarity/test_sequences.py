"""Rows from two sequences of unequal length, four ways, each beside its loop."""

import numpy as np
import pytest
import torch

from vlalign_lib.similarity import cka, pair_sequences

NAME = "similarity.pair_sequences"
LENGTHS = ((4, 2), (1, 5), (3, 3), (4, 1))


def sequences(p=3, q=3, seed=0, *, dtype=torch.float64):
    """Four pairs, up to 4 frames and 5 tokens; what is not real is NaN."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.standard_normal((4, 4, p)), dtype=dtype)
    y = torch.tensor(rng.standard_normal((4, 5, q)), dtype=dtype)
    x_mask = torch.arange(4) < torch.tensor([n for n, _ in LENGTHS])[:, None]
    y_mask = torch.arange(5) < torch.tensor([m for _, m in LENGTHS])[:, None]
    return x, y, x_mask, y_mask


def real(values, mask):
    """One list a pair, of what its mask keeps."""
    return [[v for v, k in zip(*pair, strict=True) if k] for pair in zip(values, mask, strict=True)]


def spoiled(values, mask):
    return values.masked_fill(~mask[:, :, None], torch.nan)


def compare(agrees, found, expected, against):
    for ours, theirs in zip(found, expected, strict=True):
        agrees(NAME, ours, np.array(theirs), kind="loop", against=against, tolerance=1e-12)


def test_pool(agrees):
    x, y, x_mask, y_mask = sequences(q=2)
    found = pair_sequences(spoiled(x, x_mask), spoiled(y, y_mask), x_mask=x_mask, y_mask=y_mask)
    expected = (
        [np.mean(pair, axis=0) for pair in real(view.numpy(), mask)]
        for view, mask in ((x, x_mask), (y, y_mask))
    )
    compare(agrees, found, expected, "means, in loops")


def test_attended(agrees):
    x, y, x_mask, y_mask = sequences()
    found = pair_sequences(
        spoiled(x, x_mask), spoiled(y, y_mask), how="attended", x_mask=x_mask, y_mask=y_mask
    )
    frames, tokens = [], []
    for pair_x, pair_y in zip(real(x.numpy(), x_mask), real(y.numpy(), y_mask), strict=True):
        for token in pair_y:
            cosines = [f @ token / np.linalg.norm(f) / np.linalg.norm(token) for f in pair_x]
            weights = np.exp(10 * np.array(cosines))
            frames.append(sum(w * f for w, f in zip(weights, pair_x, strict=True)) / weights.sum())
            tokens.append(token)
    assert len(tokens) == sum(m for _, m in LENGTHS)
    compare(agrees, found, (frames, tokens), "attention, in loops")


def test_attended_with_the_weights_of_a_model(agrees):
    x, y, x_mask, y_mask = sequences(q=2)
    weights = torch.rand(4, 5, 4, generator=torch.Generator().manual_seed(0)).double()
    found = pair_sequences(
        spoiled(x, x_mask),
        y,
        how="attended",
        x_mask=x_mask,
        y_mask=y_mask,
        attention=weights,
    )
    frames = []
    for b, (n, m) in enumerate(LENGTHS):
        for t in range(m):
            share = weights[b, t, :n].numpy()
            frames.append((share / share.sum()) @ x[b, :n].numpy())
    compare(agrees, found, (frames, y[y_mask].numpy()), "given weights, in loops")


def test_attention_of_0_is_the_mean_and_of_very_much_the_nearest():
    x, y, x_mask, y_mask = sequences()
    masks = {"x_mask": x_mask, "y_mask": y_mask}
    flat = pair_sequences(x, y, how="attended", scale=0, **masks)[0]
    pooled = pair_sequences(x, y, **masks)[0]
    torch.testing.assert_close(flat, pooled.repeat_interleave(y_mask.sum(1), dim=0))
    sharp = pair_sequences(x, x, how="attended", scale=1e6, x_mask=x_mask, y_mask=x_mask)
    torch.testing.assert_close(*sharp)


def test_aligned(agrees):
    x, y, x_mask, y_mask = sequences(q=2)
    x_times = torch.tensor([0.0, 2.0, 4.0, 6.0]).expand(4, 4).clone()
    y_times = torch.tensor([3.0, 0.1, 5.9, -7.0, 40.0]).expand(4, 5).clone()
    y_times[~y_mask] = torch.nan
    found = pair_sequences(
        spoiled(x, x_mask),
        spoiled(y, y_mask),
        how="aligned",
        x_mask=x_mask,
        y_mask=y_mask,
        x_times=x_times,
        y_times=y_times,
    )
    frames, means = [], []
    for b, (n, m) in enumerate(LENGTHS):
        heard = {}
        for t in range(m):
            gaps = [abs(float(x_times[b, i] - y_times[b, t])) for i in range(n)]
            heard.setdefault(gaps.index(min(gaps)), []).append(y[b, t].numpy())
        for i in sorted(heard):
            frames.append(x[b, i].numpy())
            means.append(np.mean(heard[i], axis=0))
    compare(agrees, found, (frames, means), "nearest frames, in loops")
    # 3.0 lies between the frames at 2.0 and 4.0: the earlier one.
    torch.testing.assert_close(found[0][0], x[0, 0])
    torch.testing.assert_close(found[0][1], x[0, 1])


def test_aligned_by_number_of_the_frame():
    x, y, _, _ = sequences(q=2)
    steps = torch.tensor([[0, 0, 1, 3, 3]] * 4)
    frames, means = pair_sequences(x, y, how="aligned", y_times=steps)
    torch.testing.assert_close(frames, x[:, [0, 1, 3]].flatten(0, 1))
    torch.testing.assert_close(means[0], y[0, :2].mean(0))
    torch.testing.assert_close(means[2], y[0, 3:].mean(0))


@pytest.mark.parametrize("length", [None, 1, 2, 6])
def test_resample(agrees, length):
    x, y, x_mask, y_mask = sequences(q=2)
    found = pair_sequences(
        spoiled(x, x_mask),
        spoiled(y, y_mask),
        how="resample",
        x_mask=x_mask,
        y_mask=y_mask,
        length=length,
    )
    rows = ([], [])
    for b, counts in enumerate(LENGTHS):
        times = length or min(counts)
        for out, values, count in zip(rows, (x, y), counts, strict=True):
            places = np.linspace(0, count - 1, times) if times > 1 else [(count - 1) / 2]
            columns = values[b, :count].numpy().T
            out += list(np.stack([np.interp(places, range(count), c) for c in columns], axis=1))
    compare(agrees, found, rows, "np.interp")


def test_resample_to_their_own_length_changes_nothing():
    x, y, _, _ = sequences(q=2)
    found = pair_sequences(x, y[:, :4], how="resample")
    torch.testing.assert_close(found[0], x.flatten(0, 1), rtol=0, atol=0)
    torch.testing.assert_close(found[1], y[:, :4].flatten(0, 1), rtol=0, atol=0)


@pytest.mark.parametrize("how", ["pool", "attended", "aligned", "resample"])
def test_where_the_real_ones_lie_and_what_lies_between_does_not_matter(how):
    x, y, x_mask, y_mask = sequences()
    times = torch.arange(5).double().expand(4, 5)
    options = {"how": how, "x_mask": x_mask, "y_mask": y_mask}
    if how == "aligned":
        options |= {"y_times": times}
    expected = pair_sequences(x, y, **options)
    # A gap before every frame, filled with NaN.
    wide = torch.stack([torch.full_like(x, torch.nan), x], dim=2).flatten(1, 2)
    wide_mask = torch.stack([torch.zeros_like(x_mask), x_mask], dim=2).flatten(1, 2)
    options["x_mask"] = wide_mask
    if how == "aligned":
        options["x_times"] = torch.stack([times[:, :4] + 0.3, times[:, :4]], dim=2).flatten(1, 2)
    found = pair_sequences(wide, y, **options)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("how", ["pool", "attended", "aligned", "resample"])
def test_gradient(agrees, how):
    x, y, x_mask, y_mask = sequences()
    x, y = spoiled(x, x_mask).nan_to_num(7.0), spoiled(y, y_mask).nan_to_num(7.0)
    inputs = x.requires_grad_(), y.requires_grad_()
    times = torch.tensor([[0.2, 1.1, 1.2, 3.0, 2.6]] * 4)
    options = {"y_times": times} if how == "aligned" else {}

    def rows(x, y):
        return pair_sequences(x, y, how=how, x_mask=x_mask, y_mask=y_mask, **options)

    agrees.gradcheck(NAME, rows, inputs)


def test_gradients_stay_finite_beside_padding_of_any_kind():
    x, y, x_mask, y_mask = sequences()
    for how in ("pool", "attended", "resample"):
        leaf = spoiled(x, x_mask).requires_grad_()
        rows = pair_sequences(leaf, spoiled(y, y_mask), how=how, x_mask=x_mask, y_mask=y_mask)
        rows[0].square().sum().backward()
        assert leaf.grad.isfinite().all()
        assert not leaf.grad[~x_mask].any()


def test_arrays_and_precisions():
    x, y, x_mask, _ = sequences(dtype=torch.float32)
    tensors = pair_sequences(x, y, x_mask=x_mask)
    arrays = pair_sequences(x.numpy(), y.numpy(), x_mask=x_mask.numpy())
    for ours, theirs in zip(arrays, tensors, strict=True):
        assert isinstance(ours, np.ndarray)
        np.testing.assert_array_equal(ours, theirs.numpy())
        assert ours.dtype == np.float32
    for how in ("pool", "attended", "resample"):
        assert pair_sequences(x.half(), y.half(), how=how)[0].dtype == torch.float32
        assert pair_sequences(x.half(), y.double(), how=how)[0].dtype == torch.float64


def test_attention_makes_the_similarity_that_it_measures():
    """Unrelated frames and tokens: what tokens attend to resembles them, pools do not."""
    rng = np.random.default_rng(0)
    frames, tokens = rng.standard_normal((60, 12, 8)), rng.standard_normal((60, 10, 8))
    values = {
        how: cka(*pair_sequences(frames, tokens, how=how), unbiased=True)
        for how in ("pool", "attended")
    }
    assert abs(values["pool"]) < 3 * np.sqrt(2 / (60 * 57))
    assert values["attended"] > 0.3


BAD = [
    ({"how": "mean"}, 'how: expected one of "pool", "attended", "aligned", "resample"'),
    ({"x": torch.ones(4, 3)}, r"x: expected shape \(B, L, p\)"),
    ({"y": torch.ones(3, 5, 3)}, "x has 4 sequences and y has 3"),
    ({"y": np.ones((4, 5, 3))}, "x is a tensor and y is not"),
    ({"x": torch.ones(4, 2, 3, dtype=torch.int64)}, "x: expected real numbers in floating point"),
    ({"x": np.full((4, 2, 3), "a"), "y": np.ones((4, 2, 3))}, "x: expected real numbers"),
    ({"x": torch.ones(4, 0, 3)}, "x: is empty"),
    ({"x_mask": torch.ones(4, 4)}, "x_mask: expected booleans"),
    ({"x_mask": torch.ones(4, 3, dtype=torch.bool)}, r"x_mask: expected shape \(4, 4\)"),
    ({"y_mask": torch.arange(4)[:, None].expand(4, 5) != 2}, "y_mask: 1 sequence.*sequence 2"),
    ({"how": "attended", "y": torch.ones(4, 5, 2)}, "give the weights of your model"),
    ({"how": "attended", "attention": torch.ones(4, 4, 5)}, r"attention: expected \(4, 5, 4\)"),
    ({"how": "attended", "attention": -torch.ones(4, 5, 4)}, "pass probabilities, not scores"),
    ({"how": "attended", "attention": torch.zeros(4, 5, 4)}, "not all 0 over the real frames"),
    ({"how": "attended", "scale": "10"}, "scale: expected a finite number"),
    ({"how": "aligned"}, 'y_times: how="aligned" needs to know when'),
    ({"how": "aligned", "y_times": torch.ones(4, 4)}, r"y_times: expected \(4, 5\)"),
    ({"how": "aligned", "y_times": torch.full((4, 5), torch.nan)}, "y_times: NaN or infinity"),
    ({"how": "aligned", "y_times": "later"}, r"y_times: expected numbers \(4, 5\), got str"),
    ({"how": "resample", "length": 0}, "length: expected a whole number of at least 1"),
    ({"how": "resample", "length": 2.0}, "length: expected a whole number of at least 1"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:45] for _, message in BAD])
def test_explains_bad_input(change, message):
    arguments = {"x": torch.ones(4, 4, 3), "y": torch.ones(4, 5, 3)} | change
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(ValueError, match=message):
        pair_sequences(x, y, **arguments)

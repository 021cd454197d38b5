"""How far a reader has to walk: the files that a call runs through, counted while it runs."""

import sys
import threading
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "vlalign_lib"
STOREY = (
    "data", "metrics", "linear", "losses", "similarity", "temporal", "models", "methods", "training"
)  # fmt: skip


def files_of(call):
    """Return the library's files of which code runs in a call that has been made before."""
    call()
    seen = set()

    def look(frame, event, argument):
        if event == "call":
            seen.add(frame.f_code.co_filename)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    inside = (Path(name) for name in seen if name.startswith(str(LIBRARY)))
    return sorted(str(path.relative_to(LIBRARY)) for path in inside)


def of_the_storey(files):
    return [name for name in files if Path(name).parts[0] in STOREY]


def calls():
    import numpy as np
    import torch

    from vlalign_lib import losses, metrics, similarity, temporal
    from vlalign_lib.data import load_digit_halves
    from vlalign_lib.linear import CCA

    torch.manual_seed(0)
    x, y = torch.randn(2, 60, 8, requires_grad=True)
    cost = torch.rand(2, 5, 6, requires_grad=True)
    a, b = np.random.default_rng(0).normal(size=(2, 60, 8))
    labels = np.arange(60) % 3
    return {
        "soft_dtw": lambda: temporal.soft_dtw(cost).sum().backward(),
        "soft_alignment": lambda: temporal.soft_alignment(cost).square().sum().backward(),
        "dtw": lambda: temporal.dtw(cost),
        "s2dtw": lambda: temporal.s2dtw(cost).sum().backward(),
        "cca_loss": lambda: losses.cca_loss(x, y).backward(),
        "triplet_loss": lambda: losses.triplet_loss(x, y).backward(),
        "info_nce_loss": lambda: losses.info_nce_loss(x, y).backward(),
        "cka_loss": lambda: losses.cka_loss(x, y).backward(),
        "cka": lambda: similarity.cka(x, y).backward(),
        "recall_at_k": lambda: metrics.recall_at_k(a, b),
        "mean_average_precision": lambda: metrics.mean_average_precision(a, b, labels, labels),
        "CCA": lambda: CCA(3).fit(a, b).embed_images(a),
        "load_digit_halves": load_digit_halves,
    }


CALLS = calls()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_followed_in_three_files(name):
    files = of_the_storey(files_of(CALLS[name]))
    assert 1 <= len(files) <= 3, files


def test_deep_cca_is_fitted_in_few_files_of_its_storey():
    from vlalign_lib.data import load_digit_halves
    from vlalign_lib.methods import DCCA

    train = load_digit_halves().split("train")
    files = files_of(lambda: DCCA(epochs=1, device="cpu").fit(train.images, train.texts))
    assert len(of_the_storey(files)) <= 12, files
    assert len(files) <= 17, files

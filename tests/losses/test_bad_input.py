"""What losses refuse, and what they say: one table of all of them."""

import inspect
import math

import numpy as np
import pytest
import torch
from torch import ones

from vlalign_lib import losses

# For each loss arguments that it takes, and changes to them with what is said about each.
REFUSED = {
    "adaptive_margin_triplet_loss": (
        {
            "x": ones(4, 3),
            "y": ones(4, 3),
            "labels": [0, 1, 2, 0],
            "class_similarity": torch.eye(3),
        },
        [
            ({"x": ones(5, 3)}, "x has 5 rows and y has 4"),
            ({"labels": [0, 1, 2, 3]}, r"from 0 to 2 \(class_similarity\), got values from 0 to 3"),
            ({"labels": [0, 1, -1, 0]}, "got values from -1 to 1"),
            ({"labels": None}, r"labels: expected whole numbers \(4,\), .* got None"),
            ({"class_similarity": ones(3, 2)}, r"class_similarity: expected shape \(C, C\)"),
            ({"class_similarity": [[1.0]]}, "class_similarity: expected a torch tensor"),
            ({"class_similarity": ones(0, 0)}, r"class_similarity: expected shape \(C, C\)"),
            (
                {"class_similarity": torch.full((3, 3), torch.nan)},
                "class_similarity: 9 values are NaN",
            ),
            ({"margin": -1}, "margin: expected a number of at least 0"),
            ({"weight": 1.5}, "weight: expected a number of at least 0 and of at most 1, got 1.5"),
        ],
    ),
    "cca_loss": (
        {"x": ones(60, 5), "y": ones(60, 4)},
        [
            ({"x": np.ones((60, 5))}, "x: expected a torch tensor"),
            ({"x": ones(60, 5, dtype=torch.int64)}, "floating point"),
            ({"x": ones(59, 5)}, "59 rows and y has 60"),
            ({"x": ones(60)}, "expected shape"),
            ({"x": ones(60, 0)}, "need columns"),
            ({"y": ones(60, 4).to_sparse()}, "dense"),
            ({"top_k": 0}, "top_k: expected a whole number of at least 1, got 0"),
            ({"top_k": 5}, "from 1 to 4, the smaller dimension, got 5"),
            ({"top_k": True}, "top_k"),
            ({"top_k": 2.0}, "top_k"),
            ({"reg": -1e-9}, "reg: expected a number of at least 0"),
            ({"reg": math.nan}, "reg: expected a finite number"),
            ({"reg": "some"}, "reg"),
            ({"objective": "nuclear"}, 'objective: expected one of "sum", "sum_of_squares"'),
        ],
    ),
    "classification_proxy_loss": (
        {"x": ones(6, 4), "y": ones(6, 4), "labels": [0, 1, 2, 3, 0, 1]},
        [
            ({"x": None, "y": None}, "x and y: both are None"),
            ({"x": ones(5, 4)}, "5 rows and y has 6"),
            ({"x": ones(6, 3)}, "x has 3 classes and y has 4"),
            ({"x": None, "y": ones(6)}, "y: expected shape"),
            ({"x": ones(0, 4), "y": None}, "at least one row"),
            ({"x": np.ones((6, 4)), "y": None}, "x: expected a torch tensor"),
            ({"labels": ones(6, 4)}, r"multi_label=True, for one-hot rows labels.argmax\(1\)"),
            ({"labels": ones(6)}, "whole numbers"),
            ({"labels": None}, r"labels: expected whole numbers \(6,\), one class a row, got None"),
            ({"labels": ["a"] * 6}, "labels: expected whole numbers"),
            ({"labels": None, "multi_label": True}, r"labels: expected \(6, 4\), which classes"),
            ({"labels": torch.zeros(6, 4, device="meta"), "multi_label": True}, "labels: .* meta"),
            ({"labels": torch.zeros(5, dtype=torch.int64)}, r"expected shape \(6,\)"),
            ({"labels": torch.full((6,), 4)}, "from 0 to 3, or −1 for none, got 4 to 4"),
            ({"labels": torch.full((6,), -2)}, "got -2 to -2"),
            ({"multi_label": True}, r"labels: with multi_label=True expected shape \(6, 4\)"),
            ({"labels": torch.full((6, 4), 2), "multi_label": True}, "from 0 to 1, got 2 to 2"),
            ({"labels": torch.full((6, 4), -0.5), "multi_label": True}, "got -0.5 to -0.5"),
        ],
    ),
    "contrastive_pair_loss": (
        {"x": ones(4, 3), "y": ones(4, 3)},
        [
            ({"x": ones(5, 3)}, "x has 5 rows and y has 4"),
            ({"y": ones(4, 2)}, "embed both into the same number of dimensions"),
            ({"labels": [0, 1]}, r"labels: expected shape \(4,\)"),
            ({"margin": -1}, "margin: expected a number of at least 0"),
        ],
    ),
    "correspondence_loss": (
        {
            "u": ones(6, 3),
            "v": ones(6, 3),
            "x": ones(6, 5),
            "y": ones(6, 4),
            "own": (ones(6, 5), ones(6, 4)),
        },
        [
            ({"u": ones(6, 2)}, "u and v: expected codes of the same shape"),
            ({"v": ones(5, 3)}, "u and v: expected codes of the same shape"),
            ({"u": [[1.0]]}, "u: expected a torch tensor"),
            ({"x": ones(5, 5)}, "x has 5 rows and y has 6"),
            ({"x": ones(5, 5), "y": ones(5, 4)}, "expected as many rows"),
            ({"u": ones(6, 0), "v": ones(6, 0)}, "codes of at least 1 dimension"),
            (
                {"own": None},
                r'own: variant="plain" needs two reconstructions, \(x from u, y from v\)',
            ),
            ({"own": (ones(6, 5),)}, "needs two reconstructions"),
            ({"own": ones(2, 6, 5)}, "got Tensor"),
            ({"own": (ones(6, 4), ones(6, 5))}, r"reconstruction of x has shape \(6, 4\)"),
            ({"own": (ones(6, 5), None)}, "own, y: expected a torch tensor"),
            (
                {"crossed": (ones(6, 5), ones(6, 4))},
                'crossed: variant="plain" does not use',
            ),
            ({"variant": "cross"}, 'own: variant="cross" does not use it'),
            (
                {"variant": "cross", "own": None},
                r"needs two reconstructions, \(x from v, y from u\)",
            ),
            ({"variant": "corr"}, 'variant: expected one of "plain", "cross", "full"'),
            ({"alpha": 1.01}, "alpha: expected a number of at least 0 and of at most 1"),
            ({"alpha": -0.1}, "alpha"),
            ({"alpha": math.nan}, "alpha"),
        ],
    ),
    "domain_adversarial_loss": (
        {"x": ones(6, 3), "y": ones(6, 3), "discriminator": lambda z: z[:, :2]},
        [
            ({"x": ones(5, 3)}, "5 rows and y has 6"),
            ({"x": ones(6, 2)}, "2 columns and y has 3"),
            ({"x": "x"}, "x: expected a torch tensor"),
            ({"strength": -1.0}, "strength"),
            ({"strength": math.inf}, "strength"),
            (
                {"discriminator": lambda z: z},
                r"shape \(12, 2\), \(12, 1\) or \(12,\).*got \(12, 3\)",
            ),
            ({"discriminator": lambda z: z[:6, :2]}, r"got \(6, 2\)"),
            ({"discriminator": lambda z: 1.0}, "got float"),
            ({"discriminator": lambda z: z[:, 0] > 0}, "logits in floating point, got torch.bool"),
        ],
    ),
    "info_nce_loss": (
        {"x": ones(4, 3), "y": ones(4, 3)},
        [
            ({"x": ones(5, 3)}, "x has 5 rows and y has 4"),
            ({"y": ones(4, 2)}, "embed both into the same number of dimensions"),
            ({"x": ones(4, 3).long()}, "expected real numbers in floating point"),
            ({"temperature": 0}, "temperature: expected a number greater than 0"),
            ({"temperature": ones(2)}, r"temperature: expected one number, got a tensor \(2,\)"),
            ({"temperature": torch.tensor(True)}, "expected one real number, got torch.bool"),
            ({"temperature": ones((), device="meta")}, "temperature: .* on the meta device"),
            ({"temperature": "warm"}, "temperature: expected a finite number"),
            ({"label_smoothing": 1.0}, "label_smoothing: expected a number .* less than 1"),
            ({"block_size": 0}, "block_size: expected a whole number of at least 1"),
            ({"label_smoothing": -0.1}, "label_smoothing: expected a number of at least 0"),
            ({"similarity": "euclidean"}, 'similarity: expected one of "cosine", "dot"'),
            ({"reduction": None}, "reduction: expected one of"),
        ],
    ),
    "mil_nce_loss": (
        {"x": ones(4, 3), "y": ones(4, 2, 3)},
        [
            ({"x": ones(5, 3)}, r"x \(5, 3\) and y \(4, 2, 3\): expected \(B, k\) and \(B, K"),
            ({"y": ones(4, 2, 5)}, "embedded into as many dimensions"),
            ({"y": ones(4, 0, 3)}, "need clips, captions and dimensions"),
            ({"x": ones(0, 3), "y": ones(0, 2, 3)}, "need clips"),
            ({"y": ones(4)}, r"y: expected shape \(B, K, k\)"),
            ({"x": None}, "x: expected a torch tensor"),
            ({"temperature": -1}, "temperature: expected a number greater than 0"),
            ({"similarity": "l2"}, "similarity: expected one of"),
        ],
    ),
    "s2dtw_contrastive_loss": (
        {"x": ones(5, 4, 6), "y": ones(5, 3, 6)},
        [
            ({"y": ones(4, 3, 6)}, "x has 5 sequences and y has 4"),
            ({"x": ones(0, 4, 6)}, "x: needs at least one sequence"),
            ({"x": ones(5, 6)}, "x: expected shape"),
            ({"x": [[1.0]]}, "x: expected a torch tensor"),
            ({"temperature": 0.0}, "temperature: expected a number greater than 0"),
            ({"gamma": math.nan}, "gamma: expected a"),
            ({"cost": "dot"}, "cost: expected one of"),
            ({"lengths_x": torch.tensor([9, 1, 1, 1, 1])}, "lengths_x: expected 1 to 4"),
            ({"augment": -1.0}, "augment: expected a number greater than 0"),
        ],
    ),
    "sigmoid_pair_loss": (
        {"x": ones(4, 3), "y": ones(4, 3)},
        [
            ({"x": ones(5, 3)}, "x has 5 rows and y has 4"),
            ({"y": ones(4, 2)}, "embed both into the same number of dimensions"),
            ({"scale": 0.0}, "scale: expected a number greater than 0"),
            ({"bias": float("inf")}, "bias: expected a finite number"),
            ({"bias": ones(3)}, r"bias: expected one number, got a tensor \(3,\)"),
            ({"similarity": None}, "similarity: expected one of"),
        ],
    ),
    "triplet_loss": (
        {"x": ones(4, 3), "y": ones(4, 3)},
        [
            ({"x": ones(4, 3).numpy()}, "x: expected a torch tensor"),
            ({"x": ones(5, 3)}, "x has 5 rows and y has 4"),
            ({"y": ones(4, 2)}, "embed both into the same number of dimensions"),
            ({"x": ones(0, 3), "y": ones(0, 3)}, "need at least 1 rows"),
            ({"labels": [0, 1, 2]}, r"labels: expected shape \(4,\)"),
            ({"labels": [0.0, 1.0, 2.0, 3.0]}, "expected whole numbers"),
            (
                {"labels": ["a", "b", "a", "b"]},
                r"labels: expected whole numbers \(4,\), .* got list",
            ),
            ({"labels": "abab"}, "labels: expected whole numbers"),
            ({"labels": [[0], [1, 2], [0], [1]]}, "labels: expected whole numbers"),
            ({"labels": {}}, "labels: expected whole numbers"),
            ({"labels": torch.zeros(4, device="meta").long()}, "labels: is a tensor on the meta"),
            ({"margin": -0.1}, "margin: expected a number of at least 0"),
            ({"margin": float("nan")}, "margin: expected a finite number"),
            ({"mining": "semihard"}, 'mining: expected one of "semi-hard"'),
            ({"intra": True}, "without labels an item has no other positive"),
        ],
    ),
}
CASES = [
    pytest.param(name, given | change, message, id=f"{name}-{message}")
    for name, (given, rows) in REFUSED.items()
    for change, message in rows
]


@pytest.mark.parametrize(("name", "arguments", "message"), CASES)
def test_bad_input(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(**arguments)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_all_refuse(name):
    loss, given = getattr(losses, name), REFUSED[name][0]
    changes = [
        ("x: expected a torch tensor", {"x": given["x"].numpy()}),
        ("x: .* floating point", {"x": given["x"].long()}),
        ("x", {"x": given["x"].to_sparse()}),
        ("rows|sequences|clip", {"x": given["x"][1:]}),
    ]
    for setting in ("reduction", "gather"):
        if setting in inspect.signature(loss).parameters:
            changes += [(f"{setting}: expected", {setting: wrong}) for wrong in ("max", None, 7)]
    for message, change in changes:
        with pytest.raises(ValueError, match=message):
            loss(**given | change)

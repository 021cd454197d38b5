"""With nothing chosen, a method on a thousand pairs is within 0.03 of what choosing must reach."""

import numpy as np
import pytest

from vlalign_lib.data import load_digit_halves
from vlalign_lib.methods import METHODS
from vlalign_lib.metrics import mean_average_precision

MUST_REACH = {
    "cca": 0.42,
    "kcca": 0.65,
    "dcca": 0.63,
    "corr_full_ae": 0.55,
    "acmr": 0.78,
    "triplet": 0.80,
    "deep_sm": 0.84,
}


@pytest.mark.parametrize("name", MUST_REACH)
def test_the_defaults_are_good_on_digits(name):
    digits = load_digit_halves()
    test = digits.split("test")
    both = digits.subset(np.sort(np.concatenate([digits.splits["train"], digits.splits["val"]])))
    method = METHODS[name]()
    known = method.get_params()
    method.set_params(
        **{k: v for k, v in {"random_state": 0, "device": "cpu"}.items() if k in known}
    )
    method.fit(both.images, both.texts, both.labels)
    u, v = method.embed_images(test.images), method.embed_texts(test.texts)
    ways = ((u, v), (v, u))
    found = sum(mean_average_precision(a, b, test.labels, test.labels) for a, b in ways) / 2
    assert found >= MUST_REACH[name] - 0.03

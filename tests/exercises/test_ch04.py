"""What the exercises of chapter 04 accept, and where their typed numbers come from."""

import numpy as np
import pytest

from vlalign_lib.course import assess
from vlalign_lib.course.exercises import find
from vlalign_lib.experiments.paper_tables import RETRIEVAL_ROWS


def lead_over(method):
    means = {
        name: np.mean([row.mean for row in RETRIEVAL_ROWS if row.method == name])
        for name in ("corr_ae", method)
    }
    return means["corr_ae"] - means[method]


def test_the_lead_is_that_over_the_best_row_without_labels():
    best = min(lead_over(name) for name in ("cca", "cfa", "kcca"))
    assert assess(find("ch04.honest_lead"), best).status == "right"
    assert assess(find("ch04.honest_lead"), round(best, 3)).status == "right"


@pytest.mark.parametrize("method", ["cca", "cfa", "jrl"])
def test_the_other_leads_are_recognised(method):
    said = assess(find("ch04.honest_lead"), lead_over(method))
    assert said.mistake == f"against {method.upper()}"


@pytest.mark.parametrize(
    ("weights", "terms", "mistake"),
    [
        ((0.2, 0.8), (0.3, 0.2 / 4), None),
        ((0.2, 0.8), (0.3, 0.2), "nothing changes"),
        ((0.2, 0.8), (0.3, 0.2 / 2), "halved, not quartered"),
        ((0.2, 0.8), (0.3 / 4, 0.2 / 4), "the reconstruction shrinks too"),
        ((0.8, 0.2), (0.3, 0.2 / 4), "the weights the wrong way round"),
    ],
)
def test_the_losses_by_hand(weights, terms, mistake):
    verdict = assess(find("ch04.cheap_distance"), np.dot(weights, terms))
    assert (verdict.status == "right") == (mistake is None)
    assert verdict.mistake == mistake


def test_a_loop_over_pairs_is_as_right_a_ratio():
    def by_loops(u, v):
        partners, strangers = [], []
        for i, a in enumerate(u):
            for j, b in enumerate(v):
                (partners if i == j else strangers).append(sum((a - b) ** 2))
        return np.mean(partners) / np.mean(strangers)

    assert assess(find("ch04.partner_ratio"), by_loops).status == "right"


def test_the_loss_agrees_with_the_library():
    import torch

    from vlalign_lib.losses import correspondence_loss

    def by_library(u, v, x, y, to_x, to_y, alpha, variant):
        own = None if variant == "cross" else (to_x(u), to_y(v))
        crossed = None if variant == "plain" else (to_x(v), to_y(u))
        given = [
            None if pair is None else tuple(map(torch.tensor, pair)) for pair in (own, crossed)
        ]
        return correspondence_loss(
            *map(torch.tensor, (u, v, x, y)),
            own=given[0],
            crossed=given[1],
            variant=variant,
            alpha=alpha,
        ).item()

    assert assess(find("ch04.corr_loss"), by_library).status == "right"

"""Claims: true ones are said, false ones stop the build, and typed numbers are refused."""

import numpy as np
import pytest

from vlalign_lib.course import ClaimFailed, claim


def test_a_true_claim_is_said_with_its_numbers(capsys):
    assert claim("R@10 is {r:.2f}, in `code` and $\\rho$", 0.3 > 0.1, r=0.314) is None
    assert capsys.readouterr().out == "✓ R@10 is 0.31, in code and \\rho\n"


@pytest.mark.parametrize("false", [False, np.False_, np.array([1, 2]).sum() > 3])
def test_a_false_claim_raises_and_shows_every_value(false, capsys):
    with pytest.raises(ClaimFailed) as caught:
        claim("recall grows to {now:.1f} from {before[0]}", false, now=0.12, before=[0.34])
    message = str(caught.value)
    assert "does not hold: recall grows to 0.1 from 0.34" in message
    assert "now = 0.12" in message
    assert "before = [0.34]" in message
    assert capsys.readouterr().out == ""
    assert isinstance(caught.value, AssertionError)


@pytest.mark.parametrize(
    "condition", [1, 0, "yes", None, [True], np.array([True]), np.array(True), np.float64(1.0)]
)
def test_a_condition_that_is_no_bool_is_refused(condition):
    with pytest.raises(TypeError, match="must be a bool"):
        claim("yes", condition)


def test_a_tensor_is_refused_with_the_way_out():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"bool\(\.\.\.\) around a tensor"):
        claim("yes", torch.tensor(True))


@pytest.mark.parametrize(
    "text", ["recall is 0.31", "it rises by 12%", "by 12 % or so", "{r} of 3.5"]
)
def test_typed_numbers_are_refused(text):
    with pytest.raises(ValueError, match="is typed into the sentence"):
        claim(text, True, r=1)


def test_numbers_that_are_names_and_specifications_are_not_typed_results(capsys):
    claim("R@10 beats R@1 among {n:,} names of 17 families: {r:8.3f}", True, n=1000, r=0.5)
    assert capsys.readouterr().out.strip() == (
        "✓ R@10 beats R@1 among 1,000 names of 17 families:    0.500"
    )


@pytest.mark.parametrize(
    ("text", "values", "message"),
    [
        ("{gain} and {loss}", {"gain": 1}, "shows loss, which no value fills"),
        ("nothing", {"gain": 1}, "gain is passed but"),
        ("{}", {}, "name the place"),
        ("{gain.real:.1f}", {"loss": 1}, "shows gain"),
    ],
)
def test_values_and_places_fit_each_other(text, values, message):
    with pytest.raises(ValueError, match=message):
        claim(text, True, **values)


def test_values_named_like_the_parameters_are_possible(capsys):
    claim("{text} {condition}", True, text="a", condition="b")
    assert capsys.readouterr().out == "✓ a b\n"

"""Words to vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from vlalign_lib.data._tfidf import TfIdf, words

CAPTIONS = [
    "LATIN SMALL LETTER A",
    "LATIN SMALL LETTER A WITH ACUTE",
    "BOX DRAWINGS LIGHT LEFT",
    "DOMINO TILE HORIZONTAL-03-03",
    "WORD WORD WORD TWICE",
]


def test_words_are_runs_of_letters_and_digits_in_capitals():
    assert words("Domino tile horizontal-03-05") == ["DOMINO", "TILE", "HORIZONTAL", "03", "05"]
    assert words(" , _ ") == []


def test_equals_scikit_learn():
    peer = TfidfVectorizer(tokenizer=words, lowercase=False, token_pattern=None).fit(CAPTIONS)
    ours = TfIdf.fit(CAPTIONS)
    assert list(ours.vocabulary) == peer.get_feature_names_out().tolist()
    new = [*CAPTIONS, "A BOX WITH A LETTER", "NOTHING KNOWN"]
    np.testing.assert_allclose(
        ours.transform(new), peer.transform(new).toarray(), rtol=0, atol=6e-8
    )


def test_by_hand():
    encoder = TfIdf.fit(["A B", "A C", "A"])
    assert encoder.vocabulary == ("A", "B", "C")
    rare = 1 + np.log(4 / 2)
    expected = np.array([2.0, rare, 0.0]) / np.hypot(2.0, rare)
    np.testing.assert_allclose(encoder.transform(["a b a"])[0], expected, rtol=1e-7)


@given(st.lists(st.sampled_from(["A", "B", "C", "X"]), max_size=8))
def test_rows_are_unit_or_zero_and_order_does_not_matter(caption):
    encoder = TfIdf.fit(["A B", "B C", "C"])
    row = encoder.transform([" ".join(caption)])[0]
    known = bool(set(caption) & {"A", "B", "C"})
    assert np.linalg.norm(row) == pytest.approx(float(known), abs=1e-6)
    np.testing.assert_array_equal(row, encoder.transform([" ".join(sorted(caption))])[0])

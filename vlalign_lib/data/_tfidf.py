"""Captions to vectors: word counts weighed by how rare a word is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._readonly import same_fields

_WORD = re.compile(r"[^\W_]+")


def words(caption: str) -> list[str]:
    """Return the words of a caption: runs of letters and digits, in capitals.

    Example:
        >>> words("Domino tile horizontal-03-05")
        ['DOMINO', 'TILE', 'HORIZONTAL', '03', '05']
    """
    return _WORD.findall(caption.upper())


@dataclass(frozen=True, eq=False)
class TfIdf:
    r"""A fitted vocabulary that turns captions into unit vectors.

    .. math::

        y_{iw} \propto \mathrm{count}_i(w) \left(1 + \ln\frac{1 + n}{1 + n_w}\right),
        \qquad \lVert y_i \rVert_2 = 1,

    where :math:`n_w` of the :math:`n` captions fitted on hold the word :math:`w`. A caption
    without a known word becomes the zero vector.

    Args:
        vocabulary: the words in alphabetical order, one a column.
        weights: (d,) float64, the factor of each word.
    """

    vocabulary: tuple[str, ...]
    weights: NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other)

    def __hash__(self) -> int:
        return hash(self.vocabulary)

    @classmethod
    def fit(cls, captions: Sequence[str]) -> TfIdf:
        """Return the vocabulary and weights of ``captions``."""
        seen = Counter(word for caption in captions for word in set(words(caption)))
        vocabulary = tuple(sorted(seen))
        found = np.array([seen[word] for word in vocabulary], dtype=np.float64)
        weights = 1.0 + np.log((1.0 + len(captions)) / (1.0 + found))
        weights.setflags(write=False)
        return cls(vocabulary, weights)

    def transform(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Return one row a caption, (n, d) float32; unknown words count for nothing."""
        column = {word: i for i, word in enumerate(self.vocabulary)}
        result = np.zeros((len(captions), len(self.vocabulary)))
        for row, caption in enumerate(captions):
            for word in words(caption):
                if word in column:
                    result[row, column[word]] += 1.0
        result *= self.weights
        length = np.linalg.norm(result, axis=1, keepdims=True)
        np.divide(result, length, out=result, where=length > 0)
        return result.astype(np.float32)

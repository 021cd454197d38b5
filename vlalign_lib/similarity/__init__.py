"""How alike two representations of the same items are: HSIC and CKA."""

from vlalign_lib.similarity.cka import cka
from vlalign_lib.similarity.hsic import hsic
from vlalign_lib.similarity.minibatch import MinibatchCKA
from vlalign_lib.similarity.sequences import pair_sequences

__all__ = ["MinibatchCKA", "cka", "hsic", "pair_sequences"]

"""Local group based consistent feature learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import Rule, as_indices, as_labels, is_whole
from vlalign_lib.linear._base import LinearProjection, Name, standardise
from vlalign_lib.linear._coupled import ROUNDS, WEIGHT, Side, class_targets, minimise

Groups = int | Sequence[int] | None


class LGCFL(LinearProjection):
    r"""Map both views linearly onto the labels, partners close together, useless blocks left out.

    .. math::

        \min_{W_x, W_y} \sum_{m \in \{x, y\}} \|X_m W_m - T_m\|_F^2
            + \mu \|X W_x - Y W_y\|_F^2
            + \lambda \sum_{m} \sum_b \bigl\|W_m^{(b)}\bigr\|_F,

    where T holds the class indicators, X and Y the paired rows, and :math:`W^{(b)}` the weights
    of the columns in block b: a block is used or left out as a whole. The objective is convex; it
    is minimised by ridge regressions, one view at a time, in which block b has the ridge
    :math:`\lambda / (2 \|W^{(b)}\|_F)` of the round before (iteratively reweighted least squares);
    the norm is smoothed to :math:`\sqrt{\|\cdot\|^2 + \varepsilon^2}`,
    :math:`\varepsilon = 10^{-6}`. Every round lowers the objective. A view with more columns than
    rows is solved in the space of its rows.

    What is certain of the method, from its abstract: it is supervised, learns the maps of both
    views together, has a prior on blocks ("local groups") of features, and takes data that do
    not come in pairs. What is reconstructed: the formula above and all its settings. Blocks
    meant the parts of hand-made picture features; VGG features and word counts have none, so by
    default each column is its own block, which is the :math:`\ell_{2,1}` norm.

    Args:
        sparsity: :math:`\lambda`. The terms are sums over pairs: it grows with their number.
        coupling: :math:`\mu`, how much partners should agree.
        groups: The blocks: None for each column by itself; a number g for g columns each, in
            their order (the last block may be smaller); a block index for each column; a pair
            ``(images, texts)`` of these. Indices, one a column, are given in such a pair.
        max_iter: Rounds at most.
        tol: A round that lowers the objective by less than this share of it is the last; 0 for
            ``max_iter`` rounds.
        random_state: Taken by every method; nothing here is random.

    Attributes:
        classes_: (C,) the class indices seen in ``fit``, ascending: the axes of the space.
        image_weights_: (p, C) :math:`W_x`, on the standardised columns. The labels settle the
            signs.
        text_weights_: (q, C) :math:`W_y`.
        image_block_norms_, text_block_norms_: :math:`\|W^{(b)}\|_F`, one number a block; about
            :math:`\varepsilon` or less where a block is left out.
        objective_: the objective after each round, falling.
        image_mean_, image_scale_, text_mean_, text_scale_: What the inputs were standardised
            with; a constant column has scale 1.
        n_components_: C.

    Raises:
        ValueError: in ``fit``; see there. Labels are needed, of two classes or more. A label of
            -1 marks a pair without one: it takes part in the coupling only.

    Source:
        Kang, Xiang, Liao, Xu, Pan, "Learning consistent feature representation for cross-modal
        multimedia retrieval", IEEE Transactions on Multimedia 17(3), 2015; the formula is a
        reconstruction. Reweighting: Nie, Huang, Cai, Ding, "Efficient and robust feature
        selection via joint l2,1-norms minimization", NIPS 2010.

    Chapter:
        8, The retrieval table.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(90) % 3
        >>> images = np.eye(3, 6)[labels] + rng.normal(size=(90, 6)) / 5
        >>> texts = np.eye(3)[labels] @ rng.normal(size=(3, 5))
        >>> lgcfl = LGCFL(groups=(3, None)).fit(images, texts, labels)
        >>> bool((lgcfl.embed_texts(texts).argmax(axis=1) == labels).all())
        True
        >>> used, useless = lgcfl.image_block_norms_
        >>> bool(used > 10 * useless)
        True
    """

    _rules: ClassVar[dict[str, Rule]] = {"sparsity": WEIGHT, "coupling": WEIGHT} | ROUNDS

    classes_: NDArray[np.int64]
    image_block_norms_: NDArray[np.float64]
    text_block_norms_: NDArray[np.float64]
    objective_: NDArray[np.float64]

    def __init__(
        self,
        sparsity: float = 10.0,
        coupling: float = 1.0,
        *,
        groups: Groups | tuple[Groups, Groups] = None,
        max_iter: int = 20,
        tol: float = 1e-4,
        random_state: int | None = None,
    ) -> None:
        self.sparsity = sparsity
        self.coupling = coupling
        self.groups = groups
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @classmethod
    def from_paper(cls) -> Self:
        """Return LGCFL as far as Kang et al. 2015 is known: with the defaults.

        Certain: nothing about the numbers. The paper's weights and its blocks of picture
        features are not known here.
        """
        return cls()

    def fit(
        self,
        images: ArrayLike,
        texts: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        validation: tuple[object, ...] | None = None,
        unpaired_images: tuple[ArrayLike, ArrayLike] | None = None,
        unpaired_texts: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Self:
        """Learn from labelled pairs, and from labelled rows of either view without a partner.

        Args:
            images: (n, p), or pictures, which are flattened; columns are standardised inside.
            texts: (n, q), the partners.
            labels: (n,) class indices; −1 for a pair without one.
            validation: Taken by every method; not read.
            unpaired_images: ``(images, labels)`` without partners, (a, p) and (a,). They are
                fitted to their labels and count in the standardisation; the coupling leaves
                them out.
            unpaired_texts: ``(texts, labels)`` without partners, (b, q) and (b,).

        Returns:
            The estimator itself, fitted on every row it was given.

        Raises:
            ValueError: views that are not paired, fewer than two pairs, NaN or infinity, a view
                without any variation, labels that are missing or of a single class, rows of
                another width, or a parameter out of range.
        """
        x, y = self._pairs(images, texts)
        self._fit(x, y, labels, unpaired_images, unpaired_texts)
        self._finish_fit()
        return self

    def _fit(
        self,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        labels: ArrayLike | None,
        unpaired_images: tuple[ArrayLike, ArrayLike] | None = None,
        unpaired_texts: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> None:
        given = self._checked()
        weights = {"supervision": 1.0, "coupling": given.coupling, "sparsity": given.sparsity}
        groups = check_groups(self.groups, (x.shape[1], y.shape[1]))
        n = len(x)
        more_x, alone_x = self._unpaired(unpaired_images, "images")
        more_y, alone_y = self._unpaired(unpaired_texts, "texts")
        self.classes_, (pairs, *alone) = class_targets(labels, n, "LGCFL", alone_x, alone_y)
        sides = []
        for rows, more, own, blocks, side in zip(
            (x, y), (more_x, more_y), alone, groups, ("image", "text"), strict=True
        ):
            z, mean, scale = standardise(np.concatenate([rows, more]), f"{side}s")
            setattr(self, f"{side}_mean_", mean)
            setattr(self, f"{side}_scale_", scale)
            targets = np.concatenate([pairs[0], own[0]])
            labelled = np.concatenate([pairs[1], own[1]])
            sides.append(Side(z, targets, labelled, n, blocks, **weights))
        self.objective_ = minimise(*sides, max_iter=given.max_iter, tol=given.tol)
        self.image_weights_, self.text_weights_ = (side.weights for side in sides)
        self.image_block_norms_, self.text_block_norms_ = (
            np.sqrt(np.bincount(side.groups, (side.weights**2).sum(axis=1))) for side in sides
        )
        self.n_components_ = len(self.classes_)

    def _unpaired(
        self, given: tuple[ArrayLike, ArrayLike] | None, view: Name
    ) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """Return rows of one view without partners, and their labels."""
        name = f"unpaired_{view}"
        if given is None:
            return np.empty((0, self._width(view))), np.empty(0, dtype=np.int64)
        if not (isinstance(given, tuple | list) and len(given) == 2):
            raise ValueError(f"{name}: expected (rows, labels), got {type(given).__name__}")
        rows = self._as_in_fit(given[0], view, name)
        return rows, as_labels(given[1], len(rows), f"{name} labels")


def check_groups(
    groups: object, widths: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the block of each column, numbered from 0 on, for images and texts."""
    pair = groups if isinstance(groups, tuple | list) else (groups, groups)
    if len(pair) != 2:
        raise ValueError(
            "groups: expected None, a number of columns a block, or a pair (images, texts) of "
            f"these or of block indices, one a column; got {len(pair)} entries"
        )
    return _blocks(pair[0], widths[0], "images"), _blocks(pair[1], widths[1], "texts")


def _blocks(groups: object, width: int, view: str) -> NDArray[np.intp]:
    if groups is None:
        return np.arange(width)
    if is_whole(groups) and groups >= 1:
        return np.arange(width) // int(min(groups, width))
    if isinstance(groups, Sequence | np.ndarray) and len(groups) == width:
        indices = as_indices(groups, 2**31, f"groups of {view}")
        _, blocks = np.unique(indices, return_inverse=True)
        return blocks.ravel()
    raise ValueError(
        f"groups of {view}: expected None, a number of columns a block (at least 1), or {width} "
        f"block indices, one a column; got {groups!r}"
    )

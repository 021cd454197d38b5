"""Joint representation learning."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, identity
from scipy.special import expit

from vlalign_lib._validate import Rule, as_whole, check_choice
from vlalign_lib.linear._base import LinearProjection, Name, squared_distances
from vlalign_lib.linear._coupled import ROUNDS, WEIGHT, Side, class_targets, minimise

Matrix = NDArray[np.float64]

# Distances are made this many rows at a time.
_ROWS = 1000


class JRL(LinearProjection):
    r"""Map both views linearly onto the labels, smoothly over each view's graph of neighbours.

    .. math::

        \min_{P_x, P_y} \mu \sum_{m \in \{x, y\}} \|X_m P_m - T\|_F^2
            + \lambda \|X P_x - Y P_y\|_F^2
            + \sigma \sum_m \operatorname{tr}(P_m^\top \tilde X_m^\top L_m \tilde X_m P_m)
            + \gamma \sum_m \|P_m\|_{2,1},

    where T holds the class indicators, :math:`\|P\|_{2,1}` sums the lengths of the rows of P
    (one a feature, so that whole features are left out), and :math:`L = I - D^{-1/2} W D^{-1/2}`
    is the normalised Laplacian of the graph that joins each row of :math:`\tilde X` with its
    nearest neighbours (and those that have it among theirs). The objective is convex; it is
    minimised by ridge regressions, one view at a time, in which feature i has the ridge
    :math:`\gamma / (2 \|p_i\|)` of the round before; row lengths are smoothed to
    :math:`\sqrt{\|\cdot\|^2 + \varepsilon^2}`, :math:`\varepsilon = 10^{-6}`. Every round lowers
    the objective. A view with more columns than rows is solved in the space of its rows.

    By default the method is inductive: :math:`\tilde X = X`, the graph joins training rows
    alone. In the paper the graph holds the test rows too, without their labels; whoever wants
    that hands them to ``fit`` as ``graph_images`` and ``graph_texts``, and should say so beside
    the numbers.

    Where the released code departs from its formula (``as_released`` does the first two): its
    graph term multiplies the dense matrix of :math:`1/(1 + e^{d})`, d the Euclidean distance of
    the standardised rows, while the degrees D count the neighbours, so that with thousands of
    features the term is hardly more than a plain ridge; rows are not compared by the cosine of
    their projections but by votes of their neighbours (``space``). It also starts from random
    weights, updates both views from the same old round, ends after five rounds or a fall of less
    than 2 %, and divides by row lengths that may be zero. Here the start is deterministic and
    the views take turns, so that the objective falls.

    Args:
        sparsity: :math:`\gamma`. The terms are sums over pairs: it grows with their number.
        smoothness: :math:`\sigma`.
        coupling: :math:`\lambda`, how much partners should agree.
        supervision: :math:`\mu`, how much a row should match its label.
        neighbours: Neighbours of a row in the graph, and voters; fewer where there are not so
            many rows.
        graph: ``"knn"`` for the Laplacian above; ``"released"`` for the dense matrix of the
            released code, which is no Laplacian: the objective may then fail to be convex, and
            an (m, m) matrix is held in memory.
        space: ``"projection"`` embeds a row as :math:`P^\top x`, to be compared by cosine;
            ``"votes"`` as the shares of the classes among its nearest training rows of both
            views in that space, weighed by :math:`1/(1 + e^{d})`. The released similarity is
            the dot product of two such rows (``similarity="dot"`` in ``metrics``).
        max_iter: Rounds at most.
        tol: A round that lowers the objective by less than this share of it is the last; 0 for
            ``max_iter`` rounds.
        random_state: Taken by every method; nothing here is random.

    Attributes:
        classes_: (C,) the class indices seen in ``fit``, ascending: the axes of the space.
        image_weights_: (p, C) :math:`P_x`, on the standardised columns. The labels settle the
            signs.
        text_weights_: (q, C) :math:`P_y`.
        objective_: the objective after each round, falling.
        voters_, votes_: The labelled training rows of both views in the space of projections,
            (v, C), and the class of each as an index into ``classes_``. They are kept with either
            ``space``: after ``set_params(space="votes")`` a fitted model embeds by votes.
        image_mean_, image_scale_, text_mean_, text_scale_: What the inputs were standardised
            with, from the pairs alone; a constant column has scale 1.
        n_components_: C.

    Raises:
        ValueError: in ``fit``; see there. Labels are needed, of two classes or more. A label of
            -1 marks a pair without one: it takes part in the coupling and in the graph.

    Source:
        Zhai, Peng, Xiao, "Learning cross-media joint representation with sparse and
        semisupervised regularization", IEEE TCSVT 24(6), 2014; its released code.

    Chapter:
        8, The retrieval table.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(90) % 3
        >>> images = np.eye(3, 6)[labels] + rng.normal(size=(90, 6)) / 5
        >>> texts = np.eye(3)[labels] @ rng.normal(size=(3, 5))
        >>> jrl = JRL(neighbours=10).fit(images, texts, labels)
        >>> bool((jrl.embed_texts(texts).argmax(axis=1) == labels).all())
        True
    """

    _rules: ClassVar[dict[str, Rule]] = {
        **dict.fromkeys(("sparsity", "smoothness", "coupling", "supervision"), WEIGHT),
        "neighbours": as_whole,
        "graph": partial(check_choice, choices=("knn", "released")),
        "space": partial(check_choice, choices=("projection", "votes")),
        **ROUNDS,
    }

    classes_: NDArray[np.int64]
    objective_: NDArray[np.float64]
    voters_: Matrix
    votes_: NDArray[np.int64]

    def __init__(
        self,
        sparsity: float = 10.0,
        smoothness: float = 0.1,
        coupling: float = 1.0,
        supervision: float = 1.0,
        *,
        neighbours: int = 50,
        graph: Literal["knn", "released"] = "knn",
        space: Literal["projection", "votes"] = "projection",
        max_iter: int = 20,
        tol: float = 1e-4,
        random_state: int | None = None,
    ) -> None:
        self.sparsity = sparsity
        self.smoothness = smoothness
        self.coupling = coupling
        self.supervision = supervision
        self.neighbours = neighbours
        self.graph = graph
        self.space = space
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    @classmethod
    def from_paper(cls) -> Self:
        """Return JRL with the settings of Zhai et al. 2014: γ = σ = 1000, λ = μ = 1, k = 100.

        Certain, from the released code: these numbers, five rounds, votes as similarity. To be
        like the paper, hand the test rows to ``fit`` as ``graph_images`` and ``graph_texts``, and
        compare by dot product.
        """
        return cls(1000.0, 1000.0, 1.0, 1.0, neighbours=100, space="votes", max_iter=5, tol=0.02)

    @classmethod
    def as_released(cls) -> Self:
        """Return ``from_paper`` with the dense graph term of the released code."""
        return cls.from_paper().set_params(graph="released")

    def fit(
        self,
        images: ArrayLike,
        texts: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        validation: tuple[object, ...] | None = None,
        graph_images: ArrayLike | None = None,
        graph_texts: ArrayLike | None = None,
    ) -> Self:
        """Learn from labelled pairs, and from further rows that only shape the graph.

        Args:
            images: (n, p), or pictures, which are flattened; columns are standardised inside.
            texts: (n, q), the partners.
            labels: (n,) class indices; −1 for a pair without one.
            validation: Taken by every method; not read.
            graph_images: (a, p) images without labels that join the graph of the images: more
                data, or, as in the paper, the test images themselves, which makes the result
                transductive.
            graph_texts: (b, q) texts that join the graph of the texts.

        Returns:
            The estimator itself, fitted on every row it was given.

        Raises:
            ValueError: views that are not paired, fewer than two pairs, NaN or infinity, a view
                without any variation, labels that are missing or of a single class, rows of
                another width, or a parameter out of range.
        """
        x, y = self._pairs(images, texts)
        self._fit(x, y, labels, graph_images, graph_texts)
        self._finish_fit()
        return self

    def _fit(
        self,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        labels: ArrayLike | None,
        graph_images: ArrayLike | None = None,
        graph_texts: ArrayLike | None = None,
    ) -> None:
        given = self._checked()
        n = len(x)
        self.classes_, ((targets, labelled),) = class_targets(labels, n, "JRL")
        sides = []
        names: tuple[Name, Name] = ("images", "texts")
        for z, more, name in zip(
            self._learn_scale(x, y), (graph_images, graph_texts), names, strict=True
        ):
            if more is not None:
                further = self._as_in_fit(more, name, f"graph_{name}")
                further = further - self._learned(name, "mean")
                z = np.concatenate([z, further / self._learned(name, "scale")])
            blank = len(z) - n
            side = Side(
                z,
                np.pad(targets, ((0, blank), (0, 0))),
                np.pad(labelled, (0, blank)),
                n,
                np.arange(z.shape[1]),
                given.supervision,
                given.coupling,
                given.sparsity,
                self._penalty(z, given.smoothness),
            )
            sides.append(side)
        self.objective_ = minimise(*sides, max_iter=given.max_iter, tol=given.tol)
        self.image_weights_, self.text_weights_ = (side.weights for side in sides)
        self.voters_ = np.concatenate([side.embedded()[labelled] for side in sides])
        self.votes_ = np.tile(targets[labelled].argmax(axis=1), 2)
        self.n_components_ = len(self.classes_)

    def _penalty(self, z: Matrix, smoothness: float) -> Any:
        if smoothness == 0:
            return None
        if self.graph == "released":
            return smoothness * released_laplacian(z, self.neighbours)
        return smoothness * knn_laplacian(z, self.neighbours)

    def _embed(self, rows: NDArray[np.floating], view: Name) -> Matrix:
        projected = super()._embed(rows, view)
        if self.space == "projection":
            return projected
        shares = np.empty((len(rows), len(self.classes_)))
        k = min(self.neighbours, len(self.voters_))
        for start in range(0, len(rows), _ROWS):
            block = slice(start, start + _ROWS)
            squares = squared_distances(projected[block], self.voters_)
            nearest = np.argpartition(squares, k - 1, axis=1)[:, :k]
            weight = expit(-np.sqrt(np.take_along_axis(squares, nearest, axis=1)))
            for c in range(shares.shape[1]):
                shares[block, c] = (weight * (self.votes_[nearest] == c)).sum(axis=1)
        shares /= shares.sum(axis=1, keepdims=True)
        return shares


def knn_graph(z: Matrix, neighbours: int) -> csr_array:
    """Return which rows are among each other's nearest: (m, m) of ones, symmetric, sparse."""
    m = len(z)
    k = min(neighbours, m - 1)
    nearest = np.empty((m, k), dtype=np.int64)
    for start in range(0, m, _ROWS):
        squares = squared_distances(z[start : start + _ROWS], z)
        here = np.arange(len(squares))
        squares[here, start + here] = np.inf  # nobody is a neighbour of itself
        nearest[start : start + _ROWS] = np.argpartition(squares, k - 1, axis=1)[:, :k]
    ends = np.arange(0, m * k + 1, k)
    graph = csr_array((np.ones(m * k), nearest.ravel(), ends), shape=(m, m))
    return csr_array(graph.maximum(graph.T))


def knn_laplacian(z: Matrix, neighbours: int) -> csr_array:
    """Return I − D^(−1/2) W D^(−1/2) of the graph of nearest neighbours, sparse."""
    graph = knn_graph(z, neighbours)
    root = 1 / np.sqrt(graph.sum(axis=1))
    scaled = graph.multiply(root[:, None]).multiply(root)
    return csr_array(identity(len(z)) - scaled)


def released_laplacian(z: Matrix, neighbours: int) -> Matrix:
    """Return I − D^(−1/2) K D^(−1/2), K_ij = 1/(1 + exp ‖z_i − z_j‖), D from the sparse graph."""
    root = 1 / np.sqrt(knn_graph(z, neighbours).sum(axis=1))
    kernel = expit(-np.sqrt(squared_distances(z, z)))
    kernel *= -root[:, None]
    kernel *= root
    kernel[np.diag_indices_from(kernel)] += 1
    return kernel

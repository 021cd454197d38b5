"""Coordinated fusion: two encoders into one space, either usable alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlalign_lib.models.encoders import check_dims, mlp
from vlalign_lib.models.fusion._inputs import check_tensor, check_view, resolve_views
from vlalign_lib.models.fusion.standardise import BlockStandardiser


def coordination_loss(u: Tensor, v: Tensor) -> Tensor:
    r"""Return how far partners are apart: the mean squared distance of paired embeddings.

    .. math:: \mathcal{L} = \frac{1}{B} \sum_{i=1}^{B} \lVert u_i - v_i \rVert^2

    Minimised alone it is satisfied by a constant; it needs a task beside it (here, the shared
    classifier) that keeps the embeddings apart.

    Args:
        u: embedded first view, (B, k).
        v: embedded second view, (B, k), row i the partner of row i.

    Returns:
        A scalar.

    Raises:
        ValueError: different shapes, or no rows.

    Source:
        Baltrušaitis, Ahuja and Morency, Multimodal Machine Learning: A Survey and Taxonomy,
        PAMI 2019, equation 2 with the Euclidean distance.

    Chapter:
        02; chapter 04 shows the collapse.

    Example:
        >>> coordination_loss(torch.zeros(2, 3), torch.ones(2, 3))
        tensor(3.)
    """
    check_tensor(u, "u")
    check_tensor(v, "v")
    if u.ndim != 2 or u.shape != v.shape or u.shape[0] == 0:
        raise ValueError(
            f"expected two embeddings of the same shape (B, k), B at least 1, "
            f"got {tuple(u.shape)} and {tuple(v.shape)}"
        )
    return (u - v).square().sum(dim=1).mean()


class CoordinatedFusion(nn.Module):
    r"""Two encoders that speak the same language, and one classifier that reads it.

    .. math::

        u = f(\tilde x), \quad v = g(\tilde y), \qquad
        z = \frac{m_x u + m_y v}{m_x + m_y}, \qquad \operatorname{logits} = h(z)

    with :math:`m_x, m_y \in \{0, 1\}` saying which views are there. The encoders are coupled by
    the loss alone (:func:`coordination_loss` and the shared :math:`h`), so that either works
    without the other, and pictures can be searched by texts.

    Args:
        dim_x: columns p of the first view.
        dim_y: columns q of the second view.
        dim_out: classes C.
        dim_shared: dimensions k of the shared space.
        hidden: widths of the layers before it, the same for both encoders.

    Source:
        Baltrušaitis, Ahuja and Morency, Multimodal Machine Learning: A Survey and Taxonomy,
        PAMI 2019, section 3.2 (coordinated representations).

    Chapter:
        02; the rest of the course is about better losses for this wiring.

    Example:
        >>> model = CoordinatedFusion(3, 2, dim_out=4, dim_shared=8)
        >>> x = torch.ones(1, 3)
        >>> torch.equal(model.embed(x, None), model.embed_x(x))
        True
    """

    def __init__(
        self,
        dim_x: int,
        dim_y: int,
        dim_out: int,
        dim_shared: int = 32,
        hidden: Sequence[int] = (64,),
    ) -> None:
        super().__init__()
        check_dims(dim_x=dim_x, dim_y=dim_y, dim_out=dim_out, dim_shared=dim_shared)
        self.block_x = BlockStandardiser(dim_x)
        self.block_y = BlockStandardiser(dim_y)
        self.encoder_x = mlp(dim_x, hidden, dim_shared)
        self.encoder_y = mlp(dim_y, hidden, dim_shared)
        self.head = nn.Linear(dim_shared, dim_out)

    def fit_inputs(self, x: Tensor, y: Tensor) -> CoordinatedFusion:
        """Learn means and scales of both blocks from training data, (n, p) and (n, q)."""
        self.block_x.fit(x)
        self.block_y.fit(y)
        return self

    def embed_x(self, x: Tensor) -> Tensor:
        """Return the first view in the shared space, (B, k), from ``x``, (B, p)."""
        return self.encoder_x(self.block_x(check_view(x, self.block_x.dim, "x")))

    def embed_y(self, y: Tensor) -> Tensor:
        """Return the second view in the shared space, (B, k), from ``y``, (B, q)."""
        return self.encoder_y(self.block_y(check_view(y, self.block_y.dim, "y")))

    def embed(
        self,
        x: Tensor | None,
        y: Tensor | None,
        has_x: Tensor | None = None,
        has_y: Tensor | None = None,
    ) -> Tensor:
        """Return the mean of the embeddings that are there, (B, k); see :meth:`forward`."""
        x, y, has_x, has_y = resolve_views(x, y, has_x, has_y, (self.block_x.dim, self.block_y.dim))
        u = torch.where(has_x[:, None], self.embed_x(x), 0.0)  # (B, k)
        v = torch.where(has_y[:, None], self.embed_y(y), 0.0)  # (B, k)
        return (u + v) / (has_x.to(u.dtype) + has_y.to(u.dtype))[:, None]

    def forward(
        self,
        x: Tensor | None,
        y: Tensor | None,
        has_x: Tensor | None = None,
        has_y: Tensor | None = None,
    ) -> Tensor:
        """Return the logits, (B, C).

        Args:
            x: first view, (B, p), or None where it is missing for all.
            y: second view, (B, q), or None.
            has_x: booleans (B,), true where the item has its first view; None for all.
            has_y: the same of the second view.

        Raises:
            ValueError: wrong shapes, or an item with neither view.
        """
        return self.head(self.embed(x, y, has_x, has_y))  # (B, C)

"""Late fusion: an encoder for each view, then one joint embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlalign_lib.models.encoders import check_dims, mlp
from vlalign_lib.models.fusion._inputs import resolve_views
from vlalign_lib.models.fusion.standardise import BlockStandardiser


class LateFusion(nn.Module):
    r"""A joint embedding: each view goes through its own encoder, then they merge.

    .. math::

        z = \big[\,\varphi(\tilde x) \,;\, \psi(\tilde y)\,\big] \in \mathbb{R}^{2k},
        \qquad \operatorname{logits} = h(z)

    with networks :math:`\varphi, \psi` that end in a ReLU and a linear :math:`h`. In place of a
    missing view's code stands a learned token, :math:`t_x` or :math:`t_y \in \mathbb{R}^k`. It
    starts at zero and is only ever trained by items that miss the view: without modality
    dropout it stays at zero, and the head meets a code that it has never seen.

    Args:
        dim_x: columns p of the first view.
        dim_y: columns q of the second view.
        dim_out: classes C.
        dim_code: width k of each view's code.
        hidden: widths of the layers before the code, the same for both encoders.

    Source:
        Baltrušaitis, Ahuja and Morency, Multimodal Machine Learning: A Survey and Taxonomy,
        PAMI 2019, section 3.1 (joint representations).

    Chapter:
        02, the second of the two wirings.

    Example:
        >>> model = LateFusion(3, 2, dim_out=4)
        >>> model.embed(torch.zeros(5, 3), torch.zeros(5, 2)).shape
        torch.Size([5, 128])
    """

    def __init__(
        self,
        dim_x: int,
        dim_y: int,
        dim_out: int,
        dim_code: int = 64,
        hidden: Sequence[int] = (),
    ) -> None:
        super().__init__()
        check_dims(dim_x=dim_x, dim_y=dim_y, dim_out=dim_out, dim_code=dim_code)
        self.block_x = BlockStandardiser(dim_x)
        self.block_y = BlockStandardiser(dim_y)
        self.encoder_x = nn.Sequential(mlp(dim_x, hidden, dim_code), nn.ReLU())
        self.encoder_y = nn.Sequential(mlp(dim_y, hidden, dim_code), nn.ReLU())
        self.token_x = nn.Parameter(torch.zeros(dim_code))
        self.token_y = nn.Parameter(torch.zeros(dim_code))
        self.head = nn.Linear(2 * dim_code, dim_out)

    def fit_inputs(self, x: Tensor, y: Tensor) -> LateFusion:
        """Learn means and scales of both blocks from training data, (n, p) and (n, q)."""
        self.block_x.fit(x)
        self.block_y.fit(y)
        return self

    def embed(
        self,
        x: Tensor | None,
        y: Tensor | None,
        has_x: Tensor | None = None,
        has_y: Tensor | None = None,
    ) -> Tensor:
        """Return the joint embedding, (B, 2k); arguments as in :meth:`forward`."""
        x, y, has_x, has_y = resolve_views(x, y, has_x, has_y, (self.block_x.dim, self.block_y.dim))
        u = torch.where(has_x[:, None], self.encoder_x(self.block_x(x)), self.token_x)  # (B, k)
        v = torch.where(has_y[:, None], self.encoder_y(self.block_y(y)), self.token_y)  # (B, k)
        return torch.cat([u, v], dim=1)  # (B, 2k)

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

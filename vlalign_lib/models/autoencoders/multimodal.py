"""The multimodal autoencoder of any number of views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlalign_lib.models.encoders import as_widths, check_dims, mlp


class MultimodalAE(nn.Module):
    r"""One code of V views, from which each view can be reconstructed.

    .. math::

        c = W \, \operatorname{relu}\bigl[\phi_1(m_1 x_1); \dots; \phi_V(m_V x_V)\bigr] + b,
        \qquad \hat x_j = d_j(c)

    with :math:`m_j \in \{0, 1\}` saying which views are there. A view that is missing is a row of
    zeros, so bring each view to mean zero first. Trained on whole items only, a code of some of
    the views means little; trained with :func:`hide_views` it is near the code of all of them,
    and any views can ask for any others.

    Args:
        dims: columns of each view, at least one view.
        dim_code: dimensions k of the code.
        hidden: widths of the layers before each inlet's output; the decoders have them turned
            round.

    Raises:
        ValueError: no view, or a width that is not a whole number of at least 1.

    Source:
        Ngiam et al., "Multimodal deep learning", ICML 2011, section 3, for two views; no
        pretraining here.

    Chapter:
        04, with digits cut into three.

    Example:
        >>> model = MultimodalAE([24, 16, 24], dim_code=8)
        >>> x = [torch.ones(5, 24), torch.ones(5, 16), torch.ones(5, 24)]
        >>> [guess.shape[1] for guess in model(x)]
        [24, 16, 24]
        >>> model.code([x[0], None, x[2]]).shape  # the middle is missing
        torch.Size([5, 8])
    """

    def __init__(
        self, dims: Sequence[int], dim_code: int = 32, hidden: Sequence[int] = (128,)
    ) -> None:
        super().__init__()
        if isinstance(dims, str) or not isinstance(dims, Sequence) or not dims:
            raise ValueError(f"dims: expected one width a view, such as [24, 16, 24], got {dims!r}")
        check_dims(**{f"dims[{j}]": dim for j, dim in enumerate(dims)}, dim_code=dim_code)
        as_widths(hidden)
        self.dims, self.dim_code = tuple(dims), dim_code
        back = tuple(hidden)[::-1]
        self.inlets = nn.ModuleList(mlp(dim, hidden, dim_code) for dim in dims)
        self.joint = nn.Linear(len(dims) * dim_code, dim_code)
        self.decoders = nn.ModuleList(mlp(dim_code, back, dim) for dim in dims)

    def code(self, views: Sequence[Tensor | None], shown: Tensor | None = None) -> Tensor:
        """Return the codes (B, k) of items, from whichever views are there.

        Args:
            views: one (B, p_j) a view, in the order of ``dims``; None for a view that no item
                has.
            shown: booleans (B, V), false where an item lacks a view, whose row is then not read,
                whatever it holds; None for all that were given.

        Returns:
            (B, k), any sign.

        Raises:
            ValueError: another number of views, wrong widths, a mask of another shape, or an
                item without any view.
        """
        there = self._check(views, shown)
        inlets = [
            inlet(torch.where(seen[:, None], view, 0.0) if view is not None
                  else self.joint.weight.new_zeros(len(there), dim))
            for inlet, view, seen, dim in zip(
                self.inlets, views, there.T, self.dims, strict=True
            )
        ]  # fmt: skip
        code: Tensor = self.joint(torch.cat(inlets, dim=1).relu())
        return code

    def decode(self, code: Tensor) -> tuple[Tensor, ...]:
        """Return every view as codes (B, k) tell it, (B, p_j) each."""
        return tuple(decoder(code) for decoder in self.decoders)

    def forward(
        self, views: Sequence[Tensor | None], shown: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return every view, (B, p_j) each, as the code of the views that are there tells it."""
        return self.decode(self.code(views, shown))

    def _check(self, views: Sequence[Tensor | None], shown: Tensor | None) -> Tensor:
        """Return the booleans (B, V) that say what is there."""
        if len(views) != len(self.dims):
            raise ValueError(
                f"views: expected {len(self.dims)}, one for each of dims, got {len(views)}; "
                "pass None for a view that is missing"
            )
        given = [view for view in views if view is not None]
        if not given:
            raise ValueError("views: all are None; at least one must be given")
        n = len(given[0])
        for place, (view, dim) in enumerate(zip(views, self.dims, strict=True)):
            if view is not None and tuple(view.shape) != (n, dim):
                raise ValueError(
                    f"views[{place}]: expected ({n}, {dim}), one row an item, got "
                    f"{tuple(view.shape)}"
                )
        has = torch.tensor([view is not None for view in views], device=given[0].device)
        if shown is None:
            return has.expand(n, -1)
        if shown.dtype != torch.bool or tuple(shown.shape) != (n, len(self.dims)):
            raise ValueError(
                f"shown: expected booleans ({n}, {len(self.dims)}), got {shown.dtype} of shape "
                f"{tuple(shown.shape)}"
            )
        there = shown.to(has.device) & has
        lost = ~there.any(dim=1)
        if bool(lost.any()):
            raise ValueError(
                f"{int(lost.sum())} item(s) show no view, the first is item "
                f"{int(lost.nonzero()[0])}: nothing can be said about them; leave them out"
            )
        return there

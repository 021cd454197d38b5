"""Two encoders side by side, and whatever else a method trains with them."""

from __future__ import annotations

from torch import Tensor, nn

from vlalign_lib.linear._base import Name


class TwoViewNetwork(nn.Module):
    """An encoder for each view; further modules (decoders, label heads) by name.

    Args:
        images: encoder of the image view.
        texts: encoder of the text view.
        extras: further modules; ``network.label_head`` is what ``label_head=…`` was.
    """

    def __init__(self, images: nn.Module, texts: nn.Module, **extras: nn.Module) -> None:
        super().__init__()
        self.images = images
        self.texts = texts
        for name, module in extras.items():
            self.add_module(name, module)

    def encode(self, rows: Tensor, view: Name) -> Tensor:
        """Return the codes (B, k) of rows of one view, the other one missing."""
        encoder = self.images if view == "images" else self.texts
        codes: Tensor = encoder(rows)
        return codes

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of both views, (B, k) each."""
        return self.encode(x, "images"), self.encode(y, "texts")

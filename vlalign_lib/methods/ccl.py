"""Cross-modal correlation learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlalign_lib._validate import Rule, is_whole
from vlalign_lib.linear._base import Name
from vlalign_lib.losses import classification_proxy_loss, contrastive_pair_loss
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork
from vlalign_lib.methods._inputs import own_classes
from vlalign_lib.models.encoders import encoder_for
from vlalign_lib.training import FitContext


class _Regions(nn.Module):
    """Cut pictures into a grid of regions, encode each alike, and average."""

    def __init__(self, shape: tuple[int, int], grid: int, encoder: nn.Module) -> None:
        super().__init__()
        self.size = (shape[0] // grid, shape[1] // grid)
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, k) for pictures (B, height, width)."""
        height, width = self.size
        cut = x.unfold(1, height, height).unfold(2, width, width)  # (B, grid, grid, h, w)
        regions = cut.flatten(1, 2)  # (B, regions, h, w)
        codes: Tensor = self.encoder(regions.flatten(0, 1))
        return codes.unflatten(0, regions.shape[:2]).mean(1)


class _TwoGrains(nn.Module):
    """The whole and its regions, side by side, joined by one layer."""

    def __init__(self, coarse: nn.Module, fine: nn.Module, dim: int) -> None:
        super().__init__()
        self.coarse, self.fine, self.joint = coarse, fine, nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, k)."""
        joined: Tensor = self.joint(torch.cat([self.coarse(x), self.fine(x)], dim=1).relu())
        return joined


def _as_regions(value: Any, name: str) -> int:
    """Return how many cells lie along each side of a picture, 0 for none."""
    if is_whole(value) and (value == 0 or value >= 2):
        return int(value)
    raise ValueError(f"{name}: expected 0 or a whole number from 2, got {value!r}")


@dataclass(kw_only=True, repr=False, eq=False)
class CCL(DeepMethod):
    r"""Train two encoders on all pairs of the batch, alike or not, and on classes.

    .. math::

        \min \; \frac{1}{2B} \sum_{i, j} \begin{cases}
            \lVert u_i - v_j \rVert^2 & c_i = c_j \\
            [m - \lVert u_i - v_j \rVert]_+^2 & c_i \ne c_j
        \end{cases} \; + \; \beta \, \mathcal L_{\text{classes}}

    on unit vectors u and v, with a softmax classifier for each view in the second term. What is
    embedded are these unit vectors.

    The paper has two streams, the whole items and their parts. Feature vectors have no parts, so
    that only the coarse one is left of it; for pictures ``regions`` adds the fine one, with the
    cells of a grid as parts, encoded alike, averaged and joined with the whole; rows and columns
    of pixels that fill no cell are left out of the parts. Texts stay whole.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`.

    Args:
        margin: m ≥ 0, between unit vectors, whose distances go up to 2.
        class_weight: β.
        regions: cells along each side of a picture, 2 or more; 0 leaves the fine stream out.
        n_components: dimensions k of the shared space.

    Raises:
        ValueError: in ``fit``; labels are needed; regions of vectors, or smaller than 8 by 8.

    Source:
        Peng, Qi, Huang, Yuan, "CCL: Cross-modal correlation learning with multigrained fusion by
        hierarchical network", IEEE Transactions on Multimedia 20(2), 2018. Certain: both terms and
        the two grains. Different here: no pretraining by restricted Boltzmann machines and
        Corr-AE; unit vectors; Adam.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = CCL(epochs=2, random_state=0).fit(train.images, train.texts, train.labels)
        >>> method.embed_images(train.images[:3]).shape
        (3, 64)
    """

    needs_labels: ClassVar[bool] = True
    _rules: ClassVar[dict[str, Rule]] = DeepMethod._rules | {"regions": _as_regions}

    margin: float = 1.0
    class_weight: float = 1.0
    regions: int = 0

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of the paper's code that fit here.

        Certain: layers of 1,024 units, margin 1, batches of 80. Not theirs: SGD at 1e-4 for 20,000
        steps after pretraining.
        """
        return cls(n_components=1024, hidden=(1024,), batch_size=80)

    def _network(self) -> TwoViewNetwork:
        k, n_classes = self.n_components, len(self.classes_)
        images, texts = self._encoders(k)
        if self.regions:
            images = _TwoGrains(images, self._fine(k), k)
        return TwoViewNetwork(
            images,
            texts,
            image_classes=nn.Linear(k, n_classes),
            text_classes=nn.Linear(k, n_classes),
        )

    def _fine(self, k: int) -> nn.Module:
        if len(self.image_shape_) != 2:
            raise ValueError(
                f"regions: {self.regions} asked for, but images of shape {self.image_shape_} have "
                "no parts; use pictures (n, height, width), or regions=0"
            )
        height, width = self.image_shape_
        size = (height // self.regions, width // self.regions)
        encoder = encoder_for(size, k, channels=self.channels, dropout=self.dropout)
        return _Regions((height, width), self.regions, encoder)

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        parts: Any = network
        u, v = (nn.functional.normalize(code) for code in network(x, y))
        pairs = contrastive_pair_loss(u, v, own_classes(labels), margin=self.margin, gather=True)
        classes = classification_proxy_loss(
            parts.image_classes(u), parts.text_classes(v), labels, gather=True
        )
        return pairs + self.class_weight * classes

    def _output(self, codes: NDArray[np.float64], view: Name) -> NDArray[np.float64]:
        lengths = np.linalg.norm(codes, axis=1, keepdims=True)
        unit: NDArray[np.float64] = codes / np.maximum(lengths, 1e-12)  # as torch's normalize
        return unit

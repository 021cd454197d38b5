"""Cross-media multiple deep networks, with autoencoders in place of Boltzmann machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlalign_lib._validate import Rule, as_number, as_whole
from vlalign_lib.linear._base import Name
from vlalign_lib.losses import classification_proxy_loss, correspondence_loss
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork, as_missing
from vlalign_lib.training import FitContext, warmup_cosine

STAGES = ("representations", "classes", "stack")


class _View(nn.Module):
    """What belongs to one view, from its items up to its codes."""

    def __init__(
        self,
        own: nn.Module,
        inlet: nn.Module,
        from_own: nn.Module,
        from_joint: nn.Module,
        widths: tuple[int, ...],
        n_classes: int,
    ) -> None:
        super().__init__()
        wide = widths[0]
        self.own, self.inlet, self.from_own, self.from_joint = own, inlet, from_own, from_joint
        self.fusion = nn.Linear(2 * wide, wide)
        self.classes = nn.Linear(wide, n_classes)
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Linear(above, below) for above, below in steps)
        self.up = nn.ModuleList(nn.Linear(below, above) for above, below in steps)

    def levels(self, fused: Tensor) -> list[Tensor]:
        """Return the codes of every level, each from the one before with its gradient cut off."""
        codes = [functional.layer_norm(fused.detach(), fused.shape[1:])]
        for layer in self.down:
            codes.append(torch.tanh(layer(codes[-1].detach())))
        return codes


class _Hierarchy(TwoViewNetwork):
    """Two views of several representations each, one joint code, two stacks."""

    joint: nn.Module
    shapes: dict[str, tuple[int, ...]]

    def view(self, name: Name) -> Any:
        """Return what belongs to one view."""
        return self.images if name == "images" else self.texts

    def code(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the joint code (B, wide); one row of zeros stands for a missing view."""
        inlets = self.view("images").inlet(x), self.view("texts").inlet(y)
        rows = max(len(x), len(y))
        return self.joint(torch.cat([inlet.expand(rows, -1) for inlet in inlets], dim=1).relu())

    def fused(self, rows: Tensor, name: Name) -> Tensor:
        """Return the view's own code and the joint code made from it alone, joined, (B, wide)."""
        other: Name = "texts" if name == "images" else "images"
        nothing = rows.new_zeros(1, *self.shapes[other])
        joint = self.code(rows, nothing) if name == "images" else self.code(nothing, rows)
        part = self.view(name)
        fused: Tensor = part.fusion(torch.cat([part.own(rows), joint], dim=1).relu()).relu()
        return fused

    def encode(self, rows: Tensor, view: Name) -> Tensor:
        """Return the last codes of the stack (B, k)."""
        codes: Tensor = self.view(view).levels(self.fused(rows, view))[-1]
        return codes


@dataclass(kw_only=True, repr=False, eq=False)
class CMDN(DeepMethod):
    r"""Learn representations, then classes, then a stack of codes that both views share.

    Three stages, each a third of the steps, with a learning rate that falls anew in each:

    1. *Representations*, without labels. Each view has an autoencoder of its own, and both have a
       joint one like :class:`BimodalAE`'s, shown a third of the pairs without the text and a third
       without the image. A view's two codes (the joint one made from it alone) are fused by one
       layer:

       .. math::

           z_x = \phi\bigl(W_x \, [\phi(s(x));\, \phi(h(x, 0))]\bigr), \qquad
           z_y = \phi\bigl(W_y \, [\phi(t(y));\, \phi(h(0, y))]\bigr).

    2. *Classes*. The fused representations, and all below them, learn to name the class, each view
       with a softmax of its own; no pair is used in this stage.
    3. *Stack*. What was learned stands still. On top of z, normalised, L levels halve the width
       down to k: each is a supervised correspondence autoencoder of the level before, which its
       gradient does not reach:

       .. math::

           \min \sum_{l=1}^{L} (1 - \alpha) \bigl(\lVert u_{l-1} - \hat u_{l-1}(u_l) \rVert^2
           + \lVert v_{l-1} - \hat v_{l-1}(v_l) \rVert^2\bigr)
           + \alpha \lVert u_l - v_l \rVert^2 + \beta \, \mathcal L_{\text{classes}}(u_l, v_l)

       with mean squares over the dimensions. One softmax a level reads the codes of both views.
       Items are compared by the last codes.

    This is CMDN in style: the order of things is the paper's, the machines are not.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`. With held-out pairs, epochs are compared
    by the cross-entropy of the classes on the last codes, whatever the stage.

    Args:
        levels: L ≥ 1, of the stack; representations have :math:`2^L k` dimensions.
        alpha: weight of the codes' distance in the stack, in [0, 1].
        class_weight: β ≥ 0, of the classes in the stack.
        missing: share of the pairs, in [0, 1/2], shown to the joint autoencoder with one view
            only, for each view.
        n_components: dimensions k of the last codes.

    Raises:
        ValueError: in ``fit``; labels are needed, of at least two classes.

    Source:
        Peng, Huang, Qi, "Cross-media shared representation by hierarchical learning with multiple
        deep networks", IJCAI 2016. Certain: separate and joint representations fused for each
        view, softmax fine-tuning, then stacked bimodal autoencoders with labels down to 64
        dimensions. Different here: denoising autoencoders in place of the multimodal deep belief
        network and the joint restricted Boltzmann machine, zeros in place of Gibbs sampling for
        the missing view, levels trained at once with their gradients kept apart, AdamW.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = CMDN(epochs=3, random_state=0).fit(train.images, train.texts, train.labels)
        >>> method.embed_images(train.images[:3]).shape
        (3, 64)
    """

    needs_labels: ClassVar[bool] = True
    _rules: ClassVar[dict[str, Rule]] = DeepMethod._rules | {
        "levels": as_whole,
        "class_weight": partial(as_number, low=0),
        "missing": as_missing,
    }

    levels: int = 2
    alpha: float = 0.5
    class_weight: float = 1.0
    missing: float = 1 / 3

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of the authors' released code that these networks can have.

        Certain: representations of 1,024 dimensions, halved four times down to 64. Not theirs:
        one number of steps, batch size and rate for all stages.
        """
        return cls(n_components=64, levels=4, hidden=(1024,), batch_size=100)

    def _network(self) -> TwoViewNetwork:
        wide, n_classes = self.n_components * 2**self.levels, len(self.classes_)
        widths = tuple(self.n_components * 2**level for level in range(self.levels, -1, -1))
        views = [
            _View(
                own,
                inlet,
                self._decoder(wide, numbers),
                self._decoder(wide, numbers),
                widths,
                n_classes,
            )
            for own, inlet, numbers in zip(
                self._encoders(wide),
                self._encoders(wide),
                (self.n_features_in_, self.n_text_features_in_),
                strict=True,
            )
        ]
        network = _Hierarchy(
            *views,
            joint=nn.Linear(2 * wide, wide),
            heads=nn.ModuleList(nn.Linear(width, n_classes) for width in widths[1:]),
        )
        network.shapes = {"images": self.image_shape_, "texts": (self.n_text_features_in_,)}
        return network

    def _schedule(self) -> Callable[[int, int], float]:
        return _anew_in_each_stage

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        stage = STAGES[_stage(context.progress)]
        if stage == "representations":
            return self._lost(network, x, y, context)
        if stage == "classes":
            return self._named(network, x, y, labels)
        return self._stacked(network, x, y, labels)

    def _monitor(self, x: Tensor, y: Tensor, labels: Tensor) -> Callable[[nn.Module], float]:
        def cross_entropy(network: nn.Module) -> float:
            """Of the last heads; the stages' own losses cannot be compared with each other."""
            whole: Any = network
            device = next(network.parameters()).device
            codes = whole(x.to(device), y.to(device))
            logits = [whole.heads[-1](code) for code in codes]
            return float(classification_proxy_loss(logits[0], logits[1], labels.to(device)))

        return cross_entropy

    def _lost(self, network: Any, x: Tensor, y: Tensor, context: FitContext) -> Tensor:
        """Return what the autoencoders lose: each view's own, and the joint one."""
        drawn = torch.as_tensor(context.rng.random(len(x)), device=x.device)
        seen_x = x * (drawn >= self.missing).view(-1, *[1] * (x.ndim - 1))
        seen_y = y * (drawn < 1 - self.missing)[:, None]
        joint = network.code(seen_x, seen_y).relu()
        lost = []
        for part, rows in ((network.images, x), (network.texts, y)):
            for again in (part.from_own(part.own(rows).relu()), part.from_joint(joint)):
                lost.append((again - rows.flatten(1)).square().mean())
        return torch.stack(lost).sum()

    def _named(self, network: Any, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of the classes on the fused representations."""
        logits_x = network.images.classes(network.fused(x, "images"))
        logits_y = network.texts.classes(network.fused(y, "texts"))
        return classification_proxy_loss(logits_x, logits_y, labels, gather=True)

    def _stacked(self, network: Any, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of all levels of the stack, which moves no weight below it."""
        images, texts = network.images, network.texts
        with torch.no_grad():
            fused = network.fused(x, "images"), network.fused(y, "texts")
        us, vs = images.levels(fused[0]), texts.levels(fused[1])
        total = []
        for level in range(self.levels):
            u, v = us[level + 1], vs[level + 1]
            matched = correspondence_loss(
                u,
                v,
                us[level].detach(),
                vs[level].detach(),
                own=(images.up[level](u), texts.up[level](v)),
                alpha=self.alpha,
                gather=True,
            )
            head = network.heads[level]
            named = classification_proxy_loss(head(u), head(v), labels, gather=True)
            total.append(matched + self.class_weight * named)
        return torch.stack(total).sum()


def _stage(progress: float) -> int:
    return min(int(progress * len(STAGES)), len(STAGES) - 1)


def _anew_in_each_stage(step: int, total: int) -> float:
    """Return a cosine from 1 to 0 in each stage, as a share of the learning rate."""
    stage = _stage(step / total)
    first, end = (-(-total * edge // len(STAGES)) for edge in (stage, stage + 1))
    return warmup_cosine(step - first, end - first)

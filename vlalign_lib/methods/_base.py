"""What every trained method shares: two networks, one objective, one loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vlalign_lib._validate import (
    Rule,
    as_flag,
    as_number,
    as_seed,
    as_whole,
    check_choice,
    optional,
)
from vlalign_lib.linear._base import Name
from vlalign_lib.methods._inputs import NetworkInputs, Rows, check_near, float32_on_cpu, item_shape
from vlalign_lib.models.encoders import VectorEncoder, as_widths, encoder_for, random_shift
from vlalign_lib.training import FitConfig, FitContext, fit, seeded

EMBEDDED_AT_ONCE = 1024


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


def as_missing(value: Any, name: str) -> float:
    """Return the share of the pairs, for each view, that training shows without the other one."""
    share = as_number(value, name)
    if not 0 <= share <= 0.5:
        raise ValueError(f"{name}: expected a share from 0 to 0.5 for each view, got {value!r}")
    return share


@dataclass(kw_only=True, repr=False, eq=False)
class DeepMethod(NetworkInputs):
    """Two networks, one objective, one loop.

    A method writes ``_loss``; where it needs more than two encoders, ``_network``; where what it
    compares is not the encoders' output, ``_output``; where something is fitted after training,
    ``_finish``. It is a dataclass, so that the parameters below are listed once; a method repeats
    those whose default it changes.
    """

    needs_strangers: ClassVar[bool] = False  # other pairs of the batch, to be told apart from
    _rules: ClassVar[dict[str, Rule]] = {
        "n_components": as_whole,
        "hidden": as_widths,
        "channels": as_whole,
        "dropout": partial(as_number, low=0),
        "shift": partial(as_whole, least=0),
        "scaling": partial(check_choice, choices=("view", "columns")),
        "batch_size": optional(as_whole),
        "random_state": optional(as_seed),
        "progress": as_flag,
    }

    n_components: int = 64
    hidden: Sequence[int] = (256,)
    channels: int = 24
    dropout: float = 0.3
    shift: int = 1
    scaling: str = "view"
    epochs: int = 60
    batch_size: int | None = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    random_state: int | None = None
    device: str = "auto"
    progress: bool = False

    @float32_on_cpu()
    def fit(
        self,
        images: ArrayLike,
        texts: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        validation: tuple[Any, ...] | None = None,
    ) -> Self:
        """Learn from pairs: row i of ``images`` belongs to row i of ``texts``.

        Args:
            images: (n, p) feature vectors or (n, height, width) pictures, any real dtype and
                units; standardised inside (see ``scaling``).
            texts: (n, q), the partners.
            labels: (n,) class indices, −1 for an item without a class; read by the methods that
                need them only.
            validation: held-out ``(images, texts, labels)``. Where it is given, the weights of
                the epoch with the lowest validation loss are kept; no row of it is learned from.

        Returns:
            The estimator itself, fitted on every row it was given.

        Raises:
            ValueError: views that are not paired, NaN or infinity, a view without any variation
                or of values too small to square, labels missing where they are needed, held-out
                pairs that are none or far from the training ones, or a parameter out of range.
        """
        x, y = self._pairs(images, texts)
        self.image_shape_ = item_shape(images)
        given = self._checked()
        zx, zy = self._learn_scale(x, y)
        classes = self._learn_classes(labels, len(x))
        held_out = None if validation is None else self._held_out(validation)
        with seeded(given.random_state or 0):
            self.network_ = self._network()
        history = fit(
            self.network_,
            self._batch_loss,
            (self._shaped(zx, "images"), self._shaped(zy, "texts"), classes),
            self._config(given, len(x)),
            validation=held_out,
            schedule=self._schedule(),
            monitor=None if held_out is None else self._monitor(*held_out),
        )
        self.loss_curve_, self.validation_curve_ = history.train_loss, history.validation_loss
        self.best_epoch_ = history.best_epoch
        self._finish(zx, zy, classes)
        self.n_components_ = self._embed(x[:1], "images").shape[1]
        return self

    def _fit(self, x: Rows, y: Rows, labels: ArrayLike | None) -> None:
        raise NotImplementedError  # fit is written out above: it needs the pictures' shape

    # What a method may replace.

    def _network(self) -> TwoViewNetwork:
        """Return the untrained network; what was learned of the data's shape is known here."""
        return TwoViewNetwork(*self._encoders(self.n_components))

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        """Return the objective of one batch; labels are class numbers from 0, or −1."""
        raise NotImplementedError

    def _schedule(self) -> Callable[[int, int], float] | None:
        """Return the share of the learning rate for a step of all steps, None for a cosine."""
        return None

    def _monitor(self, x: Tensor, y: Tensor, labels: Tensor) -> Callable[[nn.Module], float] | None:
        """Return what compares epochs on held-out pairs, None for the loss itself."""
        return None

    def _finish(self, zx: NDArray[np.float64], zy: NDArray[np.float64], labels: Tensor) -> None:
        """Fit what comes after training, on the standardised training pairs."""

    def _output(self, codes: NDArray[np.float64], view: Name) -> NDArray[np.float64]:
        """Return what is compared, from what the encoder of a view gives."""
        return codes

    # What they build on.

    def _encoders(self, dim_out: int, *, activation: str = "relu") -> tuple[nn.Module, nn.Module]:
        given = self._checked()
        images, texts = (
            encoder_for(
                shape,
                dim_out,
                hidden=given.hidden,
                channels=given.channels,
                activation=activation,
                dropout=given.dropout,
            )
            for shape in (self.image_shape_, (self.n_text_features_in_,))
        )
        return images, texts

    def _decoder(self, dim: int, numbers: int) -> nn.Module:
        """Return a network from codes to the numbers of a view, the hidden widths turned round."""
        return VectorEncoder(dim, numbers, self._checked().hidden[::-1])

    def _checked(self) -> SimpleNamespace:
        """Return the parameters as plain values, as they can be with this data."""
        given = super()._checked()
        if self.needs_strangers and given.batch_size == 1:
            raise ValueError(
                "batch_size: a batch of one pair has no strangers that its partner could be told "
                "from, so nothing would be learned; use 2 pairs a batch or more"
            )
        if len(self.image_shape_) == 1 and given.shift not in (0, type(self).shift):
            raise ValueError(
                f"shift: {given.shift} pixels asked for, but images of shape {self.image_shape_} "
                "are vectors, which cannot be moved; use pictures (n, height, width), or leave it"
            )
        if len(self.image_shape_) == 2 and given.shift >= min(self.image_shape_):
            raise ValueError(
                f"shift: expected fewer pixels than the {min(self.image_shape_)} of a side, got "
                f"{self.shift!r}"
            )
        return given

    def _config(self, given: SimpleNamespace, n: int) -> FitConfig:
        return FitConfig(
            epochs=self.epochs,
            batch_size=None if given.batch_size is None else min(given.batch_size, n),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule="cosine",
            seed=given.random_state or 0,
            device=self.device,
            progress=given.progress,
        )

    def _batch_loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        if context.training and x.ndim == 3:
            x = random_shift(x, self.shift)
        return self._loss(network, x, y, labels, context)

    @float32_on_cpu()
    def _through(self, function: Callable[..., Tensor], *rows: Tensor) -> NDArray[np.float64]:
        """Return what a part of the network makes of rows, some at a time, (n, ·)."""
        device = next(self.network_.eval().parameters()).device
        with torch.no_grad():
            parts = [
                function(*(part.to(device) for part in at_once)).double().cpu()
                for at_once in zip(*(each.split(EMBEDDED_AT_ONCE) for each in rows), strict=True)
            ]
        made: NDArray[np.float64] = torch.cat(parts).numpy()
        return made

    def _codes(self, standardised: NDArray[np.float64], view: Name) -> NDArray[np.float64]:
        """Return the encoder's output for standardised rows, (n, ·)."""
        encode = partial(self.network_.encode, view=view)
        codes = self._through(encode, self._shaped(standardised, view))
        check_near(codes, view)
        return codes

    def _embed(self, rows: Rows, view: Name) -> NDArray[np.float64]:
        return self._output(self._codes(self._standardised(rows, view), view), view)

    @float32_on_cpu()
    def _load_network(self, weights: dict[str, NDArray[Any]]) -> None:
        """Put saved weights into a network that is built anew."""
        self.image_shape_ = tuple(self.image_shape_)
        self.network_ = self._network().eval()
        self.network_.load_state_dict(
            {name: torch.from_numpy(np.array(weight)) for name, weight in weights.items()}
        )

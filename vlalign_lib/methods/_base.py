"""What every trained method shares: inputs, encoders, the loop, saving and loading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vlalign_lib._tensors import check_choice
from vlalign_lib._validate import as_labels, as_seed, as_whole
from vlalign_lib.linear._base import Name, TwoViewEstimator
from vlalign_lib.methods._network import TwoViewNetwork
from vlalign_lib.models._layers import check_dims, check_widths
from vlalign_lib.models.encoders import encoder_for, random_shift
from vlalign_lib.training import FitConfig, FitContext, Sampler, fit, seeded

Rows = NDArray[np.floating]
EMBEDDED_AT_ONCE = 1024


@dataclass(kw_only=True, repr=False, eq=False)
class DeepMethod(TwoViewEstimator):
    """Two networks, one objective, one loop.

    A method writes ``_loss``; where it needs more than two encoders, ``_network``; where what it
    compares is not the encoders' output, ``_output``; where something is fitted after training,
    ``_finish``. It is a dataclass, so that the parameters below are listed once; a method repeats
    those whose default it changes.
    """

    needs_labels: ClassVar[bool] = False
    needs_strangers: ClassVar[bool] = False  # other pairs of the batch, to be told apart from
    reads_n_components: ClassVar[bool] = True

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
        check_choice(self.scaling, "scaling", ("view", "columns"))
        x, y = self._pairs(images, texts)
        self.image_shape_ = _item_shape(images)
        self.n_features_in_, self.n_text_features_in_ = x.shape[1], y.shape[1]
        seed = 0 if self.random_state is None else as_seed(self.random_state, "random_state")
        self._check_settings()
        zx, zy = self._learn_scale(x, y)
        classes = self._learn_classes(labels, len(x))
        held_out = None if validation is None else self._held_out(*_as_held_out(validation))
        with seeded(seed):
            self.network_ = self._network()
        data = (self._shaped(zx, "images"), torch.as_tensor(zy, dtype=torch.float32), classes)
        history = fit(
            self.network_,
            self._batch_loss,
            data,
            self._config(seed, len(x)),
            validation=held_out,
            sampler=self._sampler(classes),
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

    def _sampler(self, labels: Tensor) -> Sampler | None:
        """Return what draws the batches, None for shuffled ones of ``batch_size``."""
        return None

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
        shapes: tuple[Sequence[int], ...] = (self.image_shape_, (self.n_text_features_in_,))
        images, texts = (
            encoder_for(
                shape,
                dim_out,
                hidden=self.hidden,
                channels=self.channels,
                activation=activation,
                dropout=self.dropout,
            )
            for shape in shapes
        )
        return images, texts

    def _check_settings(self) -> None:
        """Raise a ValueError that names the setting, where what it is given to has other names."""
        if self.reads_n_components:
            check_dims(n_components=self.n_components)
        check_widths(self.hidden)
        if self.batch_size is not None:
            as_whole(self.batch_size, "batch_size")
        if self.needs_strangers and self.batch_size == 1:
            raise ValueError(
                "batch_size: a batch of one pair has no strangers that its partner could be told "
                "from, so nothing would be learned; use 2 pairs a batch or more"
            )
        if len(self.image_shape_) == 2:
            side = min(self.image_shape_)
            whole = isinstance(self.shift, int) and not isinstance(self.shift, bool)
            if not (whole and 0 <= self.shift < side):
                raise ValueError(
                    f"shift: expected whole pixels from 0 to below {side}, got {self.shift!r}"
                )

    def _config(self, seed: int, n: int) -> FitConfig:
        return FitConfig(
            epochs=self.epochs,
            batch_size=None if self.batch_size is None else min(self.batch_size, n),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule="cosine",
            seed=seed,
            device=self.device,
            progress=self.progress,
        )

    def _batch_loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        if context.training and x.ndim == 3:
            x = random_shift(x, self.shift)
        return self._loss(network, x, y, labels, context)

    def _codes(self, standardised: NDArray[np.float64], view: Name) -> NDArray[np.float64]:
        """Return the encoder's output for standardised rows, (n, ·)."""
        network = self.network_.eval()
        device = next(network.parameters()).device
        with torch.no_grad():
            parts = [
                network.encode(rows.to(device), view).double().cpu()
                for rows in self._shaped(standardised, view).split(EMBEDDED_AT_ONCE)
            ]
        codes: NDArray[np.float64] = torch.cat(parts).numpy()
        check_near(codes, view)
        return codes

    def _embed(self, rows: Rows, view: Name) -> NDArray[np.float64]:
        return self._output(self._codes(self._standardised(rows, view), view), view)

    def _standardised(self, rows: Rows, view: Name, name: str | None = None) -> NDArray[np.float64]:
        """Return rows in the units of training; ``name`` is what errors call them."""
        with np.errstate(over="ignore"):
            z = (rows - self._learned(view, "mean")) / self._learned(view, "scale")
        check_near(z, name or view)
        return z

    def _shaped(self, z: NDArray[np.float64], view: Name) -> Tensor:
        rows = torch.as_tensor(z, dtype=torch.float32)
        return rows.unflatten(1, self.image_shape_) if view == "images" else rows

    def _learn_scale(self, x: Rows, y: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return both views standardised, column by column or each view as a whole."""
        zx, zy = super()._learn_scale(x, y)
        pictures = len(self.image_shape_) == 2
        if pictures:
            self.image_mean_ = np.full(x.shape[1], x.mean(dtype=np.float64))
            spread = float(np.sqrt(((x - self.image_mean_) ** 2).mean(dtype=np.float64)))
            _check_visible(spread, "images")
            self.image_scale_ = np.full(x.shape[1], spread)
            zx = (x - self.image_mean_) / self.image_scale_
        if self.scaling == "view":
            if not pictures:
                zx, self.image_scale_ = _as_a_whole(zx, self.image_scale_, "images")
            zy, self.text_scale_ = _as_a_whole(zy, self.text_scale_, "texts")
        return zx, zy

    def _learn_classes(self, labels: ArrayLike | None, n: int) -> Tensor:
        """Return class numbers from 0, −1 for none, and remember the classes."""
        if labels is None and not self.needs_labels:
            self.classes_ = np.empty(0, dtype=np.int64)
            return torch.full((n,), -1)
        known = as_labels(labels, n)
        self.classes_ = np.unique(known[known >= 0])
        if self.needs_labels and len(self.classes_) < 2:
            raise ValueError(
                f"labels: {type(self).__name__} learns from classes and needs at least two, got "
                f"{len(self.classes_)}; without classes use a method that learns from pairs alone"
            )
        return self._class_numbers(known)

    def _class_numbers(self, labels: NDArray[np.int64]) -> Tensor:
        numbers = {label: number for number, label in enumerate(self.classes_.tolist())}
        return torch.tensor([numbers.get(label, -1) for label in labels.tolist()])

    def _held_out(
        self, images: ArrayLike, texts: ArrayLike, labels: ArrayLike | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, y = self._pairs(images, texts)
        if _item_shape(images) != self.image_shape_ or y.shape[1] != self.n_text_features_in_:
            raise ValueError(
                f"validation: expected items like those of training, images {self.image_shape_} "
                f"and texts ({self.n_text_features_in_},), got {_item_shape(images)} and "
                f"({y.shape[1]},)"
            )
        zx = self._standardised(x, "images", "validation images")
        zy = self._standardised(y, "texts", "validation texts")
        known = (
            np.full(len(x), -1, dtype=np.int64)
            if labels is None and not self.needs_labels
            else as_labels(labels, len(x), "validation labels")
        )
        return self._shaped(zx, "images"), self._shaped(zy, "texts"), self._class_numbers(known)

    # Weights travel beside the arrays that every estimator saves.

    def _record(self, arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, Any]:
        network = self.__dict__.pop("network_")
        try:
            record = super()._record(arrays, prefix)
        finally:
            self.network_ = network
        for name, tensor in network.state_dict().items():
            arrays[f"{prefix}network.{name}"] = tensor.cpu().numpy()
        return record

    @classmethod
    def _restore(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], prefix: str) -> Self:
        own = f"{prefix}network."
        rest = {name: array for name, array in arrays.items() if not name.startswith(own)}
        estimator = super()._restore(record, rest, prefix)
        estimator.image_shape_ = tuple(estimator.image_shape_)
        estimator.network_ = estimator._network()
        estimator.network_.load_state_dict(
            {
                name.removeprefix(own): torch.from_numpy(np.array(array))
                for name, array in arrays.items()
                if name.startswith(own)
            }
        )
        estimator.network_.eval()
        return estimator


def own_classes(labels: Tensor) -> Tensor:
    """Return the labels with a class of its own, below 0, for each pair that has none."""
    own = -1 - torch.arange(len(labels), device=labels.device)
    return torch.where(labels < 0, own, labels)


def check_near(values: NDArray[np.float64], name: str) -> None:
    """Raise a ValueError where a row has become too large for the network's float32."""
    far = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max).all(axis=1))
    if far.size:
        raise ValueError(
            f"{name}: row {far[0]} is so far from the training rows that its place overflows "
            f"({far.size} such row(s)); check its units"
        )


def _as_held_out(validation: Any) -> tuple[Any, ...]:
    """Return held-out pairs, with labels or without, as they were given."""
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        several = isinstance(validation, tuple | list)
        got = f"{len(validation)} things" if several else type(validation).__name__
        raise ValueError(
            f"validation: expected (images, texts, labels) of held-out pairs, got {got}"
        )
    return tuple(validation)


def _item_shape(images: ArrayLike) -> tuple[int, ...]:
    """Return (height, width) of pictures, (p,) of vectors; other shapes are flattened."""
    shape = tuple(images.shape) if hasattr(images, "shape") else np.shape(images)
    return shape[1:] if len(shape) == 3 and min(shape[1:]) >= 8 else (int(np.prod(shape[1:])),)


def _as_a_whole(
    z: NDArray[np.float64], scale: NDArray[np.float64], name: Name
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return columns with their own spread again, divided by that of the view as a whole.

    Rare words keep a small weight; a column at its own deviation 1 would give each a large one.
    """
    moving = z.any(axis=0)
    spread = float(np.sqrt((scale[moving] ** 2).mean()))
    _check_visible(spread, name)
    whole = np.full_like(scale, spread)
    return z * (scale / whole), whole


def _check_visible(spread: float, name: Name) -> None:
    """Raise a ValueError where the spread of a whole view is so small that its square vanishes."""
    if spread**2 < np.finfo(np.float64).tiny:
        raise ValueError(
            f"{name}: values so close together (a spread of {spread:.3g}) that their squares "
            "vanish; check their units, and multiply them by a constant first"
        )

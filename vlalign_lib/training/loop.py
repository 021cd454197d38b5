"""The loop behind every trained model of the course."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlalign_lib._progress import progress_bar
from vlalign_lib._validate import as_array, as_seed
from vlalign_lib.training._seeds import seeded

LossFn = Callable[..., Tensor]
"""``loss_fn(model, *batch)`` returns a scalar; ``model.training`` is false in validation."""

OptimiserFn = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class FitConfig:
    """How long, how fast and from which seed a model is trained.

    Args:
        epochs: passes through the training data.
        batch_size: items a step; None takes all of them at once. The last batch of an epoch is
            smaller where the size does not divide the number of items.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled weight decay.
        patience: epochs without a lower validation loss after which training stops; None never
            stops early.
        seed: of the order of the items and of whatever the loss or the model draws.
        device: ``"cpu"``, ``"cuda"``, …, or ``"auto"`` for a GPU where there is one.
        progress: whether to show a bar with the loss and the time left.

    Raises:
        ValueError: a number that makes no sense; the text names it.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> FitConfig(epochs=5).batch_size
        64
    """

    epochs: int = 100
    batch_size: int | None = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    patience: int | None = None
    seed: int = 0
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        whole = {"epochs": self.epochs, "batch_size": self.batch_size, "patience": self.patience}
        for name, value in whole.items():
            if value is None and name != "epochs":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
        if not (_is_real(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(
                f"learning_rate: expected a number above 0, got {self.learning_rate!r}"
            )
        if not (_is_real(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(
                f"weight_decay: expected a number of at least 0, got {self.weight_decay!r}"
            )
        as_seed(self.seed)
        if not isinstance(self.progress, bool):
            raise ValueError(f"progress: expected True or False, got {self.progress!r}")


@dataclass(frozen=True)
class History:
    """What happened during training.

    Args:
        train_loss: mean loss over the items of each epoch, as the weights moved.
        validation_loss: loss after each epoch; empty where no validation data was given.
        best_epoch: the epoch, counted from 1, whose weights the model holds now.
        stopped_early: whether the patience ran out.
        steps: updates of the weights.
        seconds: wall-clock time.
        device: where it ran.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> History((2.0, 1.0), (), 2, False, 10, 0.1, "cpu").train_loss[-1]
        1.0
    """

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    best_epoch: int
    stopped_early: bool
    steps: int
    seconds: float
    device: str


def fit(
    model: nn.Module,
    loss_fn: LossFn,
    data: Sequence[Any],
    config: FitConfig | None = None,
    *,
    validation: Sequence[Any] | None = None,
    optimiser: OptimiserFn | None = None,
) -> History:
    r"""Minimise a loss over batches, and leave the model with its best weights.

    .. math:: \min_\theta \; \frac{1}{n} \sum_{i=1}^{n} \ell\big(f_\theta, (x_i, y_i, \dots)\big)

    Each epoch takes the items in a new order. With validation data the loss on it is computed
    after each epoch, in evaluation mode and without gradients; the weights of the best epoch
    are put back at the end, and ``config.patience`` may end training before. Without it the
    last weights stay. The same seed, data and initial weights give bit-identical weights on the
    same machine; torch's global random state is left as it was found.

    Args:
        model: any module; it is moved to the device, trained in place, and left there in
            evaluation mode.
        loss_fn: ``loss_fn(model, *batch)`` returns a finite scalar, a mean over the batch's
            items. ``model.training`` tells it whether it is called for training.
        data: arrays or tensors with one row an item, all of the same length n;
            ``(images, texts, labels)``, say. Floating-point numbers arrive as float32.
        config: see :class:`FitConfig`; None takes its defaults.
        validation: the same arrays for held-out items.
        optimiser: ``optimiser(parameters)`` returns a torch optimiser to use in place of AdamW;
            the configuration's learning rate and weight decay are then not used.

    Returns:
        The history.

    Raises:
        ValueError: no items, arrays of different length, a batch larger than the data (ask for
            fewer, or for None, which takes all of them), a patience without validation data,
            validation data of other arrays than the data, a model without trainable weights, a
            loss that is no scalar or does not depend on the weights, or an argument of another
            kind than named above.
        FloatingPointError: the loss is NaN or infinite; the text names the step.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> x = torch.arange(8.0)[:, None]
        >>> with seeded(0):
        ...     line = nn.Linear(1, 1)
        >>> def squared_error(model, x, y):
        ...     return (model(x) - y).square().mean()
        >>> config = FitConfig(epochs=3, batch_size=4, device="cpu", progress=False)
        >>> history = fit(line, squared_error, (x, 2 * x), config)
        >>> history.steps, history.train_loss[0] > history.train_loss[-1]
        (6, True)
    """
    _check_kinds(model, loss_fn, config, optimiser)
    config = config or FitConfig()
    device = _device(config.device)
    train = _tensors(data, "data", device)
    held_out = None if validation is None else _tensors(validation, "validation", device)
    if held_out is not None and len(held_out) != len(train):
        raise ValueError(
            f"validation: expected {len(train)} arrays like data, got {len(held_out)}; the loss is "
            "called with the same arguments for both"
        )
    n = train[0].shape[0]
    batch_size = n if config.batch_size is None else int(config.batch_size)
    if batch_size > n:
        raise ValueError(
            f"batch_size: {batch_size} items a step, but the data has {n}; use at most {n}, or "
            "None for all of them at once"
        )
    if config.patience is not None and held_out is None:
        raise ValueError(
            f"patience: {config.patience} epochs without a lower validation loss, but there is "
            "no validation data; pass validation=(…), or patience=None"
        )
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weights:
        raise ValueError("model: has no trainable weights, so there is nothing to fit")
    model.to(device)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optimiser is None:
        steps = torch.optim.AdamW(
            weights, lr=config.learning_rate, weight_decay=config.weight_decay
        )
    else:
        steps = optimiser(weights)  # type: ignore[assignment]
        if not isinstance(steps, torch.optim.Optimizer):
            raise ValueError(f"optimiser: expected it to return a torch optimiser, got {steps!r}")

    started = time.perf_counter()
    train_loss: list[float] = []
    validation_loss: list[float] = []
    best: dict[str, Tensor] | None = None
    best_epoch, stopped, step = config.epochs, False, 0
    total = config.epochs * math.ceil(n / batch_size)
    with (
        seeded(config.seed) as generator,
        progress_bar(total, type(model).__name__, shown=config.progress, unit="step") as bar,
    ):
        for epoch in range(1, config.epochs + 1):
            model.train()
            summed = 0.0
            for rows in torch.randperm(n, generator=generator).split(batch_size):
                step += 1
                batch = [tensor[rows.to(device)] for tensor in train]
                loss = _scalar(loss_fn(model, *batch))
                if not loss.requires_grad:
                    raise ValueError(
                        "loss_fn: the loss does not depend on the model's weights; compute it from "
                        "model(…), without detach() or no_grad()"
                    )
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"the loss is {value} at step {step} (epoch {epoch}): look for NaN in "
                        f"the data, or lower the learning rate ({config.learning_rate:g})"
                    )
                steps.zero_grad(set_to_none=True)
                loss.backward()
                steps.step()
                summed += value * len(rows)
                bar.update(1)
            train_loss.append(summed / n)
            shown = {"loss": f"{train_loss[-1]:.4f}"}
            if held_out is not None:
                validation_loss.append(_evaluate(model, loss_fn, held_out, batch_size, epoch))
                shown["validation"] = f"{validation_loss[-1]:.4f}"
                if best is None or validation_loss[-1] < min(validation_loss[:-1]):
                    best_epoch = epoch
                    best = {k: v.detach().clone() for k, v in model.state_dict().items()}
                stopped = config.patience is not None and epoch - best_epoch >= config.patience
            bar.set_postfix(shown)
            if stopped:
                break
    if best is not None:
        model.load_state_dict(best)
    model.eval()
    return History(
        tuple(train_loss),
        tuple(validation_loss),
        best_epoch,
        stopped,
        step,
        time.perf_counter() - started,
        str(device),
    )


def _is_real(value: Any) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and bool(np.isfinite(value))


def _check_kinds(model: Any, loss_fn: Any, config: Any, optimiser: Any) -> None:
    """Raise a ValueError where an argument of ``fit`` is of a kind that cannot work."""
    for name, value, right, wanted in (
        ("model", model, isinstance(model, nn.Module), "a torch module"),
        ("loss_fn", loss_fn, callable(loss_fn), "a function of (model, *batch)"),
        ("config", config, config is None or isinstance(config, FitConfig), "a FitConfig or None"),
        (
            "optimiser",
            optimiser,
            optimiser is None or callable(optimiser),
            "a function of the parameters, or None",
        ),
    ):
        if not right:
            raise ValueError(f"{name}: expected {wanted}, got {type(value).__name__}")


def _device(name: str) -> torch.device:
    if not isinstance(name, str):
        raise ValueError(f'device: expected a name such as "cpu" or "auto", got {name!r}')
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: {name!r} is no device torch knows ({error})") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError('device: no CUDA device here; use "cpu", or "auto" for what there is')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: {name!r} asked for, but there are {torch.cuda.device_count()} CUDA devices, "
            'counted from 0; use one of them, or "auto"'
        )
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'device: {name!r} cannot be used here; use "cpu" or "auto"') from error
    return device


def _tensors(arrays: Sequence[Any], name: str, device: torch.device) -> list[Tensor]:
    """Return the arrays as tensors on ``device``, floating-point ones as float32."""
    if isinstance(arrays, Tensor | np.ndarray | str) or not isinstance(arrays, Sequence):
        raise ValueError(f"{name}: expected a tuple of arrays, got {type(arrays).__name__}")
    if not arrays:
        raise ValueError(f"{name}: expected at least one array, got none")
    tensors: list[Tensor] = []
    for i, array in enumerate(arrays):
        # A copy, because arrays of a data set are read-only and torch would warn.
        tensor = array if isinstance(array, Tensor) else _copied(array, f"{name}[{i}]")
        if tensor.is_meta or tensor.layout != torch.strided:
            raise ValueError(
                f"{name}[{i}]: expected a dense tensor with values; use .to_dense() on a sparse one"
            )
        if tensor.ndim < 1 or tensor.shape[0] == 0:
            raise ValueError(
                f"{name}[{i}]: expected one row an item, at least one; "
                f"got shape {tuple(tensor.shape)}"
            )
        if tensor.shape[0] != len(tensors[0] if tensors else tensor):
            raise ValueError(
                f"{name}[{i}]: has {tensor.shape[0]} rows and {name}[0] has {len(tensors[0])}: "
                "row i of each must belong to the same item"
            )
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
        tensors.append(tensor.detach().to(device))
    return tensors


def _copied(array: Any, name: str) -> Tensor:
    values = as_array(array, name)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, one row an item, got {values.dtype}")
    native = values.dtype.newbyteorder("=")
    if native == np.longdouble:
        native = np.dtype(np.float64)
    return torch.from_numpy(np.array(values, dtype=native))


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn: expected a scalar tensor, got {what}; take the mean")
    if not loss.is_floating_point():
        raise ValueError(f"loss_fn: expected a floating-point number, got {loss.dtype}")
    return loss


def _evaluate(
    model: nn.Module, loss_fn: LossFn, data: list[Tensor], batch_size: int, epoch: int
) -> float:
    """Return the mean loss over held-out items, batch by batch in their own order."""
    model.eval()
    n = data[0].shape[0]
    summed = 0.0
    with torch.no_grad():
        for start in range(0, n, batch_size):
            batch = [tensor[start : start + batch_size] for tensor in data]
            summed += float(_scalar(loss_fn(model, *batch))) * batch[0].shape[0]
    if not math.isfinite(summed):
        raise FloatingPointError(
            f"the validation loss is {summed / n} after epoch {epoch}: look for NaN in the "
            "validation data"
        )
    return summed / n

"""The loop behind every trained model of the course."""

from __future__ import annotations

import copy
import inspect
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlalign_lib._fast import form
from vlalign_lib._validate import as_array
from vlalign_lib.training.config import (
    FitConfig,
    as_device,
    reproducible,
    warmup_constant,
    warmup_cosine,
)
from vlalign_lib.training.history import FitContext, History, TrainState
from vlalign_lib.training.keeper import Keeper
from vlalign_lib.training.samplers import PairedSampler, Sampler

LossFn = Callable[..., Tensor]
"""``loss_fn(model, *batch)`` returns a scalar; ``model.training`` is false in validation."""
ScheduleFn = Callable[[int, int], float]
"""``schedule(step, total)`` returns the share of the learning rate for the next update."""
OptimiserFn = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
MonitorFn = Callable[[nn.Module], float]
Columns = list[Tensor | None]
"""Tensors with one row an item; None for a view that is missing."""


def fit(
    model: nn.Module,
    loss_fn: LossFn,
    data: Sequence[Any],
    config: FitConfig | None = None,
    *,
    validation: Sequence[Any] | None = None,
    optimiser: OptimiserFn | None = None,
    sampler: Sampler | None = None,
    schedule: ScheduleFn | None = None,
    monitor: MonitorFn | None = None,
    keeper: Keeper | None = None,
) -> History:
    r"""Minimise a loss over batches, and leave the model with its best weights.

    .. math:: \min_\theta \; \frac{1}{n} \sum_{i=1}^{n} \ell\big(f_\theta, (x_i, y_i, \dots)\big)

    Each epoch takes the items in a new order. With validation data the loss on it is computed
    after each epoch, in evaluation mode, in full precision and without gradients; the weights of
    the best epoch are put back at the end, and ``config.patience`` may end training before.
    Without it the last weights stay. The same seed, data and initial weights give bit-identical
    weights on the same machine; global random states are left as they were found.

    With ``config.folder`` the run can be killed at any moment and started again by the same call:
    it goes on from its last checkpoint and ends in the same bits as if nothing had happened. A
    run that has ended is only read back. The checkpoint of another call is refused: other
    settings, data, layers, optimiser or sampler settings, shares of a schedule, or a loss or a
    monitor of another name. Functions are known by their names alone; give two of one name a
    folder of its own each. Initial weights are not compared.

    Under ``torchrun`` each process computes an equal share of every batch and the gradients are
    averaged, whichever parts of the model the loss calls and whether it gathers the rows of all
    processes or not. Give every process the same data and the same model; the weights start as
    those of rank 0, which alone writes files and shows progress. Buffers such as the running
    statistics of batch normalisation are rank 0's.

    Args:
        model: any module; it is moved to the device, trained in place, and left there in
            evaluation mode. Whatever else has weights or running values (label heads,
            discriminators, class centres, a temperature) is a part of it.
        loss_fn: ``loss_fn(model, *batch)`` returns a finite scalar, a mean over the batch's
            items. ``model.training`` tells it whether it is called for training. Where it has a
            parameter named ``context``, it is given a :class:`FitContext` under that name.
            Weights that the loss of a step does not reach stay as they are in that step.
        data: arrays or tensors with one row an item, all of the same length n;
            ``(images, texts, labels)``, say. None stands for a view that is missing and arrives
            as None. Floating-point numbers arrive as float64 where a weight is float64, else as
            float32.
        config: see :class:`FitConfig`; None takes its defaults.
        validation: the same arrays for held-out items.
        optimiser: ``optimiser(parameters)`` returns a torch optimiser to use in place of AdamW;
            the configuration's learning rate and weight decay are then not used.
        sampler: which items make a batch, a :class:`ClassBalancedSampler` say, in place of a
            :class:`PairedSampler` of the configuration's ``batch_size``, ``drop_last`` and
            ``seed``.
        schedule: ``schedule(step, total)`` returns the share of the learning rate for the next
            update, in place of the configuration's one. It is a function of these two alone: it
            may be asked about any step, in any order.
        monitor: ``monitor(model)`` returns the number by which epochs are compared, the smaller
            the better, in place of the validation loss: minus a mean average precision, say. It is
            called in evaluation mode, without gradients.
        keeper: what else happens while the loop runs, see :class:`Keeper`; None takes the
            engine's, which does what the configuration asks for besides the numbers.

    Returns:
        The history.

    Raises:
        ValueError: no items, arrays of different length, a batch larger than the data (ask for
            fewer, or for None, which takes all of them), a patience without validation data,
            validation data of other arrays than the data, a model without trainable weights or
            with trainable ones narrower than float32 (whose small updates would be lost: keep them
            in float32 and ask for ``precision="bf16"``), a loss that is no scalar or does not
            depend on the weights, a batch that the processes cannot share evenly, a folder with
            the checkpoint of another run, with a damaged one or with one of an earlier version, or
            an argument of another kind than named above.
        FloatingPointError: the loss is NaN or infinite; the text names the step and what to try.
        MemoryError: out of memory; the text names the batch size and what to set.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> from vlalign_lib.training import seeded
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
    functions = {"loss_fn": loss_fn, "schedule": schedule, "monitor": monitor}
    others = {"config": config, "sampler": sampler, "keeper": keeper, "optimiser": optimiser}
    _check_kinds(model=model, **functions, **others)
    config = config or FitConfig()
    keeper = (form("keeper") or Keeper)() if keeper is None else keeper
    device = as_device(keeper.open(config))
    weights, dtype = _trainable(model)
    train = _as_columns(data, "data", dtype)
    held_out = None if validation is None else _as_columns(validation, "validation", dtype)
    _check_held_out(train, held_out, config, monitor)
    if sampler is None:
        n = _count(train)
        sampler = PairedSampler(n, config.batch_size, drop_last=config.drop_last, seed=config.seed)
    total = config.epochs * len(sampler)
    curve = schedule or _schedule(config)
    curve(0, total)  # a warm-up that is too long is told before anything is trained
    with keeper.guard("the model"):
        model.to(device)
    optim = _optimiser(weights, optimiser, config)
    with_context = _takes_context(loss_fn)
    state = TrainState()
    began = time.perf_counter()

    def loss_of(columns: Columns, rows: Tensor | slice) -> Tensor:
        made = state.step - 1 if model.training else state.step
        context = FitContext(state.step, state.epoch, made / total, model.training, rng)
        extra = {"context": context} if with_context else {}
        return _checked(loss_fn(model, *_batch(columns, rows, device), **extra), model.training)

    def validation_loss() -> float:
        if monitor is not None:
            with keeper.guard("the monitor"):
                return float(monitor(model))
        assert held_out is not None
        n, size, summed = _count(held_out), max(sampler.sizes), 0.0
        with keeper.guard("validation", min(n, size)):
            for start in range(0, n, size):
                rows = slice(start, min(start + size, n))
                summed += float(loss_of(held_out, rows)) * (rows.stop - rows.start)
        return summed / n

    with reproducible(config.seed, keeper.rank, device) as rng, closing(keeper):
        columns = {"data": train, "validation": held_out}
        run = {"model": model, "optimiser": optim, "sampler": sampler, "state": state, "rng": rng}
        keeper.start(**run, device=device, columns=columns, functions=functions)
        train, held_out = _placed(train, device), held_out and _placed(held_out, device)
        while not state.ended:
            model.train()
            for rows in sampler:
                state.step += 1
                for group in optim.param_groups:
                    group["lr"] = group["initial_lr"] * float(curve(state.step - 1, total))
                with keeper.step(rows) as own_rows:
                    loss = loss_of(train, own_rows)
                    value = keeper.mean(loss.detach())
                    _check_finite("loss", value, state, optim)
                    optim.zero_grad(set_to_none=True)
                    keeper.backward(loss)
                    if config.max_grad_norm is not None:
                        norm = nn.utils.clip_grad_norm_(weights, config.max_grad_norm)
                        if not keeper.scales_loss:
                            _check_finite("gradient's norm", float(norm), state, optim)
                    keeper.update(optim)
                state.summed += value * len(rows)
                state.seen += len(rows)
                keeper.after_step()
            state.train_loss.append(state.summed / state.seen)
            if held_out is not None or monitor is not None:
                model.eval()
                with torch.no_grad():
                    value = keeper.mean(validation_loss())
                _check_validation(value, state.epoch)
                if not state.best_epoch or value < min(state.validation_loss):
                    state.best_epoch, state.best = state.epoch, copy.deepcopy(model.state_dict())
                state.validation_loss.append(value)
            waited = state.epoch - state.best_epoch
            state.stopped_early = config.patience is not None and waited >= config.patience
            state.ended = state.stopped_early or state.epoch == config.epochs
            state.epoch, state.summed, state.seen = state.epoch + 1, 0.0, 0
            keeper.after_epoch()
    if state.best is not None:
        model.load_state_dict(state.best)
    model.eval()
    return History(
        train_loss=tuple(state.train_loss),
        validation_loss=tuple(state.validation_loss),
        best_epoch=state.best_epoch or len(state.train_loss),
        stopped_early=state.stopped_early,
        steps=state.step,
        device=str(device),
        **{"seconds": time.perf_counter() - began, **keeper.cost()},
    )


# What fit is given, and what may be wrong with it.

_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (lambda value: isinstance(value, nn.Module), "a torch module"),
    "loss_fn": (callable, "a function of (model, *batch)"),
    "config": (lambda value: isinstance(value, FitConfig), "a FitConfig or None"),
    "optimiser": (callable, "a function of the parameters, or None"),
    "sampler": (lambda value: isinstance(value, Sampler), "a Sampler or None"),
    "schedule": (callable, "a function of (step, total), or None"),
    "monitor": (callable, "a function of the model, or None"),
    "keeper": (lambda value: hasattr(value, "after_step"), "a Keeper or None"),
}


def _check_kinds(**given: Any) -> None:
    """Raise a ValueError where an argument of ``fit`` is of a kind that cannot work."""
    for name, value in given.items():
        right, what = _KINDS[name]
        if not right(value) and not (value is None and what.endswith("None")):
            raise ValueError(f"{name}: expected {what}, got {type(value).__name__}")


def _trainable(model: nn.Module) -> tuple[list[nn.Parameter], torch.dtype]:
    """Return the weights to train, and the precision in which data arrive."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("model: has no trainable weights, so there is nothing to fit")
    for weight in weights:
        if weight.is_floating_point() and weight.element_size() < 4:
            raise ValueError(
                f"model: has trainable weights in {weight.dtype}, in which most updates are too "
                "small to be seen; keep them in float32 with model.float(), and ask for narrow "
                'arithmetic alone with FitConfig(precision="bf16")'
            )
    wide = any(weight.dtype == torch.float64 for weight in model.parameters())
    return weights, torch.float64 if wide else torch.float32


def _as_columns(arrays: Sequence[Any], name: str, dtype: torch.dtype) -> Columns:
    """Return the arrays as tensors where they lie, floating-point ones in ``dtype``."""
    if isinstance(arrays, Tensor | np.ndarray | str) or not isinstance(arrays, Sequence):
        raise ValueError(f"{name}: expected a tuple of arrays, got {type(arrays).__name__}")
    columns = [
        None if array is None else _as_column(array, f"{name}[{i}]", dtype)
        for i, array in enumerate(arrays)
    ]
    counts = [(f"{name}[{i}]", len(c)) for i, c in enumerate(columns) if c is not None]
    if not counts:
        raise ValueError(f"{name}: expected at least one array, got none")
    for other, n in counts:
        if n != counts[0][1]:
            raise ValueError(
                f"{other}: has {n} rows and {counts[0][0]} has {counts[0][1]}: "
                "row i of each must belong to the same item"
            )
    return columns


def _as_column(array: Any, name: str, dtype: torch.dtype) -> Tensor:
    if not isinstance(array, Tensor):
        values = as_array(array, name)
        if values.dtype.kind not in "fiub":
            raise ValueError(f"{name}: expected real numbers, one row an item, got {values.dtype}")
        wide = values.dtype.newbyteorder("=") == np.longdouble
        # A copy, because arrays of a data set are read-only and torch would warn.
        native = np.dtype(np.float64) if wide else values.dtype.newbyteorder("=")
        array = torch.from_numpy(np.array(values, dtype=native))
    if array.is_meta or array.layout != torch.strided:
        raise ValueError(
            f"{name}: expected a dense tensor with values; use .to_dense() on a sparse one"
        )
    if array.ndim < 1 or len(array) == 0:
        raise ValueError(
            f"{name}: expected one row an item, at least one; got shape {tuple(array.shape)}"
        )
    return array.detach().to(dtype if array.is_floating_point() else array.dtype)


def _count(columns: Columns) -> int:
    """Return the number of items."""
    return next(len(column) for column in columns if column is not None)


def _placed(columns: Columns, device: torch.device) -> Columns:
    """Return the columns on ``device`` where half of its free memory holds them; else as they are.

    What stays behind is moved batch by batch.
    """
    if device.type == "cuda":
        size = sum(c.numel() * c.element_size() for c in columns if c is not None)
        if size > torch.cuda.mem_get_info(device)[0] / 2:
            return columns
    return [None if column is None else column.to(device) for column in columns]


def _batch(columns: Columns, rows: Tensor | slice, device: torch.device) -> Columns:
    """Return the given rows of each column, on ``device``."""
    batch: Columns = []
    for column in columns:
        if column is not None:
            here = rows if isinstance(rows, slice) else rows.to(column.device)
            column = column[here].to(device)
        batch.append(column)
    return batch


def _check_held_out(
    train: Columns, held_out: Columns | None, config: FitConfig, monitor: MonitorFn | None
) -> None:
    if held_out is not None and len(held_out) != len(train):
        raise ValueError(
            f"validation: expected {len(train)} arrays like data, got {len(held_out)}; the loss is "
            "called with the same arguments for both"
        )
    if config.patience is not None and held_out is None and monitor is None:
        raise ValueError(
            f"patience: {config.patience} epochs without a lower validation loss, but there is "
            "no validation data; pass validation=(…), or patience=None"
        )


def _schedule(config: FitConfig) -> ScheduleFn:
    curve = warmup_cosine if config.schedule == "cosine" else warmup_constant
    return partial(curve, warmup=config.warmup, start=config.warmup_start)


def _optimiser(
    weights: list[nn.Parameter], optimiser: OptimiserFn | None, config: FitConfig
) -> torch.optim.Optimizer:
    rate, decay = config.learning_rate, config.weight_decay
    adamw = partial(torch.optim.AdamW, lr=rate, weight_decay=decay)
    made: Any = (optimiser or adamw)(weights)
    if not isinstance(made, torch.optim.Optimizer):
        raise ValueError(f"optimiser: expected it to return a torch optimiser, got {made!r}")
    for group in made.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return made


def _takes_context(loss_fn: LossFn) -> bool:
    """Return whether a loss has a parameter named ``context``."""
    if isinstance(loss_fn, nn.Module) and loss_fn.state_dict():
        raise ValueError(
            f"loss_fn: {type(loss_fn).__name__} has weights or running values of its own, which "
            "would neither be trained nor saved; make it a part of the model, "
            "model.extra = …, and call it as model.extra(…) in the loss"
        )
    try:
        return "context" in inspect.signature(loss_fn).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False


def _checked(loss: Any, training: bool) -> Tensor:
    """Return what a loss function returned, or raise a ValueError where it is no loss."""
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss_fn: expected a scalar tensor, got {what}; take the mean")
    if not loss.is_floating_point():
        raise ValueError(f"loss_fn: expected a floating-point number, got {loss.dtype}")
    if training and not loss.requires_grad:
        raise ValueError(
            "loss_fn: the loss does not depend on the model's weights; compute it from "
            "model(…), without detach() or no_grad()"
        )
    return loss


def _check_finite(
    what: str, value: float, state: TrainState, optimiser: torch.optim.Optimizer
) -> None:
    if not math.isfinite(value):
        rate = float(optimiser.param_groups[0]["lr"])
        raise FloatingPointError(
            f"the {what} is {value} at step {state.step} (epoch {state.epoch}), with a learning "
            f"rate of {rate:g}: look for NaN in the data; else try learning_rate={rate / 10:g}, a "
            "warm-up, or max_grad_norm=1.0"
        )


def _check_validation(value: float, epoch: int) -> None:
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the validation loss is {value} after epoch {epoch}: look for NaN in the "
            "validation data"
        )

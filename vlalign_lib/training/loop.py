"""The loop behind every trained model of the course."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from vlalign_lib.training._data import Columns, as_columns, count, place
from vlalign_lib.training._device import as_device, deterministic
from vlalign_lib.training._engine import Engine, LossFn, ScheduleFn
from vlalign_lib.training._errors import memory_advice
from vlalign_lib.training._identity import identity_of
from vlalign_lib.training._precision import mixed_dtype
from vlalign_lib.training._randomness import randomness
from vlalign_lib.training._run import MonitorFn, Run
from vlalign_lib.training.checkpoint import CheckpointFolder
from vlalign_lib.training.config import FitConfig
from vlalign_lib.training.context import takes_context
from vlalign_lib.training.distributed import check_alike, copy_from_first, world
from vlalign_lib.training.history import History
from vlalign_lib.training.samplers import PairedSampler, Sampler
from vlalign_lib.training.schedules import warmup_constant, warmup_cosine

OptimiserFn = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


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
    settings, data, layers, optimiser or sampler settings, shares of a schedule, or code of the
    loss and the monitor. Functions with the same code around which other variables stand (two
    closures of one ``def``) cannot be told apart; give each a folder of its own. Initial weights
    are not compared.

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
            as None. Floating-point numbers arrive in the precision of the weights, float32 or
            float64.
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

    Returns:
        The history.

    Raises:
        ValueError: no items, arrays of different length, a batch larger than the data (ask for
            fewer, or for None, which takes all of them), a patience without validation data,
            validation data of other arrays than the data, a model without trainable weights, a
            loss that is no scalar or does not depend on the weights, a batch that the processes
            cannot share evenly, a folder with the checkpoint of another run, with a damaged one
            or with one of an earlier version, or an argument of another kind than named above.
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
    _check_kinds(
        model,
        loss_fn=loss_fn,
        config=config,
        optimiser=optimiser,
        sampler=sampler,
        schedule=schedule,
        monitor=monitor,
    )
    config = config or FitConfig()
    device = as_device(config.device)
    processes = world(device=device.type, timeout=config.timeout)
    wide = any(weight.dtype == torch.float64 for weight in model.parameters())
    precision = torch.float64 if wide else torch.float32
    train = as_columns(data, "data", precision)
    held_out = None if validation is None else as_columns(validation, "validation", precision)
    check_alike(
        data=f"{count(train)} items",
        validation="none" if held_out is None else f"{count(held_out)} items",
        config=str(config.settings()),
        model=f"{sum(weight.numel() for weight in model.parameters())} weights",
    )
    _check_held_out(train, held_out, config, monitor)
    if sampler is None:
        sampler = PairedSampler(
            count(train), config.batch_size, drop_last=config.drop_last, seed=config.seed
        )
    for size in sampler.sizes:
        processes.check_even(size)
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError("model: has no trainable weights, so there is nothing to fit")
    with memory_advice("the model", on_gpu=['device="cpu"', "free what else lies on the GPU"]):
        model.to(device)
    copy_from_first([*model.parameters(), *model.buffers()])
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    total = config.epochs * len(sampler)
    engine = Engine(
        model,
        loss_fn,
        takes_context(loss_fn),
        weights,
        _optimiser(weights, optimiser, config),
        schedule or _schedule(config),
        total,
        config.max_grad_norm,
        mixed_dtype(config.precision, device),
        device,
        processes,
    )
    engine.schedule(0, total)  # a warm-up that is too long is told before anything is trained
    with randomness(config.seed, processes.rank, device) as streams, deterministic(device):
        run = Run(config, engine, sampler, streams)
        try:
            if config.folder is not None:
                identity = identity_of(config, engine, sampler, schedule, monitor, train, held_out)
                run.open(CheckpointFolder(config.folder), identity)
            run.train(place(train, device), held_out and place(held_out, device), monitor)
        finally:
            run.close()
        return run.finish()


def _check_kinds(model: Any, **others: Any) -> None:
    """Raise a ValueError where an argument of ``fit`` is of a kind that cannot work."""
    wanted: dict[str, tuple[Callable[[Any], bool], str]] = {
        "loss_fn": (callable, "a function of (model, *batch)"),
        "config": (lambda c: c is None or isinstance(c, FitConfig), "a FitConfig or None"),
        "optimiser": (_callable_or_none, "a function of the parameters, or None"),
        "sampler": (lambda s: s is None or isinstance(s, Sampler), "a Sampler or None"),
        "schedule": (_callable_or_none, "a function of (step, total), or None"),
        "monitor": (_callable_or_none, "a function of the model, or None"),
    }
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: expected a torch module, got {type(model).__name__}")
    for name, value in others.items():
        right, what = wanted[name]
        if not right(value):
            raise ValueError(f"{name}: expected {what}, got {type(value).__name__}")


def _callable_or_none(value: Any) -> bool:
    return value is None or callable(value)


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


def _optimiser(
    weights: list[nn.Parameter], optimiser: OptimiserFn | None, config: FitConfig
) -> torch.optim.Optimizer:
    if optimiser is None:
        return torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay)
    made: Any = optimiser(weights)
    if not isinstance(made, torch.optim.Optimizer):
        raise ValueError(f"optimiser: expected it to return a torch optimiser, got {made!r}")
    return made


def _schedule(config: FitConfig) -> ScheduleFn:
    curve = warmup_cosine if config.schedule == "cosine" else warmup_constant
    return partial(curve, warmup=config.warmup, start=config.warmup_start)

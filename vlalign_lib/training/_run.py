"""A run from its first update, or from its checkpoint, to its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vlalign_lib._progress import progress_bar
from vlalign_lib.training._data import Columns
from vlalign_lib.training._engine import Engine, apart
from vlalign_lib.training._errors import memory_advice
from vlalign_lib.training._identity import check_identity, identity_hash
from vlalign_lib.training._log import RunLog
from vlalign_lib.training._randomness import Randomness
from vlalign_lib.training._spent import Purse, Spent
from vlalign_lib.training.checkpoint import CheckpointFolder, no_checkpoint
from vlalign_lib.training.config import FitConfig
from vlalign_lib.training.context import FitContext
from vlalign_lib.training.distributed import gather_objects, object_from_first
from vlalign_lib.training.history import History
from vlalign_lib.training.samplers import Sampler

T = TypeVar("T", "Standing", Spent)
MonitorFn = Callable[[nn.Module], float]


@dataclass
class Standing:
    """Where a run stands between two updates."""

    step: int = 0
    epoch: int = 1
    summed: float = 0.0  # the losses of this epoch's items so far
    seen: int = 0
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0  # 0 where nothing was validated yet
    ended: bool = False
    stopped_early: bool = False


class Run:
    """A run in the making; see :func:`vlalign_lib.training.fit`."""

    def __init__(
        self, config: FitConfig, engine: Engine, sampler: Sampler, streams: Randomness
    ) -> None:
        self.config, self.engine, self.sampler, self.streams = config, engine, sampler, streams
        self.at = Standing()
        self.best: dict[str, Tensor] | None = None
        self._purse, self._saved = Purse(engine.device), Spent()
        self._folder: CheckpointFolder | None = None
        self._identity: dict[str, Any] = {}
        self._best_file: str | None = None
        self._log: RunLog | None = None

    def open(self, folder: CheckpointFolder, identity: dict[str, Any]) -> None:
        """Go on from the checkpoint in a folder, or start anew there."""
        first = self.engine.world.first
        self._folder, self._identity = folder, identity
        state = object_from_first(_found(folder, self.config.resume) if first else None)
        if isinstance(state, ValueError):
            raise state
        if state is not None:
            check_identity(state["identity"], identity, folder.path)
            try:
                with memory_advice("the checkpoint"):
                    self._restore(state)
            except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as e:
                # Only a file made by hand: what the reader and the identity do not look into.
                raise no_checkpoint(folder.last, "what it holds does not fit this run") from e
        if first:
            self._log = RunLog(
                folder.log,
                keep=0 if state is None else state["log_bytes"],
                step=self.at.step,
                tensorboard=self.config.tensorboard,
            )

    def train(self, train: Columns, held_out: Columns | None, monitor: MonitorFn | None) -> None:
        """Take all updates that are still to be taken."""
        at, engine, config = self.at, self.engine, self.config
        shown = config.progress and engine.world.first and not at.ended
        label = type(engine.model).__name__
        with progress_bar(engine.total, label, shown=shown, unit="step") as bar:
            bar.initial = bar.n = at.step
            while not at.ended:
                engine.model.train()
                for rows in self.sampler:
                    at.step += 1
                    at.summed += engine.update(train, rows, self._context()) * len(rows)
                    at.seen += len(rows)
                    bar.set_postfix_str(f"loss={at.summed / at.seen:.4f}", refresh=False)
                    bar.update(1)
                    if self.sampler.given == len(self.sampler):
                        continue  # the epoch's last one, which _end_epoch logs and saves
                    if self._due(config.log_every):
                        self._write(loss=at.summed / at.seen)
                    if self._due(config.checkpoint_every):
                        self._save()
                at.train_loss.append(at.summed / at.seen)
                losses = {"loss": at.train_loss[-1]}
                if held_out is not None or monitor is not None:
                    losses["validation"] = self._validate(held_out, monitor)
                bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()})
                self._end_epoch(losses)

    def finish(self) -> History:
        """Put the best weights back, and tell what happened."""
        if self.best is not None:
            self.engine.model.load_state_dict(self.best)
        self.engine.model.eval()
        at = self.at
        # With a folder what the last checkpoint tells, so that it is the same when read back.
        spent = self._purse.spent() if self._folder is None else self._saved
        return History(
            tuple(at.train_loss),
            tuple(at.validation_loss),
            at.best_epoch or len(at.train_loss),
            at.stopped_early,
            at.step,
            spent.seconds,
            str(self.engine.device),
            spent.peak_mb,
            spent.peak_gpu_mb,
            spent.joules,
            self.engine.world.size,
        )

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def _context(self) -> FitContext:
        at, training = self.at, self.engine.model.training
        made = at.step - 1 if training else at.step
        return FitContext(at.step, at.epoch, made / self.engine.total, training, self.streams.rng)

    def _validate(self, held_out: Columns | None, monitor: MonitorFn | None) -> float:
        """Return the number that epochs are compared by, the same on every process."""
        at, model = self.at, self.engine.model
        model.eval()
        if monitor is not None:
            fewer = "let it look at fewer items at a time"
            advice = memory_advice("the monitor", otherwise=fewer)
            with torch.no_grad(), apart(self.engine.world), advice:
                value = float(monitor(model))
        else:
            assert held_out is not None
            value = self.engine.evaluate(held_out, max(self.sampler.sizes), self._context())
        value = object_from_first(value)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the validation loss is {value} after epoch {at.epoch}: look for NaN in the "
                "validation data"
            )
        if not at.best_epoch or value < min(at.validation_loss):
            at.best_epoch, self.best = at.epoch, _copied(model)
            self._best_file = None
        at.validation_loss.append(value)
        return value

    def _end_epoch(self, losses: dict[str, float]) -> None:
        at, patience = self.at, self.config.patience
        names = {"loss": "train_loss", "validation": "validation_loss"}
        of_step = {"loss": losses["loss"]} if self._due(self.config.log_every) else {}
        of_epoch = {names[name]: value for name, value in losses.items()}
        self._write(**of_step, epoch=at.epoch, **of_epoch)
        at.stopped_early = patience is not None and at.epoch - at.best_epoch >= patience
        at.ended = at.stopped_early or at.epoch == self.config.epochs
        at.epoch, at.summed, at.seen = at.epoch + 1, 0.0, 0
        self._save()

    def _due(self, every: int | None) -> bool:
        return every is not None and self.at.step % every == 0

    def _write(self, **values: float) -> None:
        if self._log is not None:
            rate, spent = self.engine.rate, round(self._purse.seconds, 3)
            self._log.write(
                {"step": self.at.step, **values, "learning_rate": rate, "seconds": spent}
            )

    def _save(self) -> None:
        """Write a checkpoint; all processes take part, rank 0 writes."""
        if self._folder is None:
            return
        streams, self._saved = gather_objects(self.streams.state_dict()), self._purse.spent()
        if self._log is None:  # another rank's work
            return
        engine, at = self.engine, self.at
        if self.best is not None and self._best_file is None:
            self._best_file = self._folder.save_best(at.best_epoch, self.best)
        self._folder.save(
            {
                "identity": self._identity,
                "identity_hash": identity_hash(self._identity),
                "world_size": engine.world.size,
                "model": engine.model.state_dict(),
                "optimiser": engine.optimiser.state_dict(),
                "scaler": engine.scaler.state_dict(),
                "schedule": {"step": at.step, "total": engine.total},
                "sampler": self.sampler.state_dict(),
                "randomness": streams,
                "standing": asdict(at),
                "best": self._best_file,
                "spent": asdict(self._saved),
                "log_bytes": self._log.settle(),
            }
        )

    def _restore(self, state: dict[str, Any]) -> None:
        engine = self.engine
        engine.model.load_state_dict(state["model"])
        engine.optimiser.load_state_dict(state["optimiser"])
        engine.scaler.load_state_dict(state["scaler"])
        self.sampler.load_state_dict(state["sampler"])
        self.streams.load_state_dict(state["randomness"][engine.world.rank])
        self.at = _whole(Standing, state["standing"])
        self.best, self._best_file = state["best_weights"], state["best"]
        self._purse.before = self._saved = _whole(Spent, state["spent"])


def _whole(kind: type[T], values: dict[str, Any]) -> T:
    """Return a record from all of its entries: none missing, none that it does not have."""
    if values.keys() != kind.__dataclass_fields__.keys():
        raise KeyError(kind.__name__)
    return kind(**values)


def _found(folder: CheckpointFolder, resume: bool) -> dict[str, Any] | ValueError | None:
    """Return the checkpoint in a folder, or the error, which is for all processes to raise."""
    try:
        folder.make()
        if resume:
            return folder.load()
        folder.clear()
    except ValueError as error:
        return error
    return None


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}

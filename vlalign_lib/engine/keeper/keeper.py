"""The keeper that the training loop is handed: see the hooks of ``vlalign_lib.training.Keeper``."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vlalign_lib._cost import CostMeter
from vlalign_lib._tensors import alone

_ON_CPU = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator")
_ON_GPU = ("CUDA error: out of memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
# What helps where no smaller batch does, and what else on a GPU.
_ADVICE: dict[str, tuple[str, Sequence[str]]] = {
    "the model": ("use a smaller model", ('device="cpu"', "free what else lies on the GPU")),
    "the monitor": ("let it look at fewer items at a time", ()),
}


@contextmanager
def memory_advice(
    what: str,
    items: int | None = None,
    on_gpu: Sequence[str] = (),
    *,
    otherwise: str = "use a smaller model",
) -> Iterator[None]:
    """Turn running out of memory inside a ``with`` block into advice on what to set.

    Args:
        what: what was to be held, "a step" say.
        items: of the batch, where a smaller one would help; None where its size has no say.
        on_gpu: what else would help, where it is a GPU's memory that is full.
        otherwise: what helps where no smaller batch does.

    Raises:
        MemoryError: the memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's OutOfMemoryError is a RuntimeError
        text = str(error)
        gpu = isinstance(error, torch.cuda.OutOfMemoryError) or any(w in text for w in _ON_GPU)
        if not (gpu or isinstance(error, MemoryError) or any(w in text for w in _ON_CPU)):
            raise
        half = (items or 1) // 2
        ways = [f"set batch_size={half}" if half else otherwise]
        ways += on_gpu if gpu else ()
        of_items = "" if items is None else f" of {items} items"
        first_line = text.strip().partition("\n")[0] or type(error).__name__
        raise MemoryError(
            f"the {'GPU' if gpu else 'main'} memory does not suffice for {what}{of_items}: "
            f"{', or '.join(ways)} ({first_line})"
        ) from error


class Keeper:
    """Checkpoints, log, bar, processes, narrow types and costs around a loop that knows none.

    What is not asked for is not entered: a silent run on one process in float32 without a folder
    goes through this file alone.
    """

    rank = 0
    scales_loss = False
    _processes: Any = None  # the module of that name, where there are several
    _dtype: torch.dtype | None = None
    _scaler: torch.amp.GradScaler | None = None
    _folder: Path | None = None
    _log: Any = None
    _bar: Any = None

    def open(self, config: Any) -> str:
        """Take the settings, find the other processes, and return the device's name."""
        self._config, device = config, str(config.device)
        joined = dist.is_available() and dist.is_initialized()
        if joined or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from vlalign_lib.engine.keeper import processes

            device = processes.own_device(device)
            self._world = processes.world(device=device, timeout=config.timeout)
            self.rank = self._world.rank
            self._processes = processes if self._world.size > 1 else None
        return device

    def start(self, *, state: Any, columns: dict[str, Any], **run: Any) -> None:
        """Take the run, and go on from the checkpoint in its folder where there is one."""
        config, self._state = self._config, state
        self._model, self._optimiser, self._sampler = run["model"], run["optimiser"], run["sampler"]
        self._rng, self._device = run["rng"], run["device"]
        self._weights = [weight for weight in self._model.parameters() if weight.requires_grad]
        self._buffers = [b for b in self._model.buffers() if b.is_floating_point()]
        if config.precision != "float32":
            self._narrow(config.precision)
        if self._processes is not None:
            self._gather_processes(columns)
        self._meter, self._before = CostMeter(gpu=self._device.type == "cuda"), dict[str, Any]()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        if config.folder is not None:
            self._open_folder(Path(config.folder), columns, run["functions"])
        if config.progress and self.rank == 0 and not state.ended:
            from vlalign_lib._progress import progress_bar

            total = config.epochs * len(self._sampler)
            self._bar = progress_bar(total, type(self._model).__name__, unit="step")
            self._bar.initial = self._bar.n = state.step

    @contextmanager
    def guard(self, what: str, items: int | None = None) -> Iterator[None]:
        """Give advice where memory runs out; what every process does alike gathers no rows."""
        otherwise, on_gpu = _ADVICE.get(what, ("use a smaller model", ()))
        own_rows = nullcontext() if self._processes is None else alone()
        with memory_advice(what, items, on_gpu, otherwise=otherwise), own_rows:
            yield

    @contextmanager
    def step(self, rows: Tensor) -> Iterator[Tensor]:
        """Give this process's share of a batch, the modules narrow where that is asked for."""
        ways = ["spread the batch over more GPUs with torchrun"]
        ways = ways if self._dtype else ['precision="bf16"', *ways]
        narrow = self._mixed_precision(self._model, self._dtype) if self._dtype else nullcontext()
        with memory_advice("a step", len(rows), ways), narrow:
            yield rows if self._processes is None else self._world.share(rows)

    def mean(self, value: Tensor | float) -> float:
        """Return the mean of a number over the processes."""
        if self._processes is None:
            return float(value)
        return float(self._processes.mean_over_processes(value, self._device))

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the whole batch; buffers become those of rank 0."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()
        if self._processes is not None:
            self._processes.average_gradients(self._weights)
            self._processes.copy_from_first(self._buffers)
        if self._scaler is not None and self._config.max_grad_norm is not None:
            self._scaler.unscale_(self._optimiser)

    def update(self, optimiser: torch.optim.Optimizer) -> None:
        """Move the weights, unless the gradients of a scaled loss overflow."""
        if self._scaler is None:
            optimiser.step()
        else:
            self._scaler.step(optimiser)
            self._scaler.update()

    def after_step(self) -> None:
        """Show, log and save what is due within an epoch."""
        state, config = self._state, self._config
        loss = state.summed / state.seen
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss={loss:.4f}", refresh=False)
            self._bar.update(1)
        if self._sampler.given == len(self._sampler):
            return  # the epoch's last one, which is logged and saved with the epoch
        if self._due(config.log_every):
            self._write(loss=loss)
        if self._due(config.checkpoint_every):
            self._save()

    def after_epoch(self) -> None:
        """Show, log and save where the run stands between two epochs."""
        state = self._state
        told = {"train_loss": state.train_loss[-1]}
        if state.validation_loss:
            told["validation_loss"] = state.validation_loss[-1]
        if self._bar is not None:
            short = {"train_loss": "loss", "validation_loss": "validation"}
            self._bar.set_postfix({short[name]: f"{value:.4f}" for name, value in told.items()})
        of_step = {"loss": told["train_loss"]} if self._due(self._config.log_every) else {}
        self._write(**of_step, epoch=len(state.train_loss), **told)
        self._save()

    def close(self) -> None:
        """Close the bar and the log."""
        for opened in (self._bar, self._log):
            if opened is not None:
                opened.close()

    def cost(self) -> dict[str, Any]:
        """Return what was spent, interruptions included, in the words of ``History``.

        With a folder what the last checkpoint tells, so that it is the same when read back.
        """
        spent = self._spent() if self._folder is None else self._saved
        return {**spent, "processes": 1 if self._processes is None else self._world.size}

    # What the hooks are made of.

    def _narrow(self, word: str) -> None:
        from vlalign_lib.engine.keeper import precision

        self._dtype = precision.mixed_dtype(word, self._device)
        self._mixed_precision = precision.mixed_precision
        if self._dtype == torch.float16:
            self._scaler, self.scales_loss = torch.amp.GradScaler(self._device.type), True

    def _gather_processes(self, columns: dict[str, Any]) -> None:
        """Check that all processes train the same thing, and begin with the weights of rank 0."""
        counts = {
            name: "none"
            if found is None
            else f"{len(next(c for c in found if c is not None))} items"
            for name, found in columns.items()
        }
        size = sum(weight.numel() for weight in self._model.parameters())
        self._processes.check_alike(
            **counts, config=str(self._config.settings()), model=f"{size} weights"
        )
        for size in self._sampler.sizes:
            self._world.check_even(size)
        self._processes.copy_from_first([*self._model.parameters(), *self._model.buffers()])

    def _open_folder(
        self, folder: Path, columns: dict[str, Any], functions: dict[str, Any]
    ) -> None:
        """Go on from the checkpoint in a folder, or start anew there."""
        from vlalign_lib.engine.keeper import checkpoints

        self._checkpoints, self._folder, self._saved = checkpoints, folder, dict[str, Any]()
        model, optimiser = self._model, self._optimiser
        checkpoints.check_readable(
            {
                **{k: v for k, v in model.state_dict().items() if not isinstance(v, Tensor)},
                "the optimiser": checkpoints.plain(optimiser.state_dict()),
            }
        )
        self._identity = checkpoints.identity(
            model,
            optimiser,
            self._sampler,
            functions,
            columns,
            **self._config.settings()
            | {"precision": self._dtype or torch.float32}  # "auto" depends on the device
            | {"processes": 1 if self._processes is None else self._world.size},
        )
        found = checkpoints.found(folder, self._config.resume) if self.rank == 0 else None
        if self._processes is not None:
            found = self._processes.object_from_first(found)
        if isinstance(found, ValueError):
            raise found
        log_bytes = 0
        if found is not None:
            checkpoints.check_identity(found, self._identity, folder)
            with memory_advice("the checkpoint"), checkpoints.whole(folder):
                log_bytes = self._restore(found)
        if self.rank == 0:
            self._log = checkpoints.RunLog(
                folder / "log.jsonl",
                keep=log_bytes,
                step=self._state.step,
                tensorboard=self._config.tensorboard,
            )

    def _save(self) -> None:
        """Write a checkpoint; all processes take part, rank 0 writes."""
        if self._folder is None:
            return
        generators, self._saved = self._gather(self._generators()), self._spent()
        if self._log is None:  # another rank's work
            return
        self._checkpoints.write(
            self._folder,
            {
                "identity": self._identity,
                "model": self._model.state_dict(),
                "optimiser": self._checkpoints.plain(self._optimiser.state_dict()),
                "scaler": None if self._scaler is None else self._scaler.state_dict(),
                "sampler": self._sampler.state_dict(),
                "generators": generators,
                "state": vars(self._state),
                "spent": self._saved,
                "log_bytes": self._log.size,
            },
        )

    def _restore(self, found: dict[str, Any]) -> int:
        """Stand where a checkpoint was written, and return the length of the log there."""
        self._model.load_state_dict(found["model"])
        self._optimiser.load_state_dict(found["optimiser"])
        if self._scaler is not None:
            self._scaler.load_state_dict(found["scaler"])
        self._sampler.load_state_dict(found["sampler"])
        generators = found["generators"][self.rank]
        torch.set_rng_state(generators["torch"])
        if self._device.type == "cuda" and generators["cuda"] is not None:
            torch.cuda.set_rng_state(generators["cuda"], self._device)
        version, words, gauss = generators["python"]
        random.setstate((version, tuple(words), gauss))
        self._rng.bit_generator.state = generators["numpy"]
        for name in vars(self._state):
            setattr(self._state, name, found["state"][name])
        self._before = self._saved = found["spent"]
        return int(found["log_bytes"])

    def _generators(self) -> dict[str, Any]:
        """Return where the generators stand that a loss or a model may draw from."""
        version, words, gauss = random.getstate()
        on_gpu = self._device.type == "cuda"
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if on_gpu else None,
            "python": [version, list(words), gauss],
            "numpy": self._rng.bit_generator.state,
        }

    def _due(self, every: int | None) -> bool:
        return every is not None and self._state.step % every == 0

    def _write(self, **values: float) -> None:
        if self._log is not None:
            rate = float(self._optimiser.param_groups[0]["lr"])
            seconds = round(self._before.get("seconds", 0.0) + self._meter.read().wall_s, 3)
            line = {"step": self._state.step, **values, "learning_rate": rate, "seconds": seconds}
            self._log.write(line)

    def _gather(self, thing: Any) -> list[Any]:
        return [thing] if self._processes is None else self._processes.gather_objects(thing)

    def _spent(self) -> dict[str, Any]:
        """Return what was spent so far; all processes have to ask together."""
        cost, before = self._meter.read(), self._before
        on_gpu = self._device.type == "cuda"
        gpu = torch.cuda.max_memory_allocated(self._device) / 2**20 if on_gpu else None
        peaks = {"peak_memory_mb": cost.peak_mb, "peak_gpu_mb": gpu}
        return {
            "seconds": before.get("seconds", 0.0) + cost.wall_s,
            "energy_joules": before.get("energy_joules", 0.0) + sum(self._gather(cost.joules)),
            **{
                name: max(filter(None, (before.get(name), peak)), default=None)
                for name, peak in peaks.items()
            },
        }

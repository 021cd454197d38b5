"""A process that has imported everything, and forks a child for each job: real processes, cheap.

Every line of its input is a list of jobs, which run at once; the answer is a line with how each
of them ended (minus the signal's number where it was killed).
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # an optimiser imports it, for seconds, once a child otherwise
from torch import nn
from torch.nn.functional import cross_entropy

from vlalign_lib.training import (
    ClassBalancedSampler,
    FitConfig,
    average_gradients,
    fit,
    seeded,
    world,
)

CLASSES = 3


class TwoViews(nn.Module):
    """Everything that has a state: dropout, running statistics, a second part, a temperature."""

    def __init__(self, plain=False):
        super().__init__()
        noisy = [] if plain else [nn.Dropout(0.3)]
        self.images = nn.Sequential(nn.Linear(4, 6), *noisy, nn.Linear(6, 3))
        self.texts = nn.Linear(5, 3)
        self.head = nn.Linear(3, CLASSES)
        self.unused = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("centre", torch.zeros(3))


def pairs(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    means = np.random.default_rng(99).normal(size=(CLASSES, 9))[labels]
    both = means + 0.5 * rng.normal(size=(n, 9))
    return both[:, :4].copy(), both[:, 4:].copy(), labels


def noisy_loss(model, x, y, labels, context):
    """Draws from every generator that there is."""
    strength = context.progress + 0.1 * context.rng.random() + 0.1 * random.random()
    u = model.images(x + 0.1 * torch.randn_like(x)) * model.scale
    v = model.texts(y)
    if context.training:
        with torch.no_grad():
            model.centre.lerp_(u.mean(dim=0), 0.1)
    return (
        strength * (u - v).square().mean()
        + cross_entropy(model.head(u), labels)
        + 0.01 * (v - model.centre).square().mean()
    )


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def train(
    folder, out, die_at=None, die_in_call=None, slow=0.0, balanced=False, times=1, **settings
):
    """Train, and be killed at a step, or in the k-th of the calls that write checkpoints."""

    def loss(model, x, y, labels, context):
        if context.training and context.step == die_at:
            die()
        time.sleep(slow)
        return times * noisy_loss(model, x, y, labels, context)

    if die_in_call is not None:
        kill_in_call(die_in_call)
    with seeded(5):
        model = TwoViews()
    data, held_out = pairs(44, 1), pairs(20, 2)
    config = {"epochs": 4, "batch_size": 8, "learning_rate": 0.02, "seed": 3, "weight_decay": 0.01}
    config |= {"schedule": "cosine", "warmup": 3, "max_grad_norm": 1.0, "patience": 3}
    config |= {"folder": folder, "checkpoint_every": 2, "log_every": 1, "device": "cpu"}
    config |= {"progress": False, "timeout": 30.0, **settings}
    history = fit(
        model,
        loss,
        data,
        FitConfig(**config),
        validation=held_out,
        sampler=ClassBalancedSampler(data[2], 2, 4, seed=4) if balanced else None,
    )
    torch.save(
        {
            "weights": model.state_dict(),
            "train_loss": list(history.train_loss),
            "validation_loss": list(history.validation_loss),
            "steps": history.steps,
            "best_epoch": history.best_epoch,
            "stopped_early": history.stopped_early,
        },
        f"{out}.{os.environ['RANK']}" if "RANK" in os.environ else out,
    )


def kill_in_call(k):
    """Die in the k-th call that writes: half a file, before fsync or the rename."""
    calls = [0]

    def counted(function, half=None):
        def call(*args, **kwargs):
            on_disk = half is None or not hasattr(args[1], "write")
            calls[0] += on_disk
            if calls[0] == k and on_disk:
                if half is not None:
                    half(*args)
                die()
            return function(*args, **kwargs)

        return call

    save = torch.save

    def half_a_file(state, path):
        save(state, path)
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])

    torch.save = counted(save, half_a_file)
    os.fsync = counted(os.fsync)
    os.replace = counted(os.replace)
    os.unlink = counted(os.unlink)


def plain_loss(model, x, y, labels, gather=False):
    from vlalign_lib._tensors import gather_rows

    u, v = model.images(x) * model.scale, model.texts(y)
    if gather:
        u, v, labels = gather_rows(u, v, labels)
        model.largest = max(getattr(model, "largest", 0), len(u))
    logits = u @ v.T  # every row beside every other: a share of the batch is another problem
    apart = cross_entropy(logits, torch.arange(len(u))) if gather else (u - v).square().mean()
    # The last term leaves no weight without a gradient: Adam makes steps of rounding errors.
    return apart + cross_entropy(model.head(u), labels) + 0.1 * v.square().mean()


def together(out, gather=False, seed_of_rank=False, fewer=0, **settings):
    """Train in float64, with no randomness in the loss, and write what came out."""
    rank = int(os.environ.get("RANK", "0"))
    with seeded(5 + (rank if seed_of_rank else 0)):
        model = TwoViews(plain=True).double()
    seen = []

    def loss(model, x, y, labels, context):
        value = plain_loss(model, x, y, labels, gather)
        if context.training:
            seen.append((value.item(), len(x)))
        return value

    config = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "device": "cpu"}
    config |= {"progress": True, "timeout": 30.0, **settings}
    data = pairs(40 - fewer * rank, 1)
    history = fit(model, loss, data, FitConfig(**config), validation=pairs(19, 2))
    torch.save(
        {
            "weights": model.state_dict(),
            "unused": model.unused.weight.grad is None,
            "train_loss": list(history.train_loss),
            "validation_loss": list(history.validation_loss),
            "losses": seen,
            "processes": history.processes,
            "largest": getattr(model, "largest", None),
            "joules": history.energy_joules,
        },
        f"{out}.{rank}",
    )


def gradients(out, gather=False):
    """Write the averaged gradients of one batch."""
    here = world(device="cpu", timeout=30.0)
    with seeded(5):
        model = TwoViews(plain=True).double()
    x, y, labels = (torch.tensor(column) for column in pairs(12, 1))
    rows = here.share(torch.arange(12))
    if here.rank == 1:
        model.unused(torch.ones(1, 2).double()).sum().backward()  # reached by one alone
    plain_loss(model, x[rows], y[rows], labels[rows], gather).backward()
    weights = list(model.parameters())
    average_gradients(weights)
    torch.save([None if w.grad is None else w.grad for w in weights], f"{out}.{here.rank}")


def loses_a_process(out, how):
    """Rank 1 dies, or hangs, in the third step; rank 0 writes after how long it noticed."""
    here = world(device="cpu", timeout=3.0)
    start = time.perf_counter()

    def loss(model, x, y, labels, context):
        if here.rank == 1 and context.step == 3:
            if how == "die":
                die()
            time.sleep(7)
        return plain_loss(model, x, y, labels)

    config = FitConfig(2, 8, device="cpu", progress=False, timeout=3.0)
    with seeded(0):
        model = TwoViews(plain=True).double()
    try:
        fit(model, loss, pairs(40, 1), config)
    except RuntimeError as error:
        seconds = time.perf_counter() - start
        Path(f"{out}.{here.rank}").write_text(json.dumps([seconds, str(error)]))
        os._exit(7)


def refused(out, **settings):
    """Write the error of a run that cannot be shared."""
    try:
        together(out, **settings)
    except ValueError as error:
        Path(f"{out}.{os.environ.get('RANK', '0')}.error").write_text(str(error))


JOBS = {f.__name__: f for f in (train, together, gradients, loses_a_process, refused)}


def child(job):
    code = 1
    try:
        os.environ.update(job.get("env", {}))
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(log, stream)
        JOBS[job["name"]](**job["args"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main():
    torch.set_num_threads(1)
    for line in sys.stdin:
        children = []
        for job in json.loads(line):
            process = os.fork()
            if process == 0:
                child(job)
            children.append((process, job.get("kill_after")))
        codes = []
        for process, kill_after in children:
            if kill_after is not None:
                time.sleep(kill_after)
                os.kill(process, signal.SIGKILL)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    main()

"""One of the processes of the ``two_processes`` fixture: reads jobs, sends back what came out.

``python _gloo_worker.py RANK WORLD RENDEZVOUS``; jobs and answers are pickles on the standard
streams.
"""

import importlib
import pickle
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn


def evaluate(job):
    """Return value and gradients of ``job``, whose rows are already those of this process."""
    module, name = job["target"].split(":")
    target = getattr(importlib.import_module(module), name)
    rows = [leaf(r) for r in job["rows"]]
    shared = {key: leaf(value) for key, value in job["shared"].items()}
    weights = []
    for value in shared.values():
        weights += list(value.parameters()) if isinstance(value, nn.Module) else [value]
    if isinstance(target, type) and issubclass(target, nn.Module):
        call = target(**job["kwargs"]).double()
        weights += list(call.parameters())
        value = call(*rows, **shared)
    else:
        value = target(*rows, **shared, **job["kwargs"])
    weights = [w for w in weights if w.requires_grad]
    # A sum with unequal weights tells the entries of reduction="none" apart.
    total = (value * torch.linspace(1, 2, value.numel()).to(value).view_as(value)).sum()
    total.backward()
    return (
        value.detach(),
        [gradient(r) for r in rows if wants_gradient(r)],
        [gradient(w) for w in weights],
    )


def leaf(value):
    return value.detach().clone().requires_grad_() if wants_gradient(value) else value


def wants_gradient(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def gradient(tensor):
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def main():
    rank, world, rendezvous = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    dist.init_process_group(
        "gloo",
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        try:
            answer = evaluate(job)
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

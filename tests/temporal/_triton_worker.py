"""A process that runs the CUDA kernels in Triton's interpreter and watches every memory access.

Jobs and answers are pickles on the standard streams. Triton decides when it is imported whether it
interprets, which is why this is a process of its own.
"""

import os
import pickle
import sys

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
import triton.runtime.interpreter as interpreter

from vlalign_lib.engine.soft_dtw import forms
from vlalign_lib.engine.soft_dtw import triton_kernels as _triton


class Watch:
    """Looks at what the programs of each launch read and write.

    An error is raised where a program writes outside of the arguments, where an address is
    written twice in a launch, and where one program writes what another one of the launch reads
    or writes: then the outcome would depend on which of them is quicker.
    """

    def __init__(self):
        self.launches = 0
        builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
        self.load, self.store = builder.create_masked_load, builder.create_masked_store
        self.launch, self.arguments = executor.__call__, executor._init_args_hst
        self.patch = interpreter._patch_lang
        interpreter._patch_lang = self.patch_once
        builder.create_masked_load = lambda b, pointers, mask, *rest: (
            self.note(self.reads, b, pointers, mask),
            self.load(b, pointers, mask, *rest),
        )[1]
        builder.create_masked_store = lambda b, pointers, value, mask, policy: (
            self.note(self.writes, b, pointers, mask),
            self.store(b, pointers, value, mask, policy),
        )[1]
        executor.__call__ = lambda grid, *args, **kwargs: self.run(grid, args, kwargs)
        executor._init_args_hst = lambda grid, *args: self.know(self.arguments(grid, *args))

    def patch_once(self, function):
        """Make the language interpret once a launch, not at every call of a helper."""
        if function.__module__ in self.patched:
            return interpreter._LangPatchScope()
        self.patched.add(function.__module__)
        return self.patch(function)

    def know(self, arguments):
        tensors = [a for a in (*arguments[0], *arguments[1].values()) if torch.is_tensor(a)]
        self.rooms = sorted((t.data_ptr(), t.data_ptr() + t.nbytes) for t in tensors)
        return arguments

    def note(self, accesses, builder, pointers, mask):
        program = np.ravel_multi_index(builder.grid_idx, builder.grid_dim)
        mask = np.broadcast_to(mask.data, pointers.data.shape)
        addresses = pointers.data[mask]
        accesses.append((addresses, np.full(addresses.size, program)))

    def run(self, grid, args, kwargs):
        self.launches += 1
        self.patched = set()
        self.reads, self.writes = [], []
        result = self.launch(grid, *args, **kwargs)
        read, readers = map(np.concatenate, zip(*self.reads, strict=True))
        empty = (np.empty(0, read.dtype), np.empty(0, readers.dtype))
        wrote, writers = map(np.concatenate, zip(*self.writes, empty, strict=True))
        for addresses in (read, wrote):
            starts = np.array([start for start, _ in self.rooms], addresses.dtype)
            ends = np.maximum.accumulate([end for _, end in self.rooms]).astype(addresses.dtype)
            room = np.searchsorted(starts, addresses, side="right") - 1
            assert (room >= 0).all(), "an address before all arguments"
            assert (addresses < ends[room]).all(), "an address outside of the arguments"
        order = np.argsort(wrote)
        wrote, writers = wrote[order], writers[order]
        assert (wrote[1:] != wrote[:-1]).all(), "an address written twice in a launch"
        if len(wrote):
            place = np.minimum(np.searchsorted(wrote, read), len(wrote) - 1)
            same = wrote[place] == read
            assert (writers[place] == readers)[same].all(), "a program reads what another writes"
        return result


def everything(cost, lengths, gamma, direction, settings):
    """Return value, E, the Hessian product and the number of launches, with other tiles if asked.

    Without a direction there is no product, and nothing is checked but the two.
    """
    before = {name: getattr(_triton, name) for name in settings}
    for name, value in settings.items():
        setattr(_triton, name, getattr(_triton, value) if name == "_neighbour" else value)
    try:
        copies = [None if t is None else t.clone() for t in (cost, lengths, direction)]
        launches = WATCH.launches
        value, state = _triton.forward(cost, lengths, gamma, keep=True)
        expected = _triton.alignment(state, lengths, gamma, cost.shape)
        product = expected
        if direction is not None:
            product = _triton.hessian_product(state, expected, direction, lengths, gamma)
            alone, nothing = _triton.forward(cost, lengths, gamma, keep=False)
            assert nothing == ()
            assert torch.equal(value.nan_to_num(7.5), alone.nan_to_num(7.5))
        for now, copy in zip((cost, lengths, direction), copies, strict=True):
            assert now is None or torch.equal(now.nan_to_num(7.5), copy.nan_to_num(7.5))
        assert all(t.dtype == cost.dtype for t in (value, expected, product))
        return value, expected, product, WATCH.launches - launches
    finally:
        for name, value in before.items():
            setattr(_triton, name, value)


def gradients(cost, lengths, gamma):
    """Check the derivatives of the public functions with finite differences."""
    from vlalign_lib.temporal import soft_alignment, soft_dtw

    forms.KERNELS["cpu"] = "triton_kernels"
    cost = cost.clone().requires_grad_()

    def value(c):
        return soft_dtw(c, gamma, lengths=lengths)

    def alignment(c):
        return soft_alignment(c, gamma, lengths=lengths)

    assert torch.autograd.gradcheck(alignment, cost, fast_mode=True)
    assert torch.autograd.gradgradcheck(value, cost, fast_mode=True)


def main():
    torch.set_num_threads(1)
    # Memory that has not been written to holds NaN.
    torch.use_deterministic_algorithms(True)
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            name, job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = {"everything": everything, "gradients": gradients}[name](**job)
        except Exception as error:
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    WATCH = Watch()
    main()

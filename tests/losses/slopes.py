"""A value and its gradients, for the tests of this folder."""

import torch


def with_gradients(call, *inputs):
    """Return what ``call`` makes of the inputs, and the gradients of its sum by each of them."""
    inputs = [each.detach().clone().requires_grad_() for each in inputs]
    value = call(*inputs)
    return value.detach(), *torch.autograd.grad(value.sum(), inputs)

"""Small losses for the tests of ``gather_rows``; the processes import them by name."""

import torch
import torch.distributed as dist

from vlalign_lib._tensors import gather_rows
from vlalign_lib.losses import triplet_loss


def entangled(x, y, *labels, gather=False):
    """A loss in which every row meets every other one."""
    if gather:
        x, y, *labels = gather_rows(x, y, *labels)
    s = x.flatten(1).sin() @ x.flatten(1).T + (y.flatten(1) ** 2).sum(1)
    for label in labels:
        s = s * (label[:, None] == label)
    return s.exp().mean().log()


def per_row(x, y, *, slope, head, gather=False):
    if gather:
        x, y = gather_rows(x, y)
    return torch.logsumexp(slope * head(x) @ head(y).T, dim=1)


def gradient_penalty(x, y, gather=False):
    loss = entangled(x, y, gather=gather)
    a, b = torch.autograd.grad(loss, (x, y), create_graph=True)
    # Each process has its own rows' gradient, W times that of one process.
    size = dist.get_world_size() if gather else 1
    squares = torch.stack([(a**2).sum(1) / size**2, (b**2).sum(1) / size**2], dim=1)
    if gather:
        (squares,) = gather_rows(squares)
    return squares.sum().sqrt()


def wrong_without_sum(x, y, gather=False):
    """Each process keeps the gradient of its own loss, and the others' is forgotten."""
    return entangled(*(own_rows_only(v) for v in (x, y))) if gather else entangled(x, y)


def own_rows_only(view):
    parts = list(gather_rows(view.detach())[0].chunk(2))
    parts[dist.get_rank()] = view
    return torch.cat(parts)


def wrong_without_return(x, y, gather=False):
    """No gradient comes back from the rows of y at all."""
    return entangled(x, y.detach(), gather=True) if gather else entangled(x, y)


def wider_on_rank_1(x, y, gather):
    return entangled(x, torch.cat([y, y], dim=1) if dist.get_rank() else y, gather=gather)


def half_on_rank_1(x, y, gather):
    return entangled(x, y.float() if dist.get_rank() else y, gather=gather)


def random_triplets(x, y, labels, gather=False):
    """The same negatives are drawn on every process, whose generators are seeded alike."""
    return triplet_loss(
        x, y, labels, mining="random", gather=gather, generator=torch.Generator().manual_seed(0)
    )

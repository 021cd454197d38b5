"""A correspondence loss whose reconstructions are given by position, for two processes."""

from vlalign_lib.losses import correspondence_loss


def full(u, v, x, y, x_own, y_own, x_crossed, y_crossed, **keywords):
    return correspondence_loss(
        u,
        v,
        x,
        y,
        own=(x_own, y_own),
        crossed=(x_crossed, y_crossed),
        variant="full",
        **keywords,
    )

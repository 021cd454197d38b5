"""An adversary that tells the views apart, and encoders that learn to fool it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vlalign_lib._module import FunctionModule, NotNegative
from vlalign_lib._tensors import Reduction, as_number, objective


@objective(same_width=True, gathers="values", autocast=True)
def domain_adversarial_loss(
    x: Tensor,
    y: Tensor,
    discriminator: Callable[[Tensor], Tensor],
    *,
    strength: NotNegative = 1.0,
    reduction: Reduction = "mean",
    gather: bool = False,
) -> Any:
    r"""Return the cross-entropy of telling the views apart, its gradient reversed for the encoders.

    .. math::

        \mathcal{L} = -\frac{1}{2B} \sum_{i=1}^B
        \left[ \log P(\text{first view} \mid u_i) + \log P(\text{second view} \mid v_i) \right],

    with u and v the rows of ``x`` and ``y``. The discriminator descends this loss; what the
    encoders receive is :math:`-\lambda` times its gradient (``gradient_reversal``), so that **one**
    backward pass and **one** optimiser over all weights play the game. No second optimiser is
    needed, and one that holds the discriminator alone leaves the encoders without any adversary.
    A discriminator that is fooled says 1/2 and has a loss of :math:`\log 2 \approx 0.693`: that is
    the value to watch, not zero. So is one that has learnt nothing.

    Args:
        x: (B, k) rows of the first view in the shared space.
        y: (B, k) rows of the second view.
        discriminator: maps (n, k) to (n, 2) logits, first view and second, or to (n,) or
            (n, 1), the logit of the second view. It is called once, with the rows of both views,
            so that batch statistics inside it do not give the view away.
        strength: :math:`\lambda \ge 0`; see ``reversal_schedule``. The value of the loss and the
            gradient of the discriminator do not depend on it.
        reduction: ``"mean"`` over the pairs, ``"sum"``, or ``"none"`` for one loss a pair, the
            mean of its two rows.
        gather: reduce over the pairs of all processes of ``torch.distributed``.

    Returns:
        A scalar, or (B,) without reduction.

    Raises:
        ValueError: views of different shape; a discriminator that answers something else.

    Source:
        Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015; for
        the two modalities Wang et al., "Adversarial cross-modal retrieval", ACM Multimedia 2017.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(4, 3), torch.ones(4, 3)
        >>> undecided = torch.nn.Linear(3, 2)
        >>> _ = [torch.nn.init.zeros_(p) for p in undecided.parameters()]
        >>> round(domain_adversarial_loss(x, y, undecided).item(), 4)
        0.6931
    """
    logits = discriminator(gradient_reversal(torch.cat([x, y]), strength))
    first, second = _as_logits(logits, len(x)).chunk(2)
    # −log of a probability is softplus of minus its logit; half precision ends here.
    return (functional.softplus(first) + functional.softplus(-second)) / 2  # (B,)


class DomainAdversarialLoss(FunctionModule, function=domain_adversarial_loss, inputs=("x", "y")):
    """``domain_adversarial_loss`` as a module that owns the discriminator.

    Its parameters are the discriminator's: hand them to the optimiser together with those of the
    encoders. ``strength`` may be set anew at every step: ``loss.strength = reversal_schedule(t)``.

    Args:
        discriminator: a module from (n, k) to (n, 2), (n, 1) or (n,) logits.
        strength: what the reversed gradient is multiplied by.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        gather: reduce over the pairs of all processes.

    Raises:
        ValueError: as ``domain_adversarial_loss``, when it is called.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> import torch
        >>> loss = DomainAdversarialLoss(torch.nn.Linear(40, 2), strength=0.5)
        >>> [name for name, _ in loss.named_parameters()]
        ['discriminator.weight', 'discriminator.bias']
    """


def gradient_reversal(x: Tensor, strength: NotNegative = 1.0) -> Tensor:
    r"""Return ``x`` as it is, and hand back :math:`-\lambda` times the gradient.

    .. math::

        R(x) = x, \qquad \frac{\partial R}{\partial x} := -\lambda I

    Args:
        x: any shape, floating point.
        strength: :math:`\lambda \ge 0`; with 1 the gradient is exactly minus what it would be.

    Returns:
        ``x``, with its shape, dtype and device.

    Raises:
        ValueError: ``x`` is no floating-point tensor; ``strength`` is negative or not finite.

    Source:
        Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015,
        section 3.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> import torch
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> gradient_reversal(x, 0.5).square().sum().backward()
        >>> x.grad
        tensor([-1., -2.])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x: expected a torch tensor of real numbers in floating point, got {got}")
    reversed_: Tensor = _Reversal.apply(x, as_number(strength, "strength", low=0.0))
    return reversed_


class GradientReversal(FunctionModule, function=gradient_reversal, inputs=("x",)):
    """``gradient_reversal`` as a layer.

    Args:
        strength: what the reversed gradient is multiplied by; may be set anew at every step.

    Raises:
        ValueError: as ``gradient_reversal``, when it is called.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> GradientReversal(0.5)
        GradientReversal(strength=0.5)
    """


def reversal_schedule(progress: float, *, slope: float = 10.0) -> float:
    r"""Return the strength of the reversed gradient after a share of the training.

    .. math::

        \lambda(t) = \frac{2}{1 + e^{-s t}} - 1 = \tanh \frac{s t}{2},

    0 at the start, where the discriminator knows nothing worth fooling, and near 1 after about
    half the way.

    Args:
        progress: t in [0, 1], steps done over steps in all.
        slope: s > 0.

    Returns:
        :math:`\lambda` in [0, 1].

    Raises:
        ValueError: ``progress`` outside [0, 1], ``slope`` not above 0.

    Source:
        Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015,
        section 4.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> [round(reversal_schedule(t), 3) for t in (0, 0.1, 0.5, 1)]
        [0.0, 0.462, 0.987, 1.0]
    """
    progress = as_number(progress, "progress", low=0.0, high=1.0)
    return math.tanh(as_number(slope, "slope", above=0.0) * progress / 2)


class _Reversal(torch.autograd.Function):
    """The identity, with a derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return -ctx.strength * grads[0], None


def _as_logits(logits: Any, pairs: int) -> Tensor:
    """Return the logit of the second view for both views' rows, (2B,)."""
    n = 2 * pairs
    if not isinstance(logits, Tensor) or logits.shape not in {(n,), (n, 1), (n, 2)}:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"discriminator: expected logits of shape ({n}, 2), ({n}, 1) or ({n},) for the {n} "
            f"rows of both views, got {got}"
        )
    if not logits.is_floating_point():
        raise ValueError(
            f"discriminator: expected logits in floating point, got {logits.dtype}; answers as "
            "classes have no gradient"
        )
    logits = logits.float() if logits.element_size() < 4 else logits
    if logits.ndim == 1:
        return logits
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

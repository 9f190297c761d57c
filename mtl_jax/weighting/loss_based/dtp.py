"""Dynamic task prioritization (DTP)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class DTPState(NamedTuple):
    """How well each task has been doing, updated every step."""

    kpi: Array  # [T] float32, κ̄
    num_steps: Array  # [T] int32, steps in which the task had labels


def dtp(
    gamma: float | Sequence[float] | Array = 2.0,
    alpha: float = 0.1,
    eps: float = 1e-6,
) -> base.LossWeighting:
    """Put the difficult tasks first, as their performance indicators tell them.

    Each task has a key performance indicator κ in [0, 1], such as the accuracy; its
    moving average is `κ̄ ← α κ + (1 − α) κ̄`. The weight is the focal loss of it,
    `w_t = −(1 − κ̄_t)^γ log κ̄_t`, which falls to 0 as the task is mastered. Heads get
    the same weights. State: κ̄.

    Args:
        gamma: γ, a number or `[T]`. The paper chooses it for each task; 2 is the usual
            value of the focal loss.
        alpha: α, in (0, 1], how much of the newest batch the average takes.
        eps: the least κ̄, so that the weight of a task without any success is finite.

    Returns:
        A `LossWeighting` that reads the keyword `kpi` of `update`, `[T]`; where it is
        `None`, κ is `e^{−L}` (1 for a loss below zero). The runs of this library pass
        the accuracy of classification tasks and the mean of `e^{−L}` over the examples
        for others.

    Raises:
        ValueError: a hyper-parameter out of its range. `init` raises it for a gamma of
            another length.

    Example:
        >>> method, losses = dtp(gamma=1.0, alpha=0.5), jnp.ones(2)
        >>> state = method.init(2)
        >>> for kpi in ([0.5, 0.9], [0.7, 0.9]):
        ...     weights, state = method.update(losses, state, kpi=jnp.array(kpi))
        >>> [round(float(w), 3) for w in weights]
        [0.204, 0.011]

    References:
        Guo, Haque, Huang, Yeung and Fei-Fei, Dynamic Task Prioritization for Multitask
        Learning, ECCV 2018.

    κ̄ starts at the first κ, not at 0, which would make every task look hard. The paper
    also weighs the examples of a task by the focal loss; that is a matter of the loss
    function. The weights have no fixed sum: with all indicators at 1 they are 0, and
    training ends.
    """
    checks.number("dtp", "gamma", gamma, at_least=0)
    checks.number("dtp", "alpha", alpha, above=0, at_most=1)
    checks.number("dtp", "eps", eps, above=0, at_most=1)

    def init(num_tasks: int, params: object = None) -> DTPState:
        del params
        checks.one_or_per_task("dtp", "gamma", gamma, num_tasks)
        return DTPState(
            kpi=jnp.zeros(num_tasks, base.state_dtype()),
            num_steps=jnp.zeros(num_tasks, jnp.int32),
        )

    def update(
        losses: Array,
        state: DTPState,
        *,
        kpi: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, DTPState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        dtype = state.kpi.dtype
        if kpi is None:
            kpi = jnp.exp(-jnp.maximum(losses.astype(dtype), 0))
        mean = alpha * kpi + (1 - alpha) * state.kpi
        mean = jnp.where(state.num_steps > 0, mean, kpi).astype(dtype)
        mean = jnp.where(keep, mean, state.kpi)
        exponent = checks.one_or_per_task("dtp", "gamma", gamma, losses.shape[0])
        clipped = jnp.clip(mean, eps, 1)
        weights = -((1 - clipped) ** exponent) * jnp.log(clipped)
        weights = jnp.where(keep, weights, 0).astype(losses.dtype)
        return weights, DTPState(mean, state.num_steps + keep)

    return base.LossWeighting(init, update)

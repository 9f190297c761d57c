"""Impartial multi-task learning, the part on the losses (IMTL-L)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class IMTLLState(NamedTuple):
    """The learnt scales of the losses."""

    # Updated every step
    log_scale: Array  # [T] float32, s_t
    optimizer: Any  # the state of the optimizer of s


def imtl_l(
    s_init: float = 0.0,
    sgd_lr: float = 0.01,
    optimizer: optax.GradientTransformation | None = None,
) -> base.LossWeighting:
    """Learn a scale for each loss that brings all of them to one.

    The objective is `Σ_t e^{s_t} L_t − s_t`, so that `w_t = e^{s_t}`; its optimum in s
    is `e^{s_t} = 1 / L_t`, where every scaled loss is 1. The weights are those of the s
    before the update; then s takes one step of its own optimizer along its closed-form
    gradient `e^{s_t} L_t − 1`. Heads get the same weights. State: s.

    Args:
        s_init: initial value of every `s_t`.
        sgd_lr: learning rate of plain gradient descent on s. A step ends at the optimum
            for the present loss at the latest: a loss of 1e4 does not throw s so far
            that the task is lost.
        optimizer: optimizer of s in the place of plain gradient descent.

    Returns:
        A `LossWeighting`. The s of a task without labels in a batch is left as it is
        (up to what the optimizer does with a zero gradient). A negative loss has no
        optimal scale: its weight is NaN, and the step is skipped.

    Raises:
        ValueError: a hyper-parameter out of its range.

    Example:
        >>> method = imtl_l(sgd_lr=0.1)
        >>> state = method.init(2)
        >>> weights, state = method.update(jnp.array([0.5, 2.0]), state)
        >>> weights.tolist()
        [1.0, 1.0]
        >>> [round(float(s), 3) for s in state.log_scale]
        [0.05, -0.1]

    References:
        Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang, Towards Impartial Multi-task
        Learning, ICLR 2021.

    The paper trains s with the network's optimizer; here s has its own, as in `uw`, so
    that the method is a pure function of the losses and its state is saved with the
    run. The paper's IMTL is this and IMTL-G, one after the other.
    """
    checks.number("imtl_l", "s_init", s_init)
    checks.number("imtl_l", "sgd_lr", sgd_lr, above=0)
    plain_descent = optimizer is None
    optimizer = optax.sgd(sgd_lr) if optimizer is None else optimizer

    def not_beyond_optimum(old: Array, new: Array, losses: Array) -> Array:
        best = -jnp.log(jnp.maximum(losses, jnp.finfo(new.dtype).tiny))
        up = jnp.minimum(new, jnp.maximum(old, best))
        return jnp.where(new > old, up, jnp.maximum(new, jnp.minimum(old, best)))

    def init(num_tasks: int, params: object = None) -> IMTLLState:
        del params
        s = jnp.full(num_tasks, s_init, base.state_dtype())
        return IMTLLState(s, optimizer.init(s))

    def update(
        losses: Array, state: IMTLLState, *, mask: Array | None = None, **extra: object
    ) -> tuple[Array, IMTLLState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        s = state.log_scale
        wide = jnp.maximum(losses.astype(s.dtype), 0)
        scale = jnp.exp(s)
        gradient = jnp.where(keep, scale * wide - 1, 0)
        updates, inner = optimizer.update(gradient, state.optimizer, s)
        moved = jnp.asarray(optax.apply_updates(s, updates))
        s = not_beyond_optimum(s, moved, wide) if plain_descent else moved
        weights = jnp.where(losses < 0, jnp.nan, scale)
        weights = jnp.where(keep, weights, 0).astype(losses.dtype)
        return weights, IMTLLState(s, inner)

    return base.LossWeighting(init, update)

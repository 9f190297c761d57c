"""Task weights that are learnt: on the simplex, and by a step of their optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl_jax import tree
from mtl_jax.typing import Array


def simplex(logits: Array, keep: Array) -> Array:
    """The softmax over the present tasks, `[T]`.

    Args:
        logits: `[T]`.
        keep: `[T]` bool; an absent task gets 0.

    Returns:
        Weights of sum 1; all 0, with derivative 0, where no task is present.

    Example:
        >>> simplex(jnp.zeros(3), jnp.array([True, True, False])).tolist()
        [0.5, 0.5, 0.0]
    """
    top = jnp.max(jnp.where(keep, logits, -jnp.inf))
    top = jax.lax.stop_gradient(jnp.where(jnp.any(keep), top, 0))
    share = jnp.where(keep, jnp.exp(jnp.where(keep, logits - top, 0)), 0)
    total = jnp.sum(share)
    return share / jnp.where(total > 0, total, 1)


def learn(
    optimizer: optax.GradientTransformation,
    gradient: Array,
    state: Any,
    value: Array,
    keep: Array,
) -> tuple[Array, Any]:
    """One step of an optimizer on `[T]` numbers, in which absent tasks take no part.

    Args:
        optimizer: of the numbers.
        gradient: `[T]`.
        state: of the optimizer.
        value: `[T]`, the numbers.
        keep: `[T]` bool; the number and the moments of an absent task stay as they are.

    Returns:
        The numbers and the state of the optimizer.
    """
    gradient = jnp.where(keep, gradient, 0).astype(value.dtype)
    updates, after = optimizer.update(gradient, state, value)
    moved = optax.apply_updates(value, jnp.where(keep, updates, 0))
    after = jax.tree.map(
        lambda new, old: (
            jnp.where(keep, new, old) if jnp.shape(new) == keep.shape else new
        ),
        after,
        state,
    )
    # Without any task, the counters stay too.
    return jnp.asarray(moved), tree.select(jnp.any(keep), after, state)

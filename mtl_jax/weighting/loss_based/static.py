"""Static weighting: weights that the user gives."""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


def static(weights: Sequence[float] | Array) -> base.LossWeighting:
    """Weigh the losses with given constants, `w_t = weights[t]`.

    Heads get the same weights. No state.

    Args:
        weights: `[T]`, in the order of the tasks, used as they are (not normalised).

    Returns:
        A `LossWeighting`. Its `init` raises `ValueError` where the number of weights
        is not the number of tasks.

    Raises:
        ValueError: a weight that is not a finite number.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [0.0, 2.0]])
        >>> aggregate(static([3.0, 0.5]), jacobian).direction.tolist()
        [3.0, 1.0]

    References:
        None: the weighted sum is older than the field.
    """
    checks.number("static", "weights", weights)
    given = jnp.asarray(weights)

    def init(num_tasks: int, params: object = None) -> base.EmptyState:
        if given.shape != (num_tasks,):
            raise ValueError(
                f"static weighting of {num_tasks} tasks was given weights of shape "
                f"{given.shape}; give one weight a task, in the order of the tasks"
            )
        return base.no_state(num_tasks, params)

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        return jnp.where(keep, given, 0).astype(losses.dtype), state

    return base.LossWeighting(init, update)

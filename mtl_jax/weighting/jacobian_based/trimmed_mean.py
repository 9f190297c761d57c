"""Coordinate-wise trimmed mean."""

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks, task_rows


def trimmed_mean(trim: int = 1) -> base.GradientAggregator:
    """Drop the largest and smallest entries of each coordinate, and take the mean.

    Of the T entries of a coordinate, one a task, the k = `trim` largest and the k
    smallest are dropped, and d is the mean of the other `T − 2k`. Tasks with wrong
    labels have a bounded say. Heads get weight 1. No state.

    Args:
        trim: k; 0 is the mean.

    Returns:
        A `GradientAggregator`.

    Raises:
        ValueError: a negative k; `T ≤ 2k` tasks.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [2.0, -99.0], [3.0, 2.0]])
        >>> aggregate(trimmed_mean(), jacobian).direction.tolist()
        [2.0, 0.0]

    References:
        Yin, Chen, Ramchandran and Bartlett, Byzantine-Robust Distributed Learning:
        Towards Optimal Statistical Rates, ICML 2018.

    Absent tasks are not counted. Where 2k or fewer are present, as many are dropped as
    leave one or two: the median of the coordinate.
    """
    checks.integer("trimmed_mean", "trim", trim, at_least=0)

    def init(num_tasks: int, params: object = None) -> base.EmptyState:
        del params
        if num_tasks <= 2 * trim:
            raise ValueError(
                f"trimmed_mean(trim={trim}) was given {num_tasks} tasks and drops "
                f"{2 * trim} of them; give more tasks or a smaller trim"
            )
        return base.EmptyState()

    def update(
        task_grads: PyTree,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, base.EmptyState]:
        del extra
        t = jax.tree.leaves(task_grads)[0].shape[0]
        keep = base.keep_mask(mask, t)
        n = jnp.sum(keep, dtype=jnp.int32)
        drop = jnp.clip((n - 1) // 2, 0, trim)
        index = jnp.arange(t, dtype=jnp.int32)
        inside = (index >= drop) & (index < n - drop)

        def one_leaf(grads: Array) -> Array:
            wide = grads.astype(task_rows.wide(grads.dtype))
            # The absent come last.
            ordered = jnp.where(task_rows.per_row(keep, wide), wide, jnp.inf)
            ordered = jnp.sort(ordered, axis=0)
            kept = jnp.where(task_rows.per_row(inside, wide), ordered, 0)
            count = jnp.maximum(n - 2 * drop, 1).astype(wide.dtype)
            return (jnp.sum(kept, axis=0) / count).astype(grads.dtype)

        heads = keep.astype(base.state_dtype())
        return jax.tree.map(one_leaf, task_grads), heads, state

    return base.GradientAggregator(init, update)

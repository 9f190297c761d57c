"""Row-wise arithmetic on task gradients: pytrees whose leaves are `[T, ...]`."""

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree


def zeros(method: str, num_tasks: int, params: PyTree | None) -> PyTree:
    """A memory of one gradient a task, all zero; float32, or as wide as the parameters.

    Args:
        method: who asks.
        num_tasks: T.
        params: like one task's gradient.

    Returns:
        Pytree of `[T, ...]` leaves.

    Raises:
        ValueError: no parameters.

    Example:
        >>> zeros("moco", 2, {"a": jnp.ones(3, jnp.bfloat16)})["a"].dtype
        dtype('float32')
    """
    if params is None:
        raise ValueError(
            f"{method} remembers gradients and its state was asked for without the "
            "shared parameters; call init(num_tasks, params)"
        )
    return jax.tree.map(
        lambda leaf: jnp.zeros((num_tasks, *leaf.shape), wide(leaf.dtype)), params
    )


def wide(dtype: Any) -> Any:
    """The dtype to calculate in: float32 or wider."""
    return jnp.promote_types(dtype, jnp.float32)


def squared_norms(task_grads: PyTree) -> Array:
    """The squared length of each task's gradient.

    Args:
        task_grads: pytree of `[T, ...]` leaves.

    Returns:
        `[T]`, float32 or wider.

    Example:
        >>> squared_norms({"a": jnp.ones((2, 3)), "b": jnp.eye(2)}).tolist()
        [4.0, 4.0]
    """
    leaves = jax.tree.leaves(task_grads)
    sums = [
        jnp.sum(jnp.square(x.astype(wide(x.dtype))), axis=tuple(range(1, x.ndim)))
        for x in leaves
    ]
    return sum(sums[1:], sums[0])


def per_row(values: Array, leaf: Array) -> Array:
    """`values [T]` in the shape that multiplies the rows of a `[T, ...]` leaf."""
    return values.reshape((-1,) + (1,) * (leaf.ndim - 1))


def average(rate: Array, memory: PyTree, task_grads: PyTree, keep: Array) -> PyTree:
    """Move each present row of a memory a part of the way to the new gradient.

    Args:
        rate: `[T]`; 0 leaves the row as it was, 1 replaces it.
        memory: pytree of `[T, ...]` leaves.
        task_grads: the same structure.
        keep: `[T]` bool; the rows of absent tasks stay.

    Returns:
        The memory, in its own dtypes.

    Example:
        >>> old, new = jnp.zeros((2, 1)), jnp.ones((2, 1))
        >>> average(jnp.full(2, 0.25), old, new, jnp.array([True, False])).tolist()
        [[0.25], [0.0]]
    """

    def one_leaf(old: Array, new: Array) -> Array:
        part = per_row(jnp.where(keep, rate, 0), old).astype(old.dtype)
        return old + part * (new.astype(old.dtype) - old)

    return jax.tree.map(one_leaf, memory, task_grads)


def scaled(factors: Array, task_grads: PyTree) -> PyTree:
    """Multiply row t of every leaf by `factors[t]`; float32 or wider."""

    def one_leaf(leaf: Array) -> Array:
        dtype = wide(leaf.dtype)
        return per_row(factors, leaf).astype(dtype) * leaf.astype(dtype)

    return jax.tree.map(one_leaf, task_grads)


def cast_like(direction: PyTree, task_grads: PyTree) -> PyTree:
    """The direction in the dtypes of the gradients."""
    return jax.tree.map(lambda d, g: d.astype(g.dtype), direction, task_grads)

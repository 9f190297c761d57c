"""Weights that sum to a constant, remembered while tasks come and go."""

from typing import Any

import jax.numpy as jnp

from mtl_jax.typing import Array


def of_present(weights: Array, keep: Array) -> Array:
    """The present tasks' weights, in proportion and with sum 1.

    Args:
        weights: `[T]`, non-negative.
        keep: `[T]` bool, the present tasks.

    Returns:
        `[T]`, 0 for the absent. Uniform where the present ones have no weight; all 0
        where no task is present.

    Example:
        >>> keep = jnp.array([True, True, False])
        >>> of_present(jnp.array([0.1, 0.3, 0.6]), keep).tolist()
        [0.25, 0.75, 0.0]
    """
    weights = jnp.where(keep, weights, 0)
    weights = jnp.where(jnp.any(weights > 0), weights, keep.astype(weights.dtype))
    total = jnp.sum(weights)
    return weights / jnp.where(total > 0, total, 1)


def put_back(weights: Array, part: Array, keep: Array) -> Array:
    """The remembered weights with new proportions among the present tasks.

    What the present tasks weigh together stays, and so does each absent one: the
    absent are left as they were, and the sum of all too.

    Args:
        weights: `[T]`, remembered.
        part: `[T]`, new weights of the present tasks, with sum 1.
        keep: `[T]` bool, the present tasks.

    Returns:
        `[T]`, in the dtype of `weights`.

    Example:
        >>> keep = jnp.array([True, True, False])
        >>> new = put_back(jnp.array([0.1, 0.3, 0.6]), jnp.array([1.0, 0.0, 0.0]), keep)
        >>> [round(float(w), 6) for w in new]
        [0.4, 0.0, 0.6]
    """
    total = jnp.sum(jnp.where(keep, weights, 0))
    return jnp.where(keep, total * part, weights).astype(weights.dtype)


def uniform(keep: Array, dtype: Any) -> Array:
    """`1/n` for each of n present tasks, 0 for the absent; `[T]`.

    Example:
        >>> uniform(jnp.array([True, True, False]), jnp.float32).tolist()
        [0.5, 0.5, 0.0]
    """
    return of_present(keep.astype(dtype), keep)

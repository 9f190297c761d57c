"""What the scalarising methods share: a preference, and a point to measure from."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


def checked_init(
    method: str,
    weights: Sequence[float] | Array | None,
    reference: float | Sequence[float] | Array = 0.0,
) -> Callable[..., base.EmptyState]:
    """An `init` without state that checks the lengths, and the signs of the weights.

    Args:
        method: its name.
        weights: of the preference, `[T]` or `None`.
        reference: a number or `[T]`.
    """

    def init(num_tasks: int, params: object = None) -> base.EmptyState:
        checks.preference(method, "weights", weights, num_tasks)
        checks.one_or_per_task(method, "reference", reference, num_tasks)
        return base.no_state(num_tasks, params)

    return init


def preference(
    method: str, weights: Sequence[float] | Array | None, keep: Array
) -> Array:
    """The weights as they are given, or 1/T each for the T tasks that are present.

    Args:
        method: its name.
        weights: `[T]` or `None`.
        keep: `[T]` bool.

    Returns:
        `[T]`, 0 for absent tasks.
    """
    if weights is None:
        return keep / jnp.maximum(jnp.sum(keep), 1).astype(base.state_dtype())
    given = checks.preference(method, "weights", weights, keep.shape[0])
    return jnp.where(keep, given, 0).astype(base.state_dtype())


def gap(
    method: str,
    losses: Array,
    reference: float | Sequence[float] | Array,
    keep: Array,
) -> Array:
    """`L − z`, `[T]`; 0 for absent tasks."""
    z = checks.one_or_per_task(method, "reference", reference, keep.shape[0])
    return jnp.where(keep, losses.astype(base.state_dtype()) - z, 0)

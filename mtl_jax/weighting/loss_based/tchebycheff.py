"""Tchebycheff scalarisation."""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.loss_based import scalarization


def tchebycheff(
    weights: Sequence[float] | Array | None = None,
    reference: float | Sequence[float] | Array = 0.0,
) -> base.LossWeighting:
    """Descend the largest of the weighted losses, and it alone.

    The objective is `max_t λ_t (L_t − z_t)`, so that `w_t = λ_t` for the task at the
    maximum and 0 for all others; k tasks at the maximum get `λ_t / k` each. Unlike that
    of a weighted sum its minima reach every Pareto-optimal point, on fronts of any
    shape. `stch` is its smooth form and trains faster. Heads get the same weights. No
    state.

    Args:
        weights: λ, `[T]`, the preference among the tasks, used as it is (not
            normalised); default: 1/T for the T tasks that have labels in the batch.
        reference: z, lower bounds of the losses or their best values, a number or
            `[T]`.

    Returns:
        A `LossWeighting`. Its `init` raises `ValueError` for vectors of another length
        or negative weights.

    Raises:
        ValueError: a reference that is not a number.

    Example:
        >>> method = tchebycheff(weights=[0.7, 0.3])
        >>> weights, _ = method.update(jnp.array([1.0, 2.0]), method.init(2))
        >>> [round(float(w), 3) for w in weights]
        [0.7, 0.0]

    References:
        Bowman, On the Relationship of the Tchebycheff Norm and the Efficient Frontier
        of Multiple-Criteria Objectives, Multiple Criteria Decision Making 1976;
        Miettinen, Nonlinear Multiobjective Optimization, 1999.
    """
    checks.number("tchebycheff", "reference", reference)

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        given = scalarization.preference("tchebycheff", weights, keep)
        value = given * scalarization.gap("tchebycheff", losses, reference, keep)
        value = jnp.where(keep, value, -jnp.inf)
        top = keep & (value == jnp.max(value))
        share = given / jnp.maximum(jnp.sum(top), 1)
        return jnp.where(top, share, 0).astype(losses.dtype), state

    return base.LossWeighting(
        scalarization.checked_init("tchebycheff", weights, reference), update
    )

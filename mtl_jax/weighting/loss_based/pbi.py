"""Penalty-based boundary intersection (PBI)."""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl_jax.solvers import precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.loss_based import scalarization


def pbi(
    theta: float = 5.0,
    weights: Sequence[float] | Array | None = None,
    reference: float | Sequence[float] | Array = 0.0,
    eps: float = 0.0,
) -> base.LossWeighting:
    """Descend along a ray through the losses, with a penalty on leaving it.

    With the unit vector λ̂ of the preference, the losses are at `d₁ = (L − z)·λ̂` along
    the ray from z and at `d₂ = √(‖L − z − d₁ λ̂‖² + ε)` off it. The objective is
    `d₁ + θ d₂`, so that `w = λ̂ + θ (L − z − d₁ λ̂) / d₂`. A weight is negative where a
    loss is far below the ray. Heads get the same weights. No state.

    Args:
        theta: θ, of the penalty; 5 is usual.
        weights: λ, `[T]`, the direction of the ray; default: all tasks alike.
        reference: z, where the ray starts, a number or `[T]`.
        eps: ε. Other implementations have 1e-12; any value but 0 makes the weights
            depend on the scale of the losses.

    Returns:
        A `LossWeighting`. Its `init` raises `ValueError` for vectors of another length
        or negative weights.

    Raises:
        ValueError: a hyper-parameter out of its range.

    Example:
        >>> method = pbi(theta=1.0, weights=[3.0, 4.0])
        >>> weights, _ = method.update(jnp.array([2.0, 1.0]), method.init(2))
        >>> [round(float(w), 3) for w in weights]
        [1.4, 0.2]

    References:
        Zhang and Li, MOEA/D: A Multiobjective Evolutionary Algorithm Based on
        Decomposition, IEEE Transactions on Evolutionary Computation 2007.

    On the ray d₂ has no gradient, and `w = λ̂`; that is also the answer where the losses
    leave it by no more than the rounding of their numbers.
    """
    checks.number("pbi", "theta", theta, at_least=0)
    checks.number("pbi", "eps", eps, at_least=0)
    checks.number("pbi", "reference", reference)

    @precision.in_float64
    def solve(
        gap: Array, given: Array, factor: Array, eps: Array, rounding: Array
    ) -> Array:
        length = jnp.linalg.norm(given)
        ray = given / jnp.where(length > 0, length, 1)
        off = gap - jnp.sum(gap * ray) * ray
        distance = jnp.linalg.norm(off)
        away = distance > jnp.linalg.norm(rounding)
        root = jnp.sqrt(jnp.where(away, distance**2 + eps, 1))
        return ray + jnp.where(away, factor / root, 0) * off

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        given = scalarization.preference("pbi", weights, keep)
        gap = scalarization.gap("pbi", losses, reference, keep)
        size = jnp.where(keep, jnp.abs(losses) + jnp.abs(losses - gap), 0)
        solved = solve(
            gap,
            given,
            jnp.asarray(theta, gap.dtype),
            jnp.asarray(eps, gap.dtype),
            (2 * jnp.finfo(losses.dtype).eps * size).astype(gap.dtype),
        )
        return jnp.where(keep, solved, 0).astype(losses.dtype), state

    return base.LossWeighting(
        scalarization.checked_init("pbi", weights, reference), update
    )

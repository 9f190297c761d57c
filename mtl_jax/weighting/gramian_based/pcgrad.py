"""Projecting conflicting gradients (PCGrad)."""

from typing import Literal

import jax
import jax.numpy as jnp

from mtl_jax.solvers import precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, visits


def pcgrad(order: Literal["random", "ascending"] = "random") -> base.GramianWeighting:
    """Project each gradient off the ones it conflicts with, and sum.

    For each task i, `g = g_i` meets the other gradients j ≠ i in random order, and
    where `g·g_j < 0` loses its part along the original `g_j` (algorithm 1 of the
    paper). The result is the sum over i. A projected gradient is a row c of
    coefficients, `g = Jᵀ c`, and `g·g_j = (G c)_j`, so that the Gramian is all the
    method needs. Heads get weight 1. No state.

    Args:
        order: "random" draws a new order for each task and step; "ascending" visits
            the tasks in their own order, without randomness.

    Returns:
        A `GramianWeighting`; with `order="random"` it needs the keyword `key`.

    Raises:
        ValueError: unknown order; no key.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
        >>> aggregate(pcgrad("ascending"), jacobian).direction.tolist()
        [0.5, 1.5]

    References:
        Yu, Kumar, Gupta, Levine, Hausman and Finn, Gradient Surgery for Multi-Task
        Learning, NeurIPS 2020.

    The authors' code discards the result of its shuffle (a fixed order) and projects
    on the task's own gradient too; neither is done here.
    """
    visit = visits.orders("pcgrad", order)

    @precision.in_float64
    def solve(gramian: Array, visits: Array) -> Array:
        t = gramian.shape[0]
        squared = jnp.diagonal(gramian)

        def project(i: Array, visit: Array) -> Array:
            def one(k: int, c: Array) -> Array:
                j = visit[k]
                inner = jnp.where(j == i, 0, gramian[j] @ c)
                step = jnp.minimum(inner, 0) / jnp.where(squared[j] > 0, squared[j], 1)
                return c.at[j].add(-step)

            return jax.lax.fori_loop(0, t, one, jnp.zeros_like(squared).at[i].set(1))

        return jnp.sum(
            jax.vmap(project)(jnp.arange(t, dtype=jnp.int32), visits), axis=0
        )

    def update(
        gramian: Array,
        state: base.EmptyState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        t = gramian.shape[0]
        keep = base.keep_mask(mask, t)
        weights = solve(gramian, visit(key, t))
        return jnp.where(keep, weights, 0), state

    return base.GramianWeighting(base.no_state, update)

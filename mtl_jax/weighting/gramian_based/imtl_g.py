"""Impartial multi-task learning, the gradient part (IMTL-G)."""

import jax.numpy as jnp

from mtl_jax.solvers import (
    fallback,
    min_norm,
    nonnegative_qp,
    precision,
    spectrum,
    totals,
)
from mtl_jax.typing import Array
from mtl_jax.weighting import base


def imtl_g() -> base.GramianWeighting:
    """Give the direction the same projection on every task gradient.

    The weights sum to 1 and `d · g_t / ‖g_t‖` is the same for all t: with
    `n_t = ‖g_t‖`, `w = G⁺ n / (1ᵀ G⁺ n)`, where `G⁺` is the pseudo-inverse. Weights may
    be negative, and large where `1ᵀ G⁺ n` is small. Heads get weight 1. State: the
    solver's report.

    Returns:
        A `GramianWeighting`.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(imtl_g(), jnp.array([[1.0, 0.0], [0.0, 3.0]]))
        >>> [round(float(w), 4) for w in result.weights]
        [0.75, 0.25]
        >>> [round(float(d), 4) for d in result.direction]
        [0.75, 0.75]

    References:
        Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang, Towards Impartial Multi-task
        Learning, ICLR 2021.

    The paper's formula inverts a matrix of differences of gradients and has no answer
    where they are dependent. For independent gradients the one here is the same; for
    dependent ones, where the equations have no exact solution or many, it is the one of
    least squares and least length, but where one dependency binds all gradients and
    they cancel out with positive weights (two opposite gradients): there d = 0 solves
    the equations, and the formula tends to it. A task with zero gradient has no
    direction and gets weight 0. Where `1ᵀ G⁺ n = 0` to within rounding no finite
    weights exist. The shortest vector of the convex hull takes their place, as in mgda,
    and the report says `converged = False`.
    """

    def update(
        gramian: Array,
        state: base.SolverState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.SolverState]:
        del extra, state
        rounding = float(jnp.finfo(gramian.dtype).eps)

        @precision.in_float64
        def solve(gramian: Array, mask: Array) -> nonnegative_qp.Solution:
            norms = jnp.sqrt(jnp.where(mask, jnp.diagonal(gramian), 0))
            v, still, stationary = spectrum.solve_or_cancel(
                gramian, norms, rounding, mask
            )
            total = totals.total(v)
            noise = rounding * totals.count(mask)
            # The part of the norms that a direction can give, and the sum of v.
            gains = totals.total(norms * (gramian @ v))
            attained = gains > noise * totals.total(norms**2)
            sums = jnp.abs(total) > 16 * noise * totals.total(jnp.abs(v))
            defined = attained & sums
            found = nonnegative_qp.Solution(
                jnp.where(stationary, still, v / jnp.where(defined, total, 1)),
                jnp.int32(0),
                jnp.array(True),
            )
            return fallback.unless(
                defined | stationary,
                found,
                lambda _: _undefined(gramian, norms, mask),
            )

        found = solve(gramian, base.keep_mask(mask, gramian.shape[0]))
        report = base.SolverReport(found.iterations, found.converged)
        return found.x, base.SolverState(report)

    return base.GramianWeighting(base.solver_state, update)


def _undefined(gramian: Array, norms: Array, mask: Array) -> nonnegative_qp.Solution:
    """The weights of the shortest vector; converged only where no task is there."""
    moving = mask & (norms > 0)
    among = jnp.where(totals.some(moving), moving, mask)
    found = min_norm.min_norm_point(gramian, among)
    return found._replace(converged=~totals.some(mask))

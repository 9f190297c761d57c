"""Convex quadratic programs over the non-negative orthant."""

from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.solvers import block_pivoting, lawson_hanson, scaled_qp
from mtl_jax.typing import Array


class Solution(NamedTuple):
    """A solver's answer and how it was found."""

    x: Array  # [T]
    iterations: Array  # [] int32
    converged: Array  # [] bool


def nonnegative_qp(h: Array, q: Array, *, start: Array | None = None) -> Solution:
    """Minimise `½ xᵀ H x − qᵀ x` over `x ≥ 0`, exact to rounding.

    By block principal pivoting, a few Cholesky factorisations as a rule; what that
    leaves unsolved goes to Lawson and Hanson's method.

    Args:
        h: `[T, T]`, symmetric positive semi-definite up to rounding, of any rank. Rows
            are scaled to a unit diagonal inside, so their magnitudes may differ by any
            factor. A zero on the diagonal leaves its coordinate at 0.
        q: `[T]`, in the range of H (else there may be no minimum).
        start: `[T]` bool, a guess of the positive entries. Default: those of q.

    Returns:
        The solution, `converged` where the gradient is as near to optimal in each
        coordinate as the rounding of H and q lets one tell. Where H has negative
        eigenvalues beyond its rounding (it was formed in a lower precision), their
        size takes the place of rounding. NaN where H or q is not finite.

    Example:
        >>> h = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> nonnegative_qp(h, jnp.array([2.0, -1.0])).x.tolist()
        [1.0, 0.0]

    References:
        Those of `block_pivoting` and `lawson_hanson`.
    """
    # In two steps: under vmap over q alone, H and all made from it stay one matrix.
    finite = jnp.all(jnp.isfinite(h))
    h = jnp.where(finite, h, 0)
    finite = finite & jnp.all(jnp.isfinite(q))
    problem, scale = scaled_qp.scaled(h, jnp.where(finite, q, 0))
    guess = problem.q > 0 if start is None else start & (scale > 0)
    x, pivots, done = block_pivoting.block_pivoting(problem, guess)
    x, steps, done = lawson_hanson.lawson_hanson(problem, x, done)
    return Solution(
        jnp.where(finite, x * scale, jnp.nan), pivots + steps, done & finite
    )


def on_support(h: Array, q: Array, support: Array) -> Array:
    """Solve `H_PP x_P = q_P` on a given set P of coordinates.

    Args:
        h: `[T, T]`, as for `nonnegative_qp`.
        q: `[T]`.
        support: `[T]` bool, the set P.

    Returns:
        `x [T]`, 0 outside P. Where H_PP is singular, one of the solutions.

    Example:
        >>> h = jnp.array([[2.0, 1.0], [1.0, 2.0]])
        >>> on_support(h, jnp.array([1.0, 1.0]), jnp.array([True, False])).tolist()
        [0.5, 0.0]
    """
    problem, scale = scaled_qp.scaled(h, q)
    zero = jnp.zeros_like(q)
    return scale * problem.refined(support & (scale > 0), zero, 4)

"""Convex quadratic programs over the non-negative orthant."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import (
    block_pivoting,
    fallback,
    lawson_hanson,
    principal_pivoting,
    scaled_qp,
    totals,
)
from mtl_jax.typing import Array


class Solution(NamedTuple):
    """A solver's answer and how it was found."""

    x: Array  # [T]
    iterations: Array  # [] int32
    converged: Array  # [] bool


def nonnegative_qp(h: Array, q: Array, *, start: Array | None = None) -> Solution:
    """Minimise `½ xᵀ H x − qᵀ x` over `x ≥ 0`, exact to rounding.

    By principal pivoting, a few Cholesky factorisations, where H is well conditioned;
    otherwise, or where it does not end, by block pivoting with a ridge and proximal
    rounds; what that leaves unsolved goes to Lawson and Hanson's method.

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
        >>> h = jnp.array([[4.0, 0.0], [0.0, 1.0]])
        >>> nonnegative_qp(h, jnp.array([4.0, -1.0])).x.tolist()
        [1.0, 0.0]

    References:
        Those of `block_pivoting` and `lawson_hanson`.
    """
    # In two steps: under vmap over q alone, H and all made from it stay one matrix.
    finite = totals.finite_matrix(h)
    matrix = scaled_qp.scaled_matrix(jnp.where(finite, h, 0))
    return of_matrix(matrix, jnp.where(finite, q, jnp.nan), start=start)


def of_matrix(
    matrix: scaled_qp.ScaledMatrix, q: Array, *, start: Array | None = None
) -> Solution:
    """`nonnegative_qp` for a finite matrix that has been scaled already."""
    finite = totals.finite(q)
    problem = scaled_qp.program(matrix, jnp.where(finite, q, 0))
    guess = problem.q > 0 if start is None else start & (matrix.scale > 0)
    first = jax.lax.while_loop(
        lambda s: ~s.done & (s.iterations < principal_pivoting.LIMIT) & matrix.regular,
        lambda s: principal_pivoting.pivot(problem, s),
        principal_pivoting.begin(problem, guess),
    )

    def again(s: Solution) -> Solution:
        x, steps, done = carefully(problem, guess)
        return Solution(x, s.iterations + steps, done)

    found = Solution(first.x, first.iterations, first.done)
    x, iterations, done = fallback.unless(first.done, found, again)
    return Solution(
        jnp.where(finite, x * matrix.scale, jnp.nan), iterations, done & finite
    )


def carefully(problem: scaled_qp.ScaledQP, guess: Array) -> tuple[Array, Array, Array]:
    """Solve a program whatever its rank: `x`, the number of steps, whether optimal."""
    x, pivots, done = block_pivoting.block_pivoting(problem, guess)
    x, steps, done = lawson_hanson.lawson_hanson(problem, x, done)
    return x, pivots + steps, done


def on_support(matrix: scaled_qp.ScaledMatrix, q: Array, support: Array) -> Array:
    """Solve `H_PP x_P = q_P` on a given set P of coordinates.

    Args:
        matrix: made of `h [T, T]`, as for `nonnegative_qp`.
        q: `[T]`.
        support: `[T]` bool, the set P.

    Returns:
        `x [T]`, 0 outside P. Where H_PP is singular, one of the solutions.

    Example:
        >>> matrix = scaled_qp.scaled_matrix(jnp.array([[4.0, 1.0], [1.0, 4.0]]))
        >>> on_support(matrix, jnp.ones(2), jnp.array([True, False])).tolist()
        [0.25, 0.0]
    """
    problem = scaled_qp.program(matrix, q)
    passive = support & (matrix.scale > 0)
    factor = problem.factor(passive, jnp.where(matrix.regular, 0, matrix.ridge))
    return matrix.scale * jax.lax.fori_loop(
        jnp.int32(0),
        jnp.where(matrix.regular, jnp.int32(1), jnp.int32(4)),
        lambda _, x: x + scaled_qp.solve(factor, passive, problem.q - problem.h @ x),
        jnp.zeros_like(q),
    )

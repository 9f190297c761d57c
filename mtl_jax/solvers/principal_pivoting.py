"""Pivots of a well-conditioned program: solve on a guess, move what is in error."""

from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.solvers import scaled_qp, totals
from mtl_jax.typing import Array

LIMIT = 12
"""Pivots; 2 to 5 are enough where the matrix is well conditioned, or none are."""


class Pivot(NamedTuple):
    """A guess of the positive coordinates."""

    x: Array  # [T], the solution on the guess before
    passive: Array  # [T] bool, the guess
    iterations: Array  # [] int32
    done: Array  # [] bool, x is the solution


def begin(problem: scaled_qp.ScaledQP, passive: Array) -> Pivot:
    """The first guess, `passive [T]`."""
    return Pivot(
        x=jnp.zeros_like(problem.q),
        passive=passive,
        iterations=jnp.int32(0),
        done=jnp.array(False),
    )


def pivot(problem: scaled_qp.ScaledQP, s: Pivot) -> Pivot:
    """Solve `H_PP x_P = q_P` on the guess P, and guess again.

    Every coordinate in error moves to the other side: `x_i < 0` in P, a negative
    gradient outside. Where none is, x meets the conditions of optimality: on P the
    gradient is 0 to the backward error of Cholesky's method, outside it is not below
    the rounding of H and q. For a regular H alone; block pivoting has what it takes
    for others, and an end to circles.

    Args:
        problem: T coordinates, regular.
        s: the guess.

    Example:
        >>> problem, scale = scaled_qp.scaled(jnp.eye(2), jnp.array([1.0, -1.0]))
        >>> s = pivot(problem, begin(problem, jnp.array([True, True])))
        >>> s.x.tolist(), s.passive.tolist(), bool(s.done)
        ([1.0, -1.0], [True, False], False)
        >>> s = pivot(problem, s)
        >>> s.x.tolist(), bool(s.done)
        ([1.0, 0.0], True)
    """
    x = problem.on(s.passive)
    gradient = problem.h @ x - problem.q
    # What is NaN is in error.
    wrong = ~jnp.where(s.passive, x >= 0, gradient >= -problem.noise(x))
    return Pivot(x, s.passive ^ wrong, s.iterations + 1, ~totals.some(wrong))

"""Pivots of a quadratic program: solve on a set of coordinates, move those in error."""

from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.solvers import scaled_qp, totals
from mtl_jax.typing import Array


class Pivot(NamedTuple):
    """A guess of the positive coordinates, and how the guesses before it fared."""

    x: Array  # [T], the solution on the guess before
    passive: Array  # [T] bool, the guess
    fewest: Array  # [] int32, violations so far
    chances: Array  # [] int32, left of flipping all without reaching fewer
    iterations: Array  # [] int32
    done: Array  # [] bool, x violates nothing


def begin(passive: Array, x: Array) -> Pivot:
    """The first guess, `passive [T]`."""
    return Pivot(
        x=x,
        passive=passive,
        fewest=jnp.int32(passive.shape[0] + 1),
        chances=jnp.int32(0),
        iterations=jnp.int32(0),
        done=jnp.array(False),
    )


def pivot(problem: scaled_qp.ScaledQP, s: Pivot, x: Array, q: Array) -> Pivot:
    """The next guess.

    Every coordinate in error moves to the other side (`x_i < 0` in P, a negative
    gradient outside). Where three pivots in a row do not reach fewer errors, one
    coordinate moves at a time until there are fewer.

    Args:
        problem: T coordinates.
        s: the guess P.
        x: `[T]`, the solution on P, 0 outside. An entry that is NaN is in error.
        q: `[T]`, that of the problem, or what x was solved for in its place.
    """
    gradient = problem.h @ x - q
    wrong = ~jnp.where(s.passive, x >= 0, gradient >= -problem.noise(x))
    count = totals.count(wrong)
    chances = jnp.where(count < s.fewest, 3, s.chances - 1)
    flip = jnp.where(chances >= 0, wrong, totals.first(wrong))
    return Pivot(
        x=x,
        passive=s.passive ^ flip,
        fewest=jnp.minimum(count, s.fewest),
        chances=chances,
        iterations=s.iterations + 1,
        done=count == 0,
    )

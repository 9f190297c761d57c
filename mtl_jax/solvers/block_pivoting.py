"""Block principal pivoting: quadratic programs in a few factorisations."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import scaled_qp, totals
from mtl_jax.typing import Array

_PIVOTS = 10  # of the first round, which as a rule is the only one
_MORE_PIVOTS = 20  # of every other round
_ROUNDS = 24


class _Pivot(NamedTuple):
    x: Array  # [T]
    passive: Array  # [T] bool
    fewest: Array  # [] int32, violations so far
    chances: Array  # [] int32, left of flipping all without reaching fewer
    iterations: Array  # [] int32
    done: Array  # [] bool


class _Round(NamedTuple):
    x: Array  # [T]
    passive: Array  # [T] bool
    centre: Array  # [T], of the proximal term: the last x that was solved for
    ridge: Array  # [], the weight of that term
    rounds: Array  # [] int32
    iterations: Array  # [] int32
    done: Array  # [] bool


def block_pivoting(
    problem: scaled_qp.ScaledQP, passive: Array
) -> tuple[Array, Array, Array]:
    """Solve a scaled non-negative QP, starting from a guess of the positive entries.

    A pivot solves `H_PP x_P = q_P` on the guess P and moves every coordinate that
    violates the conditions of optimality (`x_i < 0` in P, a negative gradient outside)
    to the other side. Where three pivots in a row do not reach fewer violations, one
    coordinate moves at a time until there are fewer. That needs H positive definite,
    so a small ridge δ is added, and its bias taken off P by iterative refinement.

    Where H is singular or almost so the pivots may wander. Then the proximal point
    method leads there: `q + δ c` in place of q, c the solution of the round before,
    for δ from 0.1 down to the rounding of H by factors of ten, each round starting
    with the P of the last and needing a handful of pivots.

    Args:
        problem: the program, T coordinates.
        passive: `[T]` bool, the first P.

    Returns:
        `x [T]`, non-negative; the number of pivots, int32; whether x is optimal to
        rounding, bool.

    Example:
        >>> problem, scale = scaled_qp.scaled(jnp.eye(2), jnp.array([1.0, -1.0]))
        >>> x, pivots, done = block_pivoting(problem, jnp.array([True, True]))
        >>> x.tolist(), int(pivots), bool(done)
        ([1.0, 0.0], 2, True)

    References:
        Júdice and Pires, A block principal pivoting algorithm for large-scale strictly
        monotone linear complementarity problems, 1994; Kim and Park, Fast nonnegative
        matrix factorization, 2011; Rockafellar, Monotone operators and the proximal
        point algorithm, 1976.
    """

    t = passive.shape[0]

    def pivot(s: _Pivot, q: Array, ridge: Array) -> _Pivot:
        x = scaled_qp.solve(problem.factor(s.passive, ridge), s.passive, q)
        wrong = jnp.where(s.passive, x < 0, problem.h @ x - q < -problem.noise(x))
        count = totals.count(wrong)
        chances = jnp.where(count < s.fewest, 3, s.chances - 1)
        flip = jnp.where(chances >= 0, wrong, totals.first(wrong))
        return _Pivot(
            x=x,
            passive=s.passive ^ flip,
            fewest=jnp.minimum(count, s.fewest),
            chances=chances,
            iterations=s.iterations + 1,
            done=count == 0,
        )

    def proximal(s: _Round) -> _Round:
        q = problem.q + s.ridge * s.centre
        limit = jnp.where(s.rounds == 0, jnp.int32(_PIVOTS), jnp.int32(_MORE_PIVOTS))
        start = _Pivot(
            x=s.x,
            passive=s.passive,
            fewest=jnp.int32(t + 1),
            chances=jnp.int32(0),
            iterations=jnp.int32(0),
            done=jnp.array(False),
        )
        end = jax.lax.while_loop(
            lambda p: ~p.done & (p.iterations < limit),
            lambda p: pivot(p, q, s.ridge),
            start,
        )
        x = jnp.where(end.done, end.x, s.centre)
        sharp = jnp.maximum(problem.refined(end.passive, end.x), 0)
        exact = problem.is_optimal(sharp)
        # On a singular H_PP refinement adds noise, and the rounds themselves converge.
        last = (s.rounds > 0) & (s.ridge == problem.ridge)
        settled = end.done & last & problem.is_optimal(x)
        ridge = jnp.where(end.done, s.ridge / 10, jnp.minimum(5 * s.ridge, 1))
        ridge = jnp.where(s.rounds == 0, 0.1, ridge)
        return _Round(
            x=jnp.where(exact, sharp, x),
            passive=jnp.where(end.done, end.passive, s.centre > 0),
            centre=jnp.where(s.rounds == 0, 0, x),
            ridge=jnp.maximum(ridge, problem.ridge),
            rounds=s.rounds + 1,
            iterations=s.iterations + end.iterations,
            done=exact | settled,
        )

    zero = jnp.zeros_like(problem.q)
    start = _Round(
        x=zero,
        passive=passive,
        centre=zero,
        ridge=problem.ridge,
        rounds=jnp.int32(0),
        iterations=jnp.int32(0),
        done=jnp.array(False),
    )
    end = jax.lax.while_loop(lambda s: ~s.done & (s.rounds < _ROUNDS), proximal, start)
    return end.x, end.iterations, end.done

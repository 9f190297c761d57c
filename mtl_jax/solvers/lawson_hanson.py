"""Lawson and Hanson's active-set method: slow and sure."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import scaled_qp, totals
from mtl_jax.typing import Array


class _Step(NamedTuple):
    x: Array  # [T], feasible
    passive: Array  # [T] bool, the coordinates free to be positive
    entered: Array  # [T] bool, the coordinate that entered last
    barred: Array  # [T] bool, entered without effect since x last moved
    iterations: Array  # [] int32
    done: Array  # [] bool


def lawson_hanson(
    problem: scaled_qp.ScaledQP, x: Array, done: Array
) -> tuple[Array, Array, Array]:
    """Solve a scaled non-negative QP from a feasible point.

    The method for non-negative least squares, on the normal equations: one coordinate
    with a negative gradient enters the passive set at a time, the problem is solved on
    that set, and coordinates that would turn negative leave it. No step ascends, also
    where H is singular: a column that depends on the passive ones has gradient zero
    there and never enters.

    Args:
        problem: the program, T coordinates.
        x: `[T]`, non-negative, the start.
        done: [] bool, x is the solution already. Under `vmap` the method costs nothing
            where that holds of all problems.

    Returns:
        `x [T]`, non-negative; the number of steps, int32; whether x is optimal to
        rounding, bool. `5 T + 10` steps are the limit.

    Example:
        >>> problem, scale = scaled_qp.scaled(jnp.eye(2), jnp.array([1.0, -1.0]))
        >>> x, steps, done = lawson_hanson(problem, jnp.zeros(2), jnp.array(False))
        >>> x.tolist(), int(steps), bool(done)
        ([1.0, 0.0], 2, True)

    References:
        Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.
    """
    t = x.shape[0]

    def step(s: _Step) -> _Step:
        z = problem.refined(s.passive, jnp.zeros_like(s.x), 4)
        blocked = s.passive & (z <= 0)
        feasible = ~totals.some(blocked)

        # Feasible: take z, then let in the coordinate with the steepest descent.
        descent = problem.q - problem.h @ z
        barred = jnp.where(totals.some(z != s.x), False, s.barred)
        outside = ~s.passive & ~barred & (descent > problem.noise(z))
        steepest = totals.greatest(jnp.where(outside, descent, -jnp.inf))
        entering = totals.first(outside & (descent == steepest))
        optimal = ~totals.some(outside)

        # Infeasible: go towards z until the first coordinate reaches zero.
        ratio = jnp.where(blocked, s.x / jnp.where(blocked, s.x - z, 1), jnp.inf)
        ratio = jnp.where(blocked & (s.x == z), 0, ratio)
        alpha = -totals.greatest(-ratio)
        leaving = blocked & (ratio <= alpha)
        moved = jnp.where(leaving, 0, s.x + alpha * (z - s.x))
        useless = leaving & s.entered

        return _Step(
            x=jnp.where(feasible, z, jnp.where(s.passive, moved, 0)),
            passive=jnp.where(feasible, s.passive | entering, s.passive & ~leaving),
            entered=jnp.where(feasible, entering, s.entered),
            barred=jnp.where(feasible, barred, s.barred | useless),
            iterations=s.iterations + 1,
            done=feasible & optimal,
        )

    nothing = jnp.zeros(t, bool)
    start = _Step(x, x > 0, nothing, nothing, jnp.int32(0), done)
    end = jax.lax.while_loop(
        lambda s: ~s.done & (s.iterations < 5 * t + 10), step, start
    )
    return end.x, end.iterations, done | problem.is_optimal(end.x)

"""Convex quadratic programs over the non-negative orthant."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array


class Solution(NamedTuple):
    """A solver's answer and how it was found."""

    x: Array  # [T]
    iterations: Array  # [] int32
    converged: Array  # [] bool


class _Loop(NamedTuple):
    x: Array  # [T], feasible
    passive: Array  # [T] bool, the coordinates free to be positive
    entered: Array  # [T] bool, the coordinate that entered last
    barred: Array  # [T] bool, entered without effect since x last moved
    iterations: Array  # [] int32
    done: Array  # [] bool


def nonnegative_qp(h: Array, q: Array, *, tolerance: float | None = None) -> Solution:
    """Minimise `½ xᵀ H x − qᵀ x` over `x ≥ 0` by an active-set method.

    Lawson and Hanson's algorithm for non-negative least squares, on the normal
    equations: one coordinate with a negative gradient enters the passive set at a
    time, the problem is solved exactly on that set, and coordinates that would turn
    negative leave it. It ends after finitely many steps with a solution that is exact
    to rounding, also where H is singular and q in its range: a column that depends on
    the passive ones then has gradient zero and never enters.

    Args:
        h: `[T, T]`, symmetric positive semi-definite. Rows are scaled to a unit
            diagonal inside, so their magnitudes may differ by any factor.
        q: `[T]`.
        tolerance: how far below zero a gradient must be, relative to `|q|` in the
            scaled problem, for its coordinate to enter. Default: `32 eps T`.

    Returns:
        The solution; `converged` is false where the step limit of `5 T + 10` ended it,
        or where H is so ill-conditioned that the conditions of optimality do not hold.

    Example:
        >>> h = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> nonnegative_qp(h, jnp.array([2.0, -1.0])).x.tolist()
        [1.0, 0.0]

    References:
        Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.
    """
    t = q.shape[0]
    dtype = q.dtype
    if tolerance is None:
        tolerance = 32 * float(jnp.finfo(dtype).eps) * t
    diagonal = jnp.diagonal(h)
    scale = jnp.where(
        diagonal > 0, 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)), 0
    )
    h = h * scale[:, None] * scale[None, :]
    q = q * scale
    threshold = tolerance * jnp.max(jnp.abs(q), initial=0)
    eye = jnp.eye(t, dtype=dtype)
    limit = 5 * t + 10

    def solve_passive(passive: Array) -> Array:
        both = passive[:, None] & passive[None, :]
        rhs = jnp.where(passive, q, 0)
        system = jnp.where(both, h, eye)
        z = jnp.linalg.solve(system, rhs)
        return z + jnp.linalg.solve(system, rhs - system @ z)  # one refinement

    def step(s: _Loop) -> _Loop:
        z = solve_passive(s.passive)
        z = jnp.where(jnp.all(jnp.isfinite(z)), z, s.x)
        blocked = s.passive & (z <= 0)
        feasible = ~jnp.any(blocked)

        # Feasible: take z, then let in the coordinate with the steepest descent.
        descent = q - h @ z
        barred = jnp.where(jnp.any(z != s.x), False, s.barred)
        candidates = jnp.where(s.passive | barred, -jnp.inf, descent)
        steepest = jnp.max(candidates)
        entering = _first(candidates == steepest)
        optimal = steepest <= threshold
        grown = s.passive | (entering & ~optimal)

        # Infeasible: go towards z until the first coordinate reaches zero.
        ratio = jnp.where(blocked, s.x / jnp.where(blocked, s.x - z, 1), jnp.inf)
        ratio = jnp.where(blocked & (s.x == z), 0, ratio)
        alpha = jnp.min(ratio)
        leaving = blocked & (ratio <= alpha)
        moved = jnp.where(leaving, 0, s.x + alpha * (z - s.x))
        useless = leaving & s.entered

        return _Loop(
            x=jnp.where(feasible, z, jnp.where(s.passive, moved, 0)),
            passive=jnp.where(feasible, grown, s.passive & ~leaving),
            entered=jnp.where(feasible, entering, s.entered),
            barred=jnp.where(feasible, barred, s.barred | useless),
            iterations=s.iterations + 1,
            done=feasible & optimal,
        )

    start = _Loop(
        x=jnp.zeros(t, dtype),
        passive=jnp.zeros(t, bool),
        entered=jnp.zeros(t, bool),
        barred=jnp.zeros(t, bool),
        iterations=jnp.int32(0),
        done=jnp.array(False),
    )
    end = jax.lax.while_loop(lambda s: ~s.done & (s.iterations < limit), step, start)
    gradient = h @ end.x - q
    stationary = jnp.max(jnp.abs(jnp.where(end.x > 0, gradient, 0)), initial=0)
    dual = jnp.max(jnp.where(end.x > 0, 0, -gradient), initial=0)
    tight = jnp.maximum(stationary, dual) <= 1e3 * threshold
    return Solution(end.x * scale, end.iterations, end.done & tight)


def _first(where: Array) -> Array:
    """The first true entry alone. (An argmax would bring int64 under float64.)"""
    return where & (jnp.cumsum(where.astype(jnp.float32)) == 1)

"""The weights that balance the tasks: Nash bargaining and its α-fair relatives."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve

from mtl_jax.solvers import diagonals, fallback, totals
from mtl_jax.solvers.nonnegative_qp import Solution
from mtl_jax.typing import Array

_LIMIT = 100
_SHARES = (1.0, 0.5, 0.25, 0.125, 1 / 32, 1 / 128, 1 / 512)


class _Problem(NamedTuple):
    c: Array  # [T, T], correlations; the identity where a task is left out
    size: Array  # [T, T], their absolute values
    log_b: Array  # [T]
    alpha: Array  # []
    eps: float  # of the entries of C


class _Loop(NamedTuple):
    y: Array  # [T], positive
    shift: Array  # [], what is added to the diagonal, relative
    iterations: Array  # [] int32
    stop: Array  # [] bool
    defined: Array  # [] bool, y solves the equations and no tasks cancel out


def solve(
    gramian: Array,
    alpha: float | Array = 1.0,
    mask: Array | None = None,
    *,
    eps: float | None = None,
) -> Solution:
    """Find `w > 0` with `G w = w^(−1/α)`, elementwise.

    α = 1 is the Nash bargaining solution, where every task gains the same from its own
    share, `w_i (G w)_i = 1`; α → 0 counts the gains alone, α → ∞ the worst-off task.
    The solution minimises the strictly convex `½ wᵀGw + Σ ψ(w_i)`, `ψ' = −w^(−1/α)`.

    In `y_i = w_i ‖g_i‖`, the length that task i contributes to the direction, it reads
    `C y = r`, `r_i = b_i y_i^(−1/α)`, `b_i = ‖g_i‖^(1/α − 1)`, with the correlation
    matrix C: the norms are out of the matrix, so a short gradient keeps its digits. The
    iterates are Newton's: `(C + diag(r / α y)) dy = r − C y`.

    Args:
        gramian: `[T, T]`, positive semi-definite, any rank and scale; formed in float64
            the norms of its gradients may differ by a factor of 1e8.
        alpha: `[]`, positive, about 0.1 to 20; may be traced.
        mask: `[T]` bool; false leaves a task out. Default: all are in.
        eps: rounding unit of the Gramian's entries, where it was formed in a narrower
            dtype than its own. Default: that of its dtype.

    Returns:
        `x = w [T]`. It solves the equations as closely as the entries of G are known,
        or `converged` is false:

        * A gradient is zero: its weight is 0, and x solves the other tasks.
        * Zero lies in the convex hull of the gradients, to within `eps`: no finite w
          exists. Then x is the last iterate, scaled so that no task weighs more than
          it would alone, `w_i ≤ G_ii^(−α/(1+α))`. Its large entries belong to a
          combination that cancels out, so the direction is short, and no task loses
          by it more than rounding.
        * 100 steps were not enough: α far from 1, nearly opposed gradients and norms
          of very different size, all at once. Then x is the last iterate, scaled alike.

        NaN where the Gramian is not finite.

    Example:
        >>> gramian = jnp.array([[4.0, 0.0], [0.0, 1.0]])
        >>> [round(float(w), 6) for w in solve(gramian).x]
        [0.5, 1.0]
        >>> [round(float(w), 6) for w in solve(gramian, 2.0).x]
        [0.39685, 1.0]

    References:
        Navon et al., Multi-Task Learning as a Bargaining Game, 2022, for α = 1.
        Ban and Ji, Fair Resource Allocation in Multi-Task Learning, 2024.
    """
    dtype = gramian.dtype
    t = gramian.shape[0]
    finfo = jnp.finfo(dtype)
    eps = float(finfo.eps) if eps is None else eps
    alpha = jnp.asarray(alpha, dtype)
    asked = jnp.ones(t, bool) if mask is None else mask
    finite = totals.finite_matrix(
        jnp.where(asked[:, None] & asked[None, :], gramian, 0)
    )
    squares = jnp.where(asked & finite, diagonals.diagonal(gramian), 0)
    keep = squares > 0
    both = keep[:, None] & keep[None, :]
    top = jnp.max(squares, initial=0)
    top = jnp.where(top > 0, top, 1)
    # Lengths relative to the longest gradient: the answer scales, the work does not.
    norm = jnp.sqrt(jnp.where(keep, squares / top, 1))
    c = jnp.where(both, gramian / top, 0) / norm[:, None] / norm[None, :]
    c = jnp.where(np.eye(t, dtype=bool), 1, c)
    problem = _Problem(c, jnp.abs(c), (1 / alpha - 1) * jnp.log(norm), alpha, eps)

    alone = jnp.exp((1 - alpha) / (1 + alpha) * jnp.log(norm))
    start = _Loop(
        y=alone,
        shift=jnp.asarray(t * finfo.eps, dtype),
        iterations=jnp.int32(0),
        stop=jnp.array(False),
        defined=jnp.array(False),
    )
    end = jax.lax.while_loop(
        lambda s: ~s.stop & (s.iterations < _LIMIT), lambda s: _step(problem, s), start
    )

    y = jnp.where(
        end.defined, end.y, end.y / jnp.max(jnp.where(keep, end.y / alone, 0))
    )
    w = jnp.where(keep, y / norm * top ** (-alpha / (1 + alpha)), 0)
    return Solution(
        x=jnp.where(asked & ~finite, jnp.nan, w),
        iterations=end.iterations,
        converged=end.defined & finite & totals.every(keep == asked),
    )


def _step(problem: _Problem, s: _Loop) -> _Loop:
    """One step of Newton's method."""
    c, size, log_b, alpha, eps = problem
    y = s.y
    unit = jnp.finfo(y.dtype).eps
    log_r = log_b - jnp.log(y) / alpha
    r = jnp.exp(log_r)
    cy = c @ y
    gross = size @ y
    residual = r - cy
    # As close as rounding in C y and in r allows, task by task.
    digits = 64 + 4 * (jnp.abs(log_b) + jnp.abs(log_r - log_b))
    near = unit * jnp.maximum(8 * gross, digits * r)
    solved = totals.every(jnp.abs(residual) <= near)
    gains_nothing = cy <= 64 * eps * gross

    diagonal = r / (alpha * y)
    added = diagonal + s.shift * (1 + diagonal)
    matrix = diagonals.shifted(c, jnp.ones_like(y, bool), added)
    factor = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    sides = jnp.stack([residual, jnp.where(gains_nothing, gross, 0)], axis=1)
    dy, soft = cho_solve((factor, True), sides).T
    definite = totals.finite(dy)
    dy = jnp.where(definite, dy, 0)

    # Tasks that gain nothing and cancel out, in a combination with weights `v ≥ 0`,
    # prove that zero is in the hull. Two such v are tried: y, and the softest way to
    # change it. (Tasks that gain nothing because of others are a solution.)
    v = jnp.where(gains_nothing, jnp.stack([y, soft]), 0)
    v = jnp.where(v > 0, v, 0)
    small = totals.total((v @ c) * v) <= 32 * eps * totals.total((v @ size) * v)
    opposed = totals.some(small & totals.some(v > 0))
    harmless = totals.every(cy >= -8 * eps * gross)
    hopeless = opposed & harmless

    def search(shares: tuple[float, ...]) -> tuple[Array, Array, Array]:
        moves = _moves(y, r, dy, alpha, shares)
        rise = _rise(problem, y, r, cy, moves)
        lowest = -totals.greatest(-rise)
        return moves[0], moves[totals.index_of_first(rise == lowest)], lowest

    # Half of the slope is what a whole step gains where the function is quadratic.
    slope = totals.total(residual * dy)
    whole, best, lowest = search(_SHARES[:1])
    # Where rounding hides the descent, the whole step: it converges quadratically.
    hidden = slope <= 10 * unit * totals.total(y * (gross + r))
    enough = hidden | (lowest <= -0.1 * slope)
    move = jnp.where(hidden, whole, best)
    move = fallback.unless(enough, move, lambda _: search(_SHARES)[1])
    return _Loop(
        # Also where y is close enough: the last step takes off what is left.
        y=jnp.where(hopeless | ~definite, y, y * jnp.exp(move)),
        shift=jnp.where(definite, s.shift, 100 * s.shift),
        iterations=s.iterations + 1,
        stop=solved | hopeless,
        defined=solved & ~opposed,
    )


def _moves(
    y: Array, r: Array, dy: Array, alpha: Array, shares: tuple[float, ...]
) -> Array:
    """Changes `[3 · shares, T]` of log y: shares of the step, along three curves.

    A task moves on `y^(1/α) r = b`, where a step that is short in y may be long in r
    and the reverse. It is straight in y where y counts more in the Newton matrix (the
    valleys between opposed tasks are straight in y) and straight in r elsewhere. The
    three curves differ in what they do about a step that leaves the positive numbers:
    shorten it for all tasks, shorten it for that task, or take it in the other
    variable, which grows.
    """
    tiny = jnp.finfo(y.dtype).tiny
    relative = dy / y
    stiff = r >= alpha * y
    reach = jnp.max(jnp.where(stiff, relative / alpha, -relative), initial=0)
    within = jnp.minimum(1, 0.95 / jnp.maximum(reach, tiny))
    share = jnp.array(shares, y.dtype)[:, None]
    steps = jnp.concatenate([share * within, share, share]) * relative
    in_r = jnp.stack([stiff, stiff, stiff | (relative < 0)])
    moves = jnp.where(
        jnp.repeat(in_r, len(shares), axis=0),
        -alpha * jnp.log1p(jnp.maximum(-steps / alpha, -0.9)),
        jnp.log1p(jnp.maximum(steps, -0.95)),
    )
    # A smaller y is nothing, and its inverse would overflow.
    return jnp.maximum(moves, 0.8 * jnp.log(tiny) - jnp.log(y))


def _rise(problem: _Problem, y: Array, r: Array, cy: Array, moves: Array) -> Array:
    """How much `½ yᵀCy − Σ b y^p / p`, `p = 1 − 1/α`, rises with each move."""
    p = 1 - 1 / problem.alpha
    change = y * jnp.expm1(moves)
    gain = jnp.where(p == 0, moves, jnp.expm1(p * moves) / jnp.where(p == 0, 1, p))
    curved = 0.5 * totals.total((change @ problem.c) * change)
    rise = change @ cy + curved - gain @ (r * y)
    return jnp.where(jnp.isfinite(rise), rise, jnp.inf)

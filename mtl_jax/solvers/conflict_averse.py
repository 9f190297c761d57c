"""The best direction for the worst task within a ball round the mean gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import diagonals, nonnegative_qp, scaled_qp, totals
from mtl_jax.typing import Array

_LEVELS = 60


class _Search(NamedTuple):
    level: Array  # [], to be tried
    low: Array  # [], a level with its solution within the ball
    high: Array  # [], one with its solution outside
    x: Array  # [T], the multipliers at the last level
    support: Array  # [T] bool, theirs
    predicted: Array  # [] bool: the level is exact if the support is still the same
    tries: Array  # [] int32
    iterations: Array  # [] int32
    done: Array  # [] bool
    sound: Array  # [] bool, whether the last QP converged


def solve(
    gramian: Array,
    c: Array | float,
    mask: Array | None = None,
    *,
    rounding: float | None = None,
) -> nonnegative_qp.Solution:
    """Weights of `d = argmax min_t g_t·d` over `‖d − g0‖ ≤ c ‖g0‖`, g0 the mean.

    At the optimum `d = g0 + Jᵀμ` with `μ ≥ 0`, `g_t·d = s` where `μ_t > 0` and
    `g_t·d ≥ s` elsewhere, for the level s at which `‖Jᵀμ‖ = c ‖g0‖`. For a given s
    these are the conditions of a non-negative QP, but s may be out of reach and the QP
    without a minimum. With `s = σ − κ Σ_t μ_t` they are those of

        min ½ μᵀ (G + κ 1 1ᵀ) μ − (σ 1 − G p)ᵀ μ,  μ ≥ 0,

    which has a minimum for every σ; `‖Jᵀμ‖` rises with σ, and μ is affine in σ as long
    as its support stays. So a support gives σ by a quadratic equation, σ a support by
    a QP, and when the support repeats the solution is exact. A bracket guards this. κ
    is `1 / Σ_t ‖g_t‖⁻²`, as in `min_norm`.

    Args:
        gramian: `[T, T]`, positive semi-definite, of any rank and scale; the norms of
            the gradients may differ by any factor.
        c: [] ≥ 0, the radius of the ball over `‖g0‖`. May be traced.
        mask: `[T]` bool; false leaves a task out, of the mean as well. Default: all in.
        rounding: relative error of the entries of the Gramian, by which it tells a
            direction that is 0. Default: that of its dtype; pass that of float32 where
            it was formed in float32 and is solved in float64.

    Returns:
        `x = p + μ [T]`, `d = Jᵀx`, with p = 1/n for the n tasks kept; 0 for the
        others. `c = 0` gives p exactly. Where 0 is in the convex hull of the gradients
        and the ball reaches directions with `min_t g_t·d = 0`, the most there is, that
        optimum is not unique: x is then one with that property in the ball, and counts
        as converged. NaN where the Gramian or c is
        not finite.

    Example:
        >>> gramian = jnp.array([[1.0, 0.0], [0.0, 4.0]])
        >>> [round(float(w), 4) for w in solve(gramian, 0.5).x]
        [1.059, 0.5]

    References:
        Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS
        2021, eq. 3. There the dual, `min g_w·g0 + c ‖g0‖ ‖g_w‖` over the simplex, is
        solved; its w is `μ / Σ_t μ_t`.
    """
    t = gramian.shape[0]
    dtype = gramian.dtype
    eps = float(jnp.finfo(dtype).eps)
    uncertainty = eps if rounding is None else rounding
    keep = jnp.ones(t, bool) if mask is None else mask
    both = keep[:, None] & keep[None, :]
    norms = jnp.where(keep, diagonals.diagonal(gramian), 0)
    inverse = totals.total(jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0))
    gramian = jnp.where(both, gramian, 0) * jnp.where(inverse > 0, inverse, 1)
    finite = totals.finite_matrix(gramian)
    gramian = jnp.where(finite, gramian, 0)
    h = jnp.where(both, gramian + 1, 0)  # κ = 1 in this scale
    matrix = scaled_qp.scaled_matrix(h)
    ones = keep.astype(dtype)
    p = ones / jnp.maximum(totals.total(ones), 1)
    along = gramian @ p  # g_t·g0
    radius = jnp.asarray(c, dtype) * jnp.sqrt(jnp.maximum(totals.total(p * along), 0))

    def step(s: _Search) -> _Search:
        q = s.level * ones - along
        found = nonnegative_qp.of_matrix(matrix, q, start=s.support)
        x, support = found.x, found.x > 0
        # x moves by `slope` a unit of level, and leaves the ball after `shift`.
        slope = nonnegative_qp.on_support(matrix, ones, support)
        towards = gramian @ slope
        a, b = totals.total(slope * towards), totals.total(x * towards)
        length = jnp.sqrt(jnp.maximum(totals.total(x * (gramian @ x)), 0))
        gap = (radius - length) * (radius + length)
        root = b + jnp.sqrt(jnp.maximum(b**2 + a * gap, 0))
        shift = jnp.where(root > 0, gap / jnp.where(root > 0, root, 1), jnp.inf)
        low = jnp.where(gap >= 0, s.level, s.low)
        high = jnp.where(gap >= 0, s.high, s.level)

        # Where the support is the predicted one, or the level is exact to rounding.
        hit = s.predicted & totals.every(support == s.support)
        hit = hit | (jnp.abs(gap) <= 16 * t * eps * radius**2)
        hit = hit | (jnp.abs(shift) <= 8 * eps * jnp.abs(s.level))
        # Or where a higher level changes d no more: min_t g_t·d is 0 within the ball.
        size = jnp.abs(slope)
        noise = (4 * uncertainty + t * eps) * totals.total(size * (jnp.abs(h) @ size))
        flat = (gap >= 0) & ((a <= noise) | (root <= 0))

        newton = s.level + shift
        safe = (newton > low) & (newton < high) & (s.tries % 8 != 7)
        middle = jnp.where(
            jnp.isfinite(high), (low + high) / 2, low + 4 * (jnp.abs(low) + 1)
        )
        moved = jnp.maximum(x + jnp.where(hit & ~flat, shift, 0) * slope, 0)
        return _Search(
            level=jnp.where(safe, newton, middle),
            low=low,
            high=high,
            x=moved,
            support=support,
            predicted=safe,
            tries=s.tries + 1,
            iterations=s.iterations + found.iterations,
            done=hit | flat,
            sound=found.converged,
        )

    reach = along + radius * jnp.sqrt(diagonals.diagonal(gramian))
    start = _Search(
        # No task can be better off than with the ball to itself.
        level=jnp.min(jnp.where(keep, reach, jnp.inf)),
        low=jnp.min(jnp.where(keep, along, jnp.inf)),
        high=jnp.asarray(jnp.inf, dtype),
        x=jnp.zeros(t, dtype),
        support=keep,
        predicted=jnp.array(False),
        tries=jnp.int32(0),
        iterations=jnp.int32(0),
        done=~(radius > 0),
        sound=jnp.array(True),
    )
    end = jax.lax.while_loop(lambda s: ~s.done & (s.tries < _LEVELS), step, start)
    return nonnegative_qp.Solution(
        x=jnp.where(finite & (radius >= 0), p + end.x, jnp.nan),
        iterations=end.iterations,
        converged=end.done & end.sound & finite & (radius >= 0),
    )

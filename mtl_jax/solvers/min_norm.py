"""The point of least norm in the convex hull of the task gradients."""

import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from mtl_jax.solvers import diagonals, nonnegative_qp, scaled_qp, totals
from mtl_jax.typing import Array


def min_norm_point(
    gramian: Array, mask: Array | None = None
) -> nonnegative_qp.Solution:
    """Minimise `wᵀ G w` over the probability simplex.

    With `H = G + s² 1 1ᵀ` the simplex problem is a non-negative one: the minimiser x
    of `½ xᵀ H x − s² 1ᵀ x` over `x ≥ 0` is a positive multiple of w for any `s > 0`.
    `s² = 1 / Σ_t ‖g_t‖⁻²`, the order of the optimum, so that a short gradient among
    long ones keeps its digits.

    Args:
        gramian: `[T, T]`, positive semi-definite, any rank and scale.
        mask: `[T]` bool; false leaves a task out. Default: all are in.

    Returns:
        `x = w [T]`, non-negative with sum 1; all zero where every task is masked, NaN
        where the Gramian is not finite.

    Example:
        >>> gramian = jnp.array([[1.0, 0.0], [0.0, 3.0]])
        >>> [round(float(w), 6) for w in min_norm_point(gramian).x]
        [0.75, 0.25]

    References:
        Wolfe, Finding the nearest point in a polytope, 1976, for the reduction.
    """
    t = gramian.shape[0]
    keep = jnp.ones(t, bool) if mask is None else mask
    norms = jnp.where(keep, diagonals.diagonal(gramian), 0)
    # The optimum itself where the gradients are orthogonal, and never above the least.
    inverse = totals.total(jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0))
    zero = inverse == 0
    s = 1 / jnp.where(zero, 1, inverse)
    gramian = gramian / s  # the answer does not depend on the scale
    both = keep[:, None] & keep[None, :]
    h = jnp.where(both, gramian + 1, 0)
    finite = totals.finite_matrix(h)
    ones = keep.astype(gramian.dtype)
    matrix = scaled_qp.scaled_matrix(jnp.where(finite, h, 0))
    # Without the bounds, to half the digits: as a rule most entries are positive.
    rough = cho_solve((matrix.rough, True), matrix.scale)
    guess = rough > 1e-6 * totals.total(jnp.abs(rough))
    guess = jnp.where(matrix.regular, guess, keep)
    solution = nonnegative_qp.of_matrix(matrix, ones, start=guess)
    x = jnp.where(zero, keep, solution.x)  # J = 0: uniform
    total = totals.total(x)
    w = jnp.where(total > 0, x / jnp.where(total > 0, total, 1), 0)
    return solution._replace(
        x=jnp.where(finite, w, jnp.nan), converged=solution.converged & finite
    )

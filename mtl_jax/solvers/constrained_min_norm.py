"""The shortest descent direction under one constraint on its slope."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import nonnegative_qp, scaled_qp
from mtl_jax.typing import Array

_PENALTY, _ROUNDS, _RIDGE = 1e4, 8, 1e-13


class Dual(NamedTuple):
    """The multipliers, and how they were found."""

    weights: Array  # [T], of the objectives, on the simplex
    multiplier: Array  # [], of the constraint, not negative
    iterations: Array  # [] int32
    converged: Array  # [] bool


def constrained_min_norm(
    gramian: Array, slope: Array, mask: Array | None = None
) -> Dual:
    """Minimise `max_i ⟨g_i, d⟩ + ½ ‖d‖²` over d with `⟨q, d⟩ ≤ −slope`.

    The dual is to minimise `½ ‖Σ_i λ_i g_i + ν q‖² − ν slope` over λ on the simplex and
    `ν ≥ 0`; then `d = −(Σ_i λ_i g_i + ν q)`. It is solved by the method of multipliers
    for the one equation `Σ_i λ_i = 1`, each round a quadratic programme over the
    non-negative orthant.

    To be run in float64: the penalty costs four digits.

    Args:
        gramian: `[T + 1, T + 1]`, the inner products of `g_1 … g_T` and, last, q.
        slope: `[]`, not negative.
        mask: `[T]` bool; false leaves an objective out.

    Returns:
        λ, all zero where every objective is masked, and ν, zero where q is.

    Example:
        >>> from mtl_jax.solvers import precision
        >>> solve = precision.in_float64(constrained_min_norm)
        >>> found = solve(jnp.eye(3), jnp.array(0.1))
        >>> [round(float(w), 6) for w in found.weights]
        [0.5, 0.5]
        >>> round(float(found.multiplier), 6)
        0.1

    References:
        Powell, A method for nonlinear constraints in minimization problems, 1969, for
        the method of multipliers.
    """
    t = gramian.shape[0] - 1
    keep = jnp.ones(t, bool) if mask is None else mask
    norms = jnp.sqrt(jnp.diagonal(gramian))
    top = jnp.max(jnp.where(keep, norms[:t], 0))
    of_objectives = jnp.where(top > 0, top, 1)
    of_constraint = jnp.where(norms[t] > 0, norms[t], 1)
    scale = jnp.concatenate(
        [jnp.where(keep, 1 / of_objectives, 0), 1 / of_constraint[None]]
    )
    ones = jnp.concatenate([keep.astype(gramian.dtype), jnp.zeros(1, gramian.dtype)])
    # In units of the longest g, ν q is of the order of the objectives' gradients.
    h = gramian * scale[:, None] * scale[None, :] + _PENALTY * jnp.outer(ones, ones)
    h = h + jnp.diag(jnp.where(jnp.diagonal(h) > 0, _RIDGE, 0))
    push = jnp.zeros_like(ones).at[t].set(slope / (of_constraint * of_objectives))
    push = jnp.where(norms[t] > 0, push, 0)

    matrix = scaled_qp.scaled_matrix(h)

    def round_(carry: tuple, _: None) -> tuple[tuple, None]:
        x, price, iterations, _ = carry
        q = (_PENALTY + price) * ones + push
        found = nonnegative_qp.of_matrix(matrix, q, start=x > 0)
        price = price + _PENALTY * (1 - jnp.sum(ones * found.x))
        iterations = iterations + found.iterations
        return (found.x, price, iterations, found.converged), None

    start = (
        ones,
        jnp.zeros((), gramian.dtype),
        jnp.zeros((), jnp.int32),
        jnp.ones((), bool),
    )
    (x, _, iterations, converged), _ = jax.lax.scan(round_, start, None, length=_ROUNDS)
    total = jnp.sum(ones * x)
    some = jnp.any(keep)
    converged = ~some | (converged & (jnp.abs(total - 1) < 1e-6))
    weights = x[:t] / jnp.where(total > 0, total, 1)
    multiplier = jnp.where(some, x[t] * of_objectives / of_constraint, 0)
    finite = jnp.all(jnp.isfinite(jnp.where(some, h, 0)))
    return Dual(
        jnp.where(finite, weights, jnp.nan),
        jnp.where(finite, multiplier, jnp.nan),
        iterations,
        converged & finite,
    )

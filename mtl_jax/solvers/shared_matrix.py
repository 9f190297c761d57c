"""Many quadratic programs with one matrix."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import nonnegative_qp, principal_pivoting, scaled_qp, totals
from mtl_jax.typing import Array

_AT_ONCE = 8  # programs in a batch of factorisations
_STEPS = 10  # of the gradient method that guesses


class _Careful(NamedTuple):
    x: Array  # [N, T]
    iterations: Array  # [N] int32
    done: Array  # [N] bool
    ended: Array  # [N] bool


def solve(h: Array, q: Array) -> nonnegative_qp.Solution:
    """Minimise `½ xᵀ H x − q_nᵀ x` over `x ≥ 0` for every n, exact to rounding.

    As `nonnegative_qp` does, but a few steps of the gradient method on all programs,
    products of matrices, guess the positive entries first; and the programs pass
    through the pivots in small batches, where one that is solved makes room for the
    next, so that none waits for the slowest.

    Args:
        h: `[T, T]`, as for `nonnegative_qp`.
        q: `[N, T]`, each in the range of H.

    Returns:
        The solutions, `x [N, T]`, `iterations [N]`, `converged [N]`. NaN where H or
        the q of a program is not finite.

    Example:
        >>> h = jnp.array([[4.0, 0.0], [0.0, 1.0]])
        >>> solve(h, jnp.array([[4.0, -1.0], [-1.0, 3.0]])).x.tolist()
        [[1.0, 0.0], [0.0, 3.0]]
    """
    finite = totals.finite_matrix(h)
    matrix = scaled_qp.scaled_matrix(jnp.where(finite, h, 0))
    finite = finite & totals.every(jnp.isfinite(q))
    q = jnp.where(finite[:, None], q, 0) * matrix.scale
    guess = _guess(matrix.h, q)

    def problem(n: Array) -> scaled_qp.ScaledQP:
        return scaled_qp.ScaledQP(matrix.h, q[n], matrix.ridge, matrix.regular)

    def pivot(n: Array, s: principal_pivoting.Pivot) -> principal_pivoting.Pivot:
        return principal_pivoting.pivot(problem(n), s)

    numbers = jnp.arange(len(q), dtype=jnp.int32)
    first = _in_batches(
        pivot,
        lambda s: ~s.done & (s.iterations < principal_pivoting.LIMIT) & matrix.regular,
        jax.vmap(lambda n: principal_pivoting.begin(problem(n), guess[n]))(numbers),
    )

    def carefully(n: Array, s: _Careful) -> _Careful:
        x, steps, done = nonnegative_qp.carefully(problem(n), guess[n])
        return _Careful(x, s.iterations + steps, done, jnp.array(True))

    end = _in_batches(
        carefully,
        lambda s: ~s.ended,
        _Careful(first.x, first.iterations, first.done, first.done),
    )
    return nonnegative_qp.Solution(
        jnp.where(finite[:, None], end.x * matrix.scale, jnp.nan),
        end.iterations,
        end.done & finite,
    )


def _guess(h: Array, q: Array) -> Array:
    """`[N, T]` bool: where some steps of Nesterov's method from 0 end above 0."""
    # Between the largest eigenvalue and T times that.
    bound = jnp.minimum(jnp.max(totals.total(jnp.abs(h))), jnp.sqrt(jnp.sum(h * h)))
    rate = 1 / jnp.where(bound > 0, bound, 1)
    x = ahead = jnp.zeros_like(q)
    speed = 1.0
    for _ in range(_STEPS):
        moved = jnp.maximum(ahead - rate * (ahead @ h - q), 0)
        faster = (1 + (1 + 4 * speed**2) ** 0.5) / 2
        x, ahead = moved, moved + (speed - 1) / faster * (moved - x)
        speed = faster
    return x > 0


def _in_batches(
    step: Callable[[Array, Any], Any],
    unfinished: Callable[[Any], Array],
    state: Any,
) -> Any:
    """Apply `step(n, state of n)` to a few unfinished programs at a time."""
    number = len(jax.tree.leaves(state)[0])
    places = jnp.arange(min(_AT_ONCE, number), dtype=jnp.int32)
    index = jnp.arange(number, dtype=jnp.int32)
    so_far = (index[:, None] >= index).astype(jnp.float32)

    def body(s: Any) -> Any:
        left = unfinished(s)
        rank = (so_far @ left.astype(jnp.float32)).astype(jnp.int32)
        which = jnp.minimum(totals.count(rank <= places[:, None]), number - 1)
        new = jax.vmap(step)(which, jax.tree.map(lambda a: a[which], s))
        place = jnp.clip(rank - 1, 0, len(places) - 1)
        taken = left & (rank <= len(places))

        def put(old: Array, fresh: Array) -> Array:
            where = taken.reshape(-1, *([1] * (old.ndim - 1)))
            return jnp.where(where, fresh[place], old)

        return jax.tree.map(put, s, new)

    return jax.lax.while_loop(lambda s: totals.some(unfinished(s)), body, state)

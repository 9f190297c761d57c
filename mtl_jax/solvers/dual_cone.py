"""The projection of a combination of gradients on their dual cone."""

import jax.numpy as jnp

from mtl_jax.solvers import nonnegative_qp, shared_matrix
from mtl_jax.typing import Array


def project(
    gramian: Array, u: Array, mask: Array | None = None
) -> nonnegative_qp.Solution:
    """Project `Jᵀu` on the cone `{d: J d ≥ 0}` of directions without conflict.

    The projection is `d = Jᵀv` with `v` the minimiser of `vᵀ G v` over `v ≥ u`: the
    multipliers of the constraints are added to the weights. With `v = u + x` that is
    the non-negative problem `min ½ xᵀ G x + (G u)ᵀ x, x ≥ 0`.

    Args:
        gramian: `[T, T]`, positive semi-definite, of any rank and scale; the norms of
            the gradients may differ by any factor.
        u: `[T]`, weights of the gradients in the vector to be projected.
        mask: `[T]` bool; false leaves a task out: neither its gradient nor its
            constraint count. Default: all are in.

    Returns:
        `x = v [T]`, with `v ≥ u` where the mask is true and 0 elsewhere. A task with a
        zero gradient keeps `v_i = u_i`. Where the weights are not unique (linearly
        dependent gradients) the direction is. NaN where the Gramian is not finite.

    Example:
        Two gradients at 135 degrees; the first is moved orthogonal to the second.

        >>> gramian = jnp.array([[2.0, -1.0], [-1.0, 1.0]])
        >>> project(gramian, jnp.array([1.0, 0.0])).x.tolist()
        [1.0, 1.0]

    References:
        Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, 2024,
        proposition 1.
    """
    keep = jnp.ones(u.shape, bool) if mask is None else mask
    u = jnp.where(keep, u, 0)
    gramian = jnp.where(keep[:, None] & keep[None, :], gramian, 0)
    solution = nonnegative_qp.nonnegative_qp(gramian, -(gramian @ u))
    return solution._replace(x=u + solution.x)


def project_each(gramian: Array, mask: Array | None = None) -> nonnegative_qp.Solution:
    """Project every gradient on the cone of directions without conflict.

    Args:
        gramian: as for `project`.
        mask: as for `project`.

    Returns:
        `x [T, T]`, row t that of `project` with u the unit vector of task t; `[T]`
        iterations and whether they converged. Zero rows for tasks left out.

    Example:
        >>> gramian = jnp.array([[4.0, -1.0], [-1.0, 1.0]])
        >>> project_each(gramian).x.tolist()
        [[1.0, 1.0], [0.25, 1.0]]
    """
    keep = jnp.ones(gramian.shape[0], bool) if mask is None else mask
    gramian = jnp.where(keep[:, None] & keep[None, :], gramian, 0)
    solution = shared_matrix.solve(gramian, -gramian)
    return solution._replace(x=jnp.diag(keep.astype(gramian.dtype)) + solution.x)

"""Projection of the mean gradient on the dual cone (DualProj)."""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl_jax.solvers import dual_cone, nonnegative_qp, precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


def dualproj(pref: Sequence[float] | Array | None = None) -> base.GramianWeighting:
    """Descend along the nearest direction to the mean gradient without conflict.

    `d` is the projection of `Jᵀ p` on `{d: J d ≥ 0}`, the directions along which no
    loss rises. In weights, `d = Jᵀ w` with `w = argmin vᵀ G v` over `v ≥ p`. Where the
    mean gradient conflicts with no task, d is the mean gradient. Heads get weight 1.
    State: the solver's report.

    Args:
        pref: p, `[T]`, non-negative; used as they are, whatever their sum. Default:
            1/T for T tasks that are there.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: preferences that are negative or all zero; from `init`: another
            number of them than of tasks.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [-3.0, 1.0]])
        >>> aggregate(dualproj(), jacobian).direction.tolist()
        [0.0, 0.5]

    References:
        Lopez-Paz and Ranzato, Gradient Episodic Memory for Continual Learning,
        NeurIPS 2017; Quinton and Rey, Jacobian Descent for Multi-Objective
        Optimization, arXiv 2024.

    The first paper projects the gradient of the present task of a sequence on the cone
    of the tasks before it; the second looks at the mean of tasks learnt together. Other
    implementations add 1e-4 to the diagonal of the Gramian, relative to its trace, and
    return the plain mean where the trace is below 1e-4, so that small gradients
    conflict with d; here they do not.
    """
    if pref is not None:
        checks.preference("dualproj", "pref", pref, jnp.asarray(pref).size)

    @precision.in_float64
    def solve(gramian: Array, p: Array, mask: Array) -> nonnegative_qp.Solution:
        return dual_cone.project(gramian, p, mask)

    def init(num_tasks: int, params: object = None) -> base.SolverState:
        checks.preference("dualproj", "pref", pref, num_tasks)
        return base.solver_state(num_tasks, params)

    def update(
        gramian: Array,
        state: base.SolverState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.SolverState]:
        del extra, state
        t = gramian.shape[0]
        keep = base.keep_mask(mask, t)
        p = checks.preference("dualproj", "pref", pref, t)
        if pref is None:
            p = keep / jnp.maximum(jnp.sum(keep), 1)
        found = solve(gramian, jnp.where(keep, p, 0), keep)
        report = base.SolverReport(found.iterations, found.converged)
        return found.x, base.SolverState(report)

    return base.GramianWeighting(init, update)

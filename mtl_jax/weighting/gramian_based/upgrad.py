"""Unconflicting projection of gradients (UPGrad)."""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl_jax.solvers import dual_cone, precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


def upgrad(pref: Sequence[float] | Array | None = None) -> base.GramianWeighting:
    """Project each gradient on the cone of directions without conflict, and average.

    `d = Σ_t p_t π(g_t)`, where π projects on `{d: J d ≥ 0}`. Each projection is the
    nearest direction to its gradient along which no loss rises, so d conflicts with no
    task, and a longer gradient has a larger say. In weights, `π(g_t) = Jᵀ v_t` with
    `v_t = argmin vᵀ G v` over `v ≥ e_t`, and `w = Σ_t p_t v_t`. For two tasks in
    conflict d is half of what pcgrad gives. Heads get weight 1. State: the solver's
    report, the worst of the T problems of a step.

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
        >>> aggregate(upgrad(), jnp.array([[1.0, 0.0], [-1.0, 1.0]])).direction.tolist()
        [0.25, 0.75]

    References:
        Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, arXiv 2024.

    The authors' code adds 1e-4 to the diagonal of the Gramian, relative to its trace,
    and takes the plain mean of the gradients where the trace is below 1e-4; there d
    conflicts when gradients are small or of different lengths. The solver here needs
    neither.
    """
    if pref is not None:
        checks.preference("upgrad", "pref", pref, jnp.asarray(pref).size)

    @precision.in_float64
    def solve(gramian: Array, pref: Array, mask: Array) -> tuple[Array, Array, Array]:
        found = dual_cone.project_each(gramian, mask)
        return (
            pref @ found.x,
            jnp.max(jnp.where(mask, found.iterations, 0)),
            jnp.all(found.converged | ~mask),
        )

    def init(num_tasks: int, params: object = None) -> base.SolverState:
        checks.preference("upgrad", "pref", pref, num_tasks)
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
        p = checks.preference("upgrad", "pref", pref, t)
        if pref is None:
            p = keep / jnp.maximum(jnp.sum(keep), 1)
        weights, iterations, converged = solve(gramian, jnp.where(keep, p, 0), keep)
        return weights, base.SolverState(base.SolverReport(iterations, converged))

    return base.GramianWeighting(init, update)

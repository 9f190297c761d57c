"""Priority-constrained descent (PCD)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import nonnegative_qp, precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks, shares


class PCDState(NamedTuple):
    """Moving averages of the squared gradient norms, updated every step."""

    squares: Array  # [T] float32, v, not yet bias-corrected
    num_steps: Array  # [T] int32, steps in which the task had labels
    solver: base.SolverReport


def pcd(
    tau: float = 0.02, beta: float = 0.999, eps: float = 0.0, primary: int = 0
) -> base.GramianWeighting:
    """Follow one task's gradient as closely as some progress for the others allows.

    With `g̃_t = g_t / √(v̂_t + eps)`, v̂ the bias-corrected moving average of `‖g_t‖²`,
    `d̃ = argmin ‖d − g̃_0‖²` subject to `g̃_j·d ≥ τ ‖g̃_j‖²` for every other task j: each
    gets at least a τ-th of the progress that its own gradient would give it. Then
    `d = d̃ ‖g_0‖ / ‖d̃‖`. The multipliers μ of the constraints are the weights,
    `d̃ = g̃_0 + Σ_j μ_j g̃_j`. Heads get weight 1.
    State: v, its step counts and the solver's report.

    Args:
        tau: τ in [0, 1].
        beta: decay of the moving average, in [0, 1).
        eps: added to v̂. The authors' value is 1e-8; any but 0 makes the result depend
            on the scale of the losses.
        primary: number of the task with priority.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: a number out of its range; no task of that number.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
        >>> result = aggregate(pcd(tau=0.0), jacobian)
        >>> [round(float(d), 4) for d in result.direction]
        [0.7071, 0.7071]

    References:
        Varam and AlHajri, Not All Objectives Are Born Equal: Priority-Constrained
        Descent for Hierarchical Multi-Objective Optimization, TMLR 2026.

    Where no direction meets all constraints (zero in the convex hull of the other
    tasks' gradients, to within the rounding of the Gramian) they are dropped for the
    step and d is the primary gradient, the authors' rule. A primary gradient of zero
    gives d = 0, and so does a batch without a label for the primary task. The authors
    try all sets of constraints, 2^(T−1) of them; the solver here takes any T.
    """
    checks.number("pcd", "tau", tau, at_least=0, at_most=1)
    checks.number("pcd", "beta", beta, at_least=0, below=1)
    checks.number("pcd", "eps", eps, at_least=0)
    checks.integer("pcd", "primary", primary, at_least=0)

    def init(num_tasks: int, params: object = None) -> PCDState:
        del params
        if primary >= num_tasks:
            raise ValueError(
                f"pcd was given primary={primary} and {num_tasks} tasks; give the "
                f"number of a task, 0 to {num_tasks - 1}"
            )
        return PCDState(
            jnp.zeros(num_tasks, base.state_dtype()),
            jnp.zeros(num_tasks, jnp.int32),
            base.no_report(),
        )

    def update(
        gramian: Array,
        state: PCDState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, PCDState]:
        del extra
        t = gramian.shape[0]
        keep = base.keep_mask(mask, t)
        num_steps = state.num_steps + keep.astype(jnp.int32)
        solve = precision.in_float64(
            _solver(primary, float(jnp.finfo(gramian.dtype).eps))
        )
        constants = (jnp.asarray(x) for x in (tau, beta, eps))
        weights, squares, report = solve(
            gramian, state.squares, num_steps, keep, *constants
        )
        squares = squares.astype(state.squares.dtype)
        return weights, PCDState(squares, num_steps, report)

    return base.GramianWeighting(init, update)


def _solver(primary: int, rounding: float) -> Callable[..., tuple]:
    """The method on arrays; `rounding` is the relative error of the Gramian."""

    def solve(
        gramian: Array,
        squares: Array,
        num_steps: Array,
        keep: Array,
        tau: Array,
        beta: Array,
        eps: Array,
    ) -> tuple[Array, Array, base.SolverReport]:
        present = jnp.where(keep, jnp.diagonal(gramian), 0)
        squares = jnp.where(keep, beta * squares + (1 - beta) * present, squares)
        seen = num_steps > 0
        v = squares / jnp.where(seen, 1 - beta ** jnp.maximum(num_steps, 1), 1) + eps
        scale = jnp.where(keep & (v > 0), 1 / jnp.sqrt(jnp.where(v > 0, v, 1)), 0)
        g = gramian * scale[:, None] * scale[None, :]
        diagonal = jnp.diagonal(g)

        others = jnp.arange(gramian.shape[0], dtype=jnp.int32) != primary
        both = others[:, None] & others[None, :]
        secondary = jnp.where(others, diagonal, 0)
        demand = jnp.where(others, tau * diagonal, 0)
        inner = jnp.where(others, g[primary], 0)
        # By Gordan's theorem the demands can be met unless 0 is in the convex hull of
        # the unit vectors; the shortest vector there is a problem of the same form (see
        # `solvers.min_norm`), and one program solves the two.
        active = others & (secondary > 0)
        unit = jnp.where(active, 1 / jnp.sqrt(jnp.where(active, secondary, 1)), 0)
        h = jnp.where(both, g, 0)
        cosines = h * unit[:, None] * unit[None, :]
        corner = active[:, None] & active[None, :]
        found = jax.vmap(nonnegative_qp.nonnegative_qp)(
            jnp.stack([h, jnp.where(corner, cosines + 1, 0)]),
            jnp.stack([demand - inner, active.astype(g.dtype)]),
        )
        nearest = shares.of_present(found.x[1], active)
        stuck = jnp.any(active) & (nearest @ cosines @ nearest <= 4 * rounding)
        stuck = stuck & (tau > 0)
        mu = jnp.where(stuck, 0, found.x[0])

        # ‖d̃‖² = d̃·g̃_0 + Σ μ_j (g̃_j·d̃), and g̃_j·d̃ is the demand where μ_j > 0.
        square = g[primary, primary] + mu @ inner + mu @ demand
        size = g[primary, primary] + mu @ jnp.abs(inner) + mu @ demand
        moves = square > 4 * rounding * size
        root = jnp.sqrt(jnp.where(moves, square, 1))
        length = jnp.where(moves, jnp.sqrt(present[primary]) / root, 0)
        weights = length * jnp.where(others, mu, 1) * scale
        report = base.SolverReport(
            jnp.sum(found.iterations, dtype=jnp.int32),
            found.converged[1] & (stuck | found.converged[0]),
        )
        return weights, squares, report

    return solve

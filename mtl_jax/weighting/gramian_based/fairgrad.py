"""Fair resource allocation in multi-task learning (FairGrad)."""

from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.solvers import bargaining, nonnegative_qp, precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class FairGradState(NamedTuple):
    """The weights of the heads."""

    weights: Array  # [T] float32, an absent task's is left as it was
    solver: base.SolverReport


def fairgrad(alpha: float = 1.0) -> base.GramianWeighting:
    """Share the descent fairly among the tasks: `G w = w^(−1/α)`, elementwise.

    The direction maximises the sum of `(g_t · d)^(1−α) / (1−α)` (for α = 1 of the
    logarithms) over directions of one length; its weights solve the equation above, and
    `w_t = (g_t · d)^(−α)` is the larger the less task t gains. α → 0 is the plain sum,
    α = 1 nash_mtl without its clip, α → ∞ looks at the task that gains least. d
    conflicts with no task. Heads get the same weights. State: these weights, and
    the solver's report.

    The step is not proportional to the losses: multiplied by s, they give a direction
    of the same sense and `s^((1−α)/(1+α))` times the length.

    Args:
        alpha: α, positive, about 0.1 to 20. The authors' code has 1; their runs 2.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: α not positive.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(fairgrad(), jnp.array([[2.0, 0.0], [0.0, 1.0]]))
        >>> [round(float(w), 4) for w in result.weights]
        [0.5, 1.0]

    References:
        Ban and Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024.

    The authors' code multiplies the weights by T, limits the length of d to 1 and gives
    heads the weight 1; here are the weights of the paper. It solves the equation by
    general least squares, which stops far from the solution for gradients shorter than
    1e-3. No finite weights exist where a gradient is zero, or the point is Pareto
    stationary (0 in the convex hull of the gradients). Then the report says
    `converged = False`: a task with zero gradient gets weight 0 and the others are
    solved without it; at a stationary point d is 0, or a short step for tasks that gain
    at no cost to others, and the heads get the weights of a combination that cancels,
    none larger than alone (`w_t ≤ ‖g_t‖^(−2α/(1+α))`).
    """
    checks.number("fairgrad", "alpha", alpha, above=0)

    def init(num_tasks: int, params: object = None) -> FairGradState:
        del params
        return FairGradState(jnp.zeros(num_tasks, base.state_dtype()), base.no_report())

    def update(
        gramian: Array,
        state: FairGradState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, FairGradState]:
        del extra
        rounding = float(jnp.finfo(gramian.dtype).eps)

        @precision.in_float64
        def solve(
            gramian: Array, alpha: Array, mask: Array
        ) -> tuple[Array, nonnegative_qp.Solution]:
            found = bargaining.solve(gramian, alpha, mask, eps=rounding)
            return zero_if_it_cancels(gramian, found, rounding), found

        keep = base.keep_mask(mask, gramian.shape[0])
        weights, found = solve(gramian, jnp.asarray(alpha), keep)
        heads = jnp.where(keep, found.x.astype(state.weights.dtype), state.weights)
        report = base.SolverReport(found.iterations, found.converged)
        return weights, FairGradState(heads, report)

    return base.GramianWeighting(init, update, weigh_heads=lambda s: s.weights)


def zero_if_it_cancels(
    gramian: Array, found: nonnegative_qp.Solution, rounding: float
) -> Array:
    """The weights of the bargain, or zero where it failed and they cancel.

    Args:
        gramian: `[T, T]`.
        found: what `bargaining.solve` made of it.
        rounding: eps of the dtype in which the Gramian was formed.

    Returns:
        `[T]`; zero where `found` has not converged and no digit of `‖Jᵀ w‖` is known.
    """
    weights = found.x
    seen = weights > 0
    gramian = jnp.where(seen[:, None] & seen[None, :], gramian, 0)
    total = weights @ jnp.sqrt(jnp.diagonal(gramian))
    cancels = weights @ gramian @ weights <= 8 * rounding * total**2
    return jnp.where(cancels & ~found.converged, 0, weights)

"""Multi-task learning as a bargaining game (Nash-MTL)."""

from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.solvers import bargaining, precision, totals
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.algebra.every_k import every_k
from mtl_jax.weighting.gramian_based.fairgrad import zero_if_it_cancels


class NashMTLState(NamedTuple):
    """The weights before the limit on the length of d."""

    alpha: Array  # [T] float32, an absent task's is left as it was
    solver: base.SolverReport


def nash_mtl(
    max_norm: float = 1.0, update_weights_every: int = 1
) -> base.GramianWeighting:
    """Agree on the direction of the Nash bargaining solution.

    d maximises `Σ_t log(g_t · d)` over directions of one length. It is `d = Jᵀ α` with
    the positive α for which `G α = 1/α`, elementwise: each task gains `g_t · d = 1/α_t`
    and no task conflicts with d. `‖d‖ = √T` whatever the gradients, so the size of the
    losses does not matter, nor does the step shrink as they do. The weights are α times
    `min(1, max_norm / ‖d‖)`. Heads get α itself. State: α, and the solver's report;
    with `update_weights_every > 1` the number of steps and the weights in hand too.

    Args:
        max_norm: the limit on `‖d‖`; 0 for none. As `‖d‖ = √T`, any limit below that
            makes it the length of every step.
        update_weights_every: k; the weights of steps 0, k, 2k, … are used again, limit
            and all, in the steps between, which cost one backward pass: `every_k`.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: a negative limit; a k below 1.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(nash_mtl(), jnp.array([[3.0, 0.0], [0.0, 4.0]]))
        >>> [round(float(d), 4) for d in result.direction]
        [0.7071, 0.7071]
        >>> [round(float(a), 4) for a in result.state.alpha]
        [0.3333, 0.25]

    References:
        Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik and Fetaya, Multi-Task
        Learning as a Bargaining Game, ICML 2022.

    The authors solve the equation by a sequence of 20 convex programs, and where a
    program fails use the weights of the step before, or ones. Their stop looks at a
    rescaled Gramian, so that parallel or short gradients get ones too. Here it is
    solved to rounding by Newton's method. They limit `‖d‖` anew in every step; here the
    limited weights are used again between refreshes, where there is no Gramian.

    No finite α exists where a gradient is zero, or the point is Pareto stationary (0 in
    the convex hull of the gradients). Then the report says `converged = False`: a task
    with zero gradient gets weight 0 and the others are solved without it; at a
    stationary point d is 0, or a short step for tasks that gain at no cost to others,
    and the heads get the α of a combination that cancels, none larger than alone
    (`α_t ≤ 1/‖g_t‖`).
    """
    checks.number("nash_mtl", "max_norm", max_norm, at_least=0)
    checks.integer("nash_mtl", "update_weights_every", update_weights_every, at_least=1)

    def init(num_tasks: int, params: object = None) -> NashMTLState:
        del params
        return NashMTLState(jnp.zeros(num_tasks, base.state_dtype()), base.no_report())

    def update(
        gramian: Array,
        state: NashMTLState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, NashMTLState]:
        del extra
        rounding = float(jnp.finfo(gramian.dtype).eps)

        @precision.in_float64
        def solve(
            gramian: Array, limit: Array, mask: Array
        ) -> tuple[Array, Array, Array, Array]:
            found = bargaining.solve(gramian, 1.0, mask, eps=rounding)
            weights = zero_if_it_cancels(gramian, found, rounding)
            both = mask[:, None] & mask[None, :]
            gramian = jnp.where(both, gramian, 0)
            square = totals.total(weights * (gramian @ weights))
            norm = jnp.sqrt(jnp.maximum(square, 0))
            longest = jnp.maximum(norm, limit)
            share = jnp.where(limit > 0, limit / jnp.where(limit > 0, longest, 1), 1)
            return found.x, share * weights, found.iterations, found.converged

        keep = base.keep_mask(mask, gramian.shape[0])
        alpha, weights, *report = solve(gramian, jnp.asarray(max_norm), keep)
        alpha = alpha.astype(state.alpha.dtype)
        return weights, NashMTLState(
            jnp.where(keep, alpha, state.alpha), base.SolverReport(*report)
        )

    method = base.GramianWeighting(init, update, weigh_heads=lambda s: s.alpha)
    if update_weights_every == 1:
        return method
    return every_k(method, update_weights_every)

"""Robust multi-task learning with excess risks (ExcessMTL)."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks, task_rows

_CONVENTIONS = ("official", "torchjd")


class ExcessMTLState(NamedTuple):
    """Sums of squared gradients and the task weights, updated every step."""

    squares: PyTree  # S, leaves [T, ...] float32 or wider
    log_weights: Array  # [T] float32
    baseline: Array  # [T] float32, E(1); 0 before there is one


def excess_mtl(
    robust_step_size: float = 0.01,
    convention: Literal["official", "torchjd"] = "official",
    eps: float = 0.0,
) -> base.GradientAggregator:
    """Weigh tasks up by how far they are from their own best loss.

    The excess risk of a task is estimated as `E_t = Σ_p g_tp² / √(S_tp + eps)`, S the
    running sum of the squared gradients: the loss that a step with the curvature √S
    would still gain. Noise in the labels does not move it as it moves the loss. Then
    `w_t ← w_t exp(η E_t / E_t(1))`, scaled to sum T, and `d = Σ_t w_t g_t` with the new
    weights. The first call stores E(1) and leaves `w = 1`. Heads get the same weights.
    State: S, one number a task and shared parameter, log w and E(1).

    Args:
        robust_step_size: η.
        convention: "official", as above; or "torchjd", another library's: weights
            with sum 1, and a first call that already moves them, by η times the raw E,
            which grows with the number of parameters.
        eps: in the root, and with "torchjd" added to E(1). The authors have 1e-7; any
            value but 0 makes the result depend on the scale of the losses.

    Returns:
        A `GradientAggregator`. It has no meaning at the representation.

    Raises:
        ValueError: a number out of its range; unknown convention; `init` without the
            parameters.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> method = excess_mtl(robust_step_size=1.0)
        >>> state = aggregate(method, jnp.eye(2)).state
        >>> result = aggregate(method, jnp.diag(jnp.array([1.0, 0.5])), state=state)
        >>> [round(float(d), 3) for d in result.direction]
        [1.237, 0.381]

    References:
        He, Zhou, Zhang, Yun, Xu, Zeng, Chilimbi and Zhao, Robust Multi-Task Learning
        with Excess Risks, ICML 2024.

    The weights are kept as logarithms: as numbers they would reach 0 and stay there.
    The E(1) of a task is its first that is not zero, and until then its weight moves
    with the sum alone. An absent task keeps its S and its weight; the others share
    theirs, and sum to their number.
    """
    checks.number("excess_mtl", "robust_step_size", robust_step_size, at_least=0)
    checks.number("excess_mtl", "eps", eps, at_least=0)
    if convention not in _CONVENTIONS:
        raise unknown_name("convention of excess_mtl", convention, _CONVENTIONS)
    official = convention == "official"

    def init(num_tasks: int, params: PyTree | None = None) -> ExcessMTLState:
        return ExcessMTLState(
            squares=task_rows.zeros("excess_mtl", num_tasks, params),
            log_weights=jnp.zeros(num_tasks, base.state_dtype()),
            baseline=jnp.zeros(num_tasks, base.state_dtype()),
        )

    def gain(grads: Array, sums: Array) -> Array:
        """A leaf's part of E, `[T]`."""
        below = sums + eps
        root = jnp.sqrt(jnp.where(below > 0, below, 1))
        terms = jnp.square(grads.astype(sums.dtype)) / root
        return jnp.sum(terms, axis=tuple(range(1, grads.ndim)))

    def update(
        task_grads: PyTree,
        state: ExcessMTLState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, ExcessMTLState]:
        del extra
        dtype = state.log_weights.dtype
        keep = base.keep_mask(mask, state.log_weights.shape[0])

        def add(old: Array, grads: Array) -> Array:
            new = jnp.square(grads.astype(old.dtype))
            return old + task_rows.per_row(keep.astype(old.dtype), old) * new

        squares = jax.tree.map(add, state.squares, task_grads)
        parts = jax.tree.leaves(jax.tree.map(gain, task_grads, squares))
        excess = jnp.sum(jnp.stack(parts), axis=0).astype(dtype)

        known = state.baseline > 0
        first = keep & ~known
        if official:
            relative = excess / jnp.where(known, state.baseline, 1)
            relative = jnp.where(first, 0, relative)
        else:
            relative = excess / jnp.where(known, state.baseline + eps, 1)
        total = _log_sum(state.log_weights, keep)
        moved = state.log_weights + robust_step_size * relative
        moved = moved - _log_sum(moved, keep)  # with sum 1
        share = jnp.where(keep, jnp.exp(moved), 0)
        weights = jnp.sum(keep) * share if official else share
        state = ExcessMTLState(
            squares=squares,
            log_weights=jnp.where(keep, moved + total, state.log_weights).astype(dtype),
            baseline=jnp.where(first, excess, state.baseline),
        )
        direction = tree.combine(weights, task_grads)
        return direction, weights.astype(dtype), state

    return base.GradientAggregator(init, update, at_representation=False)


def _log_sum(logs: Array, keep: Array) -> Array:
    """The logarithm of the sum of the present weights; 0 where none is present."""
    found = jax.nn.logsumexp(jnp.where(keep, logs, -jnp.inf))
    return jnp.where(jnp.any(keep), found, 0)

"""Dual balancing (DB-MTL)."""

from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks, task_rows


class DBMTLState(NamedTuple):
    """Moving averages of the gradients of the log losses, updated every step."""

    buffers: PyTree  # leaves [T, ...] float32 or wider
    empty: Array  # [T] float32, the share of the buffer that is still its start, zero
    num_seen: Array  # [T] int32, steps in which the task had labels


def db_mtl(
    beta: float = 0.9,
    beta_sigma: float = 0.0,
    debias: bool = False,
    eps: float = 0.0,
) -> base.GradientAggregator:
    """Take log losses, and bring all their gradients to the longest one's length.

    `h_t = ∇ log(L_t + eps) = g_t / (L_t + eps)`; `b_t ← h_t + β_k (b_t − h_t)` with
    `β_k = β / k^σ` in the k-th step; `d = Σ_t α_t b_t` with
    `α_t = max_j ‖b_j‖ / (‖b_t‖ + eps)`. Nothing depends on the scale of a loss. Heads
    get weight 1/L_t, the log losses again.
    State: b, one gradient a task (T times the memory of the shared parameters), and
    step counts.

    Args:
        beta: β, in [0, 1]; 0 keeps no average.
        beta_sigma: σ, how fast β falls; at least 0.
        debias: divide b by the share of it that is not its start.
        eps: as above. Other code has 1e-8; with 0 nothing depends on scale.

    Returns:
        A `GradientAggregator` that needs the keyword `losses`, positive ones (negative
        ones give NaN, and the step is skipped). It has no meaning at the
        representation.

    Raises:
        ValueError: a number out of its range; no losses; `init` without the
            parameters.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [0.0, 2.0]])
        >>> losses = jnp.array([0.5, 4.0])
        >>> aggregate(db_mtl(beta=0.0), jacobian, losses=losses).direction.tolist()
        [2.0, 2.0]

    References:
        Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok, Dual-Balancing for Multi-Task
        Learning, 2023.

    The published buffers begin at 0 without bias correction: with β = 0.9 the first
    direction has a tenth of its length. `debias=True` corrects that. A zero loss or
    buffer counts as a gradient of zero. An absent task keeps its buffer and its k.
    """
    checks.number("db_mtl", "beta", beta, at_least=0, at_most=1)
    checks.number("db_mtl", "beta_sigma", beta_sigma, at_least=0)
    checks.number("db_mtl", "eps", eps, at_least=0)

    def init(num_tasks: int, params: PyTree | None = None) -> DBMTLState:
        return DBMTLState(
            buffers=task_rows.zeros("db_mtl", num_tasks, params),
            empty=jnp.ones(num_tasks, base.state_dtype()),
            num_seen=jnp.zeros(num_tasks, jnp.int32),
        )

    def update(
        task_grads: PyTree,
        state: DBMTLState,
        *,
        losses: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, DBMTLState]:
        del extra
        if losses is None:
            raise ValueError("db_mtl takes log losses: update needs losses=[T]")
        dtype = state.empty.dtype
        keep = base.keep_mask(mask, losses.shape[0])
        num_seen = state.num_seen + keep.astype(jnp.int32)
        shifted = jnp.where(keep, losses.astype(dtype) + eps, 0)
        undefined = jnp.where(shifted < 0, jnp.nan, 0)
        positive = shifted > 0
        log_slope = jnp.where(positive, 1 / jnp.where(positive, shifted, 1), undefined)

        old = beta / jnp.maximum(num_seen, 1).astype(dtype) ** beta_sigma
        logs = task_rows.scaled(log_slope, task_grads)
        buffers = task_rows.average(1 - old, state.buffers, logs, keep)
        empty = jnp.where(keep, old * state.empty, state.empty).astype(dtype)
        norms = jnp.sqrt(task_rows.squared_norms(buffers))
        if debias:
            full = jnp.where(empty < 1, 1 - empty, 1)
            norms = norms / full
        longest = jnp.max(jnp.where(keep, norms, 0), initial=0)
        alpha = longest / jnp.where(norms + eps > 0, norms + eps, 1)
        if debias:
            alpha = alpha / full
        direction = tree.combine(jnp.where(keep, alpha, 0), buffers)
        state = DBMTLState(buffers, empty, num_seen)
        return task_rows.cast_like(direction, task_grads), log_slope, state

    return base.GradientAggregator(init, update, at_representation=False)

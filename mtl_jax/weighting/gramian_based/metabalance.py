"""Auxiliary gradients at the magnitude of the target's (MetaBalance)."""

from typing import Literal, NamedTuple

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks

_STRATEGIES = ("both", "larger", "smaller")


class MetaBalanceState(NamedTuple):
    """Moving averages of the gradient norms, updated every step."""

    norms: Array  # [T] float32, not yet bias-corrected
    num_steps: Array  # [T] int32, steps in which the task had labels


def metabalance(
    relax: float = 0.7,
    beta: float = 0.9,
    strategy: Literal["both", "larger", "smaller"] = "both",
    primary: int = 0,
) -> base.GramianWeighting:
    """Bring the auxiliary gradients to the magnitude of the target task's.

    With `m_t ← β m_t + (1 − β) ‖g_t‖` the target has weight 1 and an auxiliary task
    `w_t = r m_target / m_t + (1 − r)`; `d = Σ_t w_t g_t`. `r = 1` makes all gradients
    as long as the target's on average, `r = 0` is the plain sum. Heads get weight 1.
    State: m and its step counts.

    The paper does this for each tensor of shared parameters by itself: that is
    `per_group(metabalance(), by_leaf)`.

    Args:
        relax: r, in [0, 1]. The authors search it over [0, 1).
        beta: β, in [0, 1).
        strategy: which auxiliary gradients change: those "larger" than the target's
            (they are reduced), those "smaller" (enlarged), or "both".
        primary: number of the target task.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: a number out of its range; unknown strategy; no task of that number.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [0.0, 4.0]])
        >>> aggregate(metabalance(relax=1.0), jacobian).weights.tolist()
        [1.0, 0.25]
        >>> aggregate(metabalance(strategy="smaller"), jacobian).weights.tolist()
        [1.0, 1.0]

    References:
        He, Feng, Cheng, Ji, Guo and Caverlee, MetaBalance: Improving Multi-Task
        Recommendations via Adapting Gradient Magnitudes of Auxiliary Tasks, WWW 2022.

    Larger and smaller are told by the moving averages, and these are bias-corrected:
    it makes no difference to the ratio, unless a task was absent from some batches. A
    gradient that has always been zero gets weight 1, and all do before the target task
    was present once. The authors' code has the strategy "both" alone.
    """
    checks.number("metabalance", "relax", relax, at_least=0, at_most=1)
    checks.number("metabalance", "beta", beta, at_least=0, below=1)
    checks.integer("metabalance", "primary", primary, at_least=0)
    if strategy not in _STRATEGIES:
        raise unknown_name("strategy of metabalance", strategy, _STRATEGIES)

    def init(num_tasks: int, params: object = None) -> MetaBalanceState:
        del params
        if primary >= num_tasks:
            raise ValueError(
                f"metabalance was given primary={primary} and {num_tasks} tasks; give "
                f"the number of a task, 0 to {num_tasks - 1}"
            )
        return MetaBalanceState(
            jnp.zeros(num_tasks, base.state_dtype()), jnp.zeros(num_tasks, jnp.int32)
        )

    def update(
        gramian: Array,
        state: MetaBalanceState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, MetaBalanceState]:
        del extra
        keep = base.keep_mask(mask, gramian.shape[0])
        now = jnp.sqrt(jnp.diagonal(gramian)).astype(state.norms.dtype)
        norms = beta * state.norms + (1 - beta) * now
        norms = jnp.where(keep, norms, state.norms).astype(state.norms.dtype)
        num_steps = state.num_steps + keep.astype(jnp.int32)

        seen = 1 - jnp.where(num_steps > 0, beta ** jnp.maximum(num_steps, 1), 0)
        mean = norms / seen
        target = mean[primary]
        usable = (mean > 0) & (num_steps[primary] > 0)
        ratio = jnp.where(usable, target / jnp.where(usable, mean, 1), 1)
        if strategy == "larger":
            ratio = jnp.minimum(ratio, 1)
        elif strategy == "smaller":
            ratio = jnp.maximum(ratio, 1)
        weights = jnp.where(keep, relax * ratio + (1 - relax), 0)
        return weights.astype(gramian.dtype), MetaBalanceState(norms, num_steps)

    return base.GramianWeighting(init, update)

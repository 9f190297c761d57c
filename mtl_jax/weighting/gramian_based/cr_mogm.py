"""Correlation-reduced multi-objective gradient manipulation (CR-MOGM)."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.algebra import lifts, wrapping
from mtl_jax.weighting.gramian_based.upgrad import upgrad

_DEFAULT = "upgrad"


class CRMOGMState(NamedTuple):
    """The smoothed weights, updated every step for the tasks that are present."""

    weights: Array  # [T] float32, λ; 0 for a task that has not been seen
    steps: Array  # [T] int32, with the task
    inner: Any  # of the method


def cr_mogm(
    method: base.LossWeighting | base.GramianWeighting | str = _DEFAULT,
    alpha: float = 0.9,
) -> base.GramianWeighting:
    """Smooth the weights of another method over the steps.

    `λ_k = α λ_{k−1} + (1 − α) w_k` with the weights w of the method, and `λ_0 = w_1`;
    the step is `d = Jᵀ λ_k` with the gradients of the present batch. The weights w of a
    step are made from the same noisy gradients that they multiply, which biases d;
    weights that are mostly those of earlier batches hardly depend on the batch.

    Heads get the weights that the method's own rule says, with λ in the place of w: 1
    for most methods of the Gramian, λ for methods of the losses. A rule that is a
    function of the method's state is not smoothed. State: λ, the steps with each task,
    and the method's.

    Args:
        method: a `LossWeighting` or a `GramianWeighting`. By name, or as a mapping of
            a name and hyper-parameters, through `make` and in settings:
            `make("cr_mogm", method="pcgrad")`,
            `make("cr_mogm", method={"name": "pcgrad", "order": "ascending"})`.
        alpha: α, in [0, 1); at 0 the method is left as it is.

    Returns:
        A `GramianWeighting`; it needs the keywords that the method needs.

    Raises:
        TypeError: a method of another kind, or a name without `make`.
        ValueError: α out of range.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> method = cr_mogm(mgda(), alpha=0.5)
        >>> state = method.init(2)
        >>> for second in (1.0, 4.0):
        ...     gramian = jnp.diag(jnp.array([1.0, second]))
        ...     weights, state = method.update(gramian, state)
        >>> [round(float(w), 3) for w in weights]  # the mean of (½, ½) and (0.8, 0.2)
        [0.65, 0.35]

    References:
        Zhou, Zhang, Jiang, Zhong, Gu and Zhu, On the Convergence of Stochastic
        Multi-Objective Gradient Manipulation and Beyond, NeurIPS 2022.

    A task without labels in a batch keeps its λ and has weight 0 in that step; its λ
    begins with its first weight.
    """
    checks.number("cr_mogm", "alpha", alpha, at_least=0, below=1)
    if method == _DEFAULT:
        method = upgrad()
    wrapping.check_kind(
        "cr_mogm",
        method,
        base.LossWeighting,
        base.GramianWeighting,
        why="It makes a direction, and no weights that could be smoothed",
    )
    within = lifts.as_gramian(method)  # type: ignore[arg-type]

    def init(num_tasks: int, params: Any = None) -> CRMOGMState:
        return CRMOGMState(
            weights=jnp.zeros(num_tasks, base.state_dtype()),
            steps=jnp.zeros(num_tasks, jnp.int32),
            inner=within.init(num_tasks, params),
        )

    def update(
        gramian: Array, state: CRMOGMState, **extra: Any
    ) -> tuple[Array, CRMOGMState]:
        now, inner = wrapping.weigh(within, gramian, state.inner, **extra)
        keep = base.keep_mask(extra.get("mask"), gramian.shape[0])
        now = now.astype(state.weights.dtype)
        rate = jnp.asarray(alpha, now.dtype)
        smooth = rate * state.weights + (1 - rate) * now
        smooth = jnp.where(state.steps > 0, smooth, now)
        kept = jnp.where(keep, smooth, state.weights)
        weights = wrapping.masked(kept, keep).astype(gramian.dtype)
        return weights, CRMOGMState(kept, state.steps + keep, inner)

    hold = wrapping.hold(within, lambda weights, state: state.weights)
    return within._replace(
        init=init,
        update=wrapping.honour(update, hold),
        observe=wrapping.observe(within),
        weigh_heads=wrapping.weigh_heads(within.weigh_heads),
        hold=hold,
    )

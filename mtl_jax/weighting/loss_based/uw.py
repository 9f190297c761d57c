"""Uncertainty weighting (UW)."""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import optax

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class UWState(NamedTuple):
    """The learnt uncertainties."""

    # Updated every step
    log_variance: Array  # [T] float32, s_t = log σ_t²
    optimizer: Any  # the state of the optimizer of s


def uw(
    variant: Literal["regression", "classification"] = "regression",
    s_init: float = 0.0,
    sgd_lr: float = 0.01,
    optimizer: optax.GradientTransformation | None = None,
) -> base.LossWeighting:
    """Weigh each loss by its learnt homoscedastic uncertainty.

    With `s_t = log σ_t²` the objective is `Σ_t L_t e^{−s_t}/2 + s_t/2` for Gaussian
    likelihoods (eq. 5 and 7 of the paper) or `Σ_t L_t e^{−s_t} + s_t/2` for the
    softmax likelihood (eq. 8-10). The weights are its derivatives with respect to the
    losses, at the s before the update; then s takes one step of its own optimizer
    along its closed-form gradient. Heads get the same weights. State: s.

    Args:
        variant: "regression" (weights `e^{−s}/2`) or "classification" (`e^{−s}`).
        s_init: initial value of every `s_t`.
        sgd_lr: learning rate of plain gradient descent on s. A step ends at the minimum
            for the present loss at the latest: a loss of 1e4 does not throw s so far
            that the task is lost.
        optimizer: optimizer of s in the place of plain gradient descent.

    Returns:
        A `LossWeighting`. The s of a task without labels in a batch is left as it is
        (up to what the optimizer does with a zero gradient).

    Raises:
        ValueError: unknown variant; a hyper-parameter out of its range.

    Example:
        >>> method = uw()
        >>> state = method.init(2)
        >>> weights, state = method.update(jnp.array([1.0, 4.0]), state)
        >>> weights.tolist()
        [0.5, 0.5]
        >>> [round(float(s), 4) for s in state.log_variance]
        [0.0, 0.015]

    References:
        Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh
        Losses for Scene Geometry and Semantics, CVPR 2018.

    The paper trains s with the network's optimizer; here s has its own, so that the
    method is a pure function of the losses and its state is saved with the run. Code
    of other authors differs in the factor ½ (both are here) and in `s_init` (0 or
    −0.5).
    """
    factors = {"regression": 0.5, "classification": 1.0}
    if variant not in factors:
        raise unknown_name("variant of uw", variant, factors)
    checks.number("uw", "s_init", s_init)
    checks.number("uw", "sgd_lr", sgd_lr, above=0)
    factor = factors[variant]
    plain_descent = optimizer is None
    optimizer = optax.sgd(sgd_lr) if optimizer is None else optimizer

    def not_beyond_optimum(old: Array, new: Array, losses: Array) -> Array:
        # ½ = factor e^{−s} L has its root at s = log(2 factor L).
        best = jnp.log(jnp.maximum(2 * factor * losses, jnp.finfo(new.dtype).tiny))
        up = jnp.minimum(new, jnp.maximum(old, best))
        return jnp.where(new > old, up, jnp.maximum(new, jnp.minimum(old, best)))

    def init(num_tasks: int, params: object = None) -> UWState:
        del params
        s = jnp.full(num_tasks, s_init, base.state_dtype())
        return UWState(s, optimizer.init(s))

    def update(
        losses: Array, state: UWState, *, mask: Array | None = None, **extra: object
    ) -> tuple[Array, UWState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        s = state.log_variance
        weights = jnp.where(keep, factor * jnp.exp(-s), 0)
        gradient = jnp.where(keep, 0.5 - weights * losses.astype(s.dtype), 0)
        updates, inner = optimizer.update(gradient, state.optimizer, s)
        moved = jnp.asarray(optax.apply_updates(s, updates))
        s = not_beyond_optimum(s, moved, losses) if plain_descent else moved
        return weights.astype(losses.dtype), UWState(s, inner)

    return base.LossWeighting(init, update)

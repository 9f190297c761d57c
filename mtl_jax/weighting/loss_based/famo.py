"""Fast adaptive multitask optimization (FAMO)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks

_FLOOR = 1e-8


class FAMOState(NamedTuple):
    """The task logits and their optimizer, updated after every step."""

    logits: Array  # [T] float32, ξ
    optimizer: Any  # the state of Adam on ξ


def famo(
    w_lr: float = 0.025, gamma: float = 1e-5, min_losses: float | Array = 0.0
) -> base.LossWeighting:
    """Decrease all losses at the same relative rate, at the cost of one loss.

    With `z = softmax(ξ)` and `D_t = L_t − min_t + 1e−8` the step descends
    `Σ_t z_t log(D_t) / c`, `c = Σ_t z_t / D_t` held constant (eq. 8 of the paper), so
    that `w_t = (z_t / D_t) / c`; the weights sum to 1. After the parameter update the
    losses of the same batch are computed again, and with `δ = log D − log D'` the
    logits take one step of Adam along `z ⊙ (δ − z·δ) + γ ξ` (eq. 9): the weight of a
    task that improved more falls. Heads get the same weights. State: ξ and Adam's
    moments.

    Args:
        w_lr: learning rate of the logits.
        gamma: γ, weight decay of the logits, as L2 in the gradient. Values of 1e-3 and
            more let the paper's own toy problem fail from two of five starts; 0 and
            1e-6 do not.
        min_losses: lower bounds of the losses, a number or `[T]`. A loss below its
            bound counts as being at it.

    Returns:
        A `LossWeighting` with `observe`. Losses must be positive (above
        `min_losses`).

    Raises:
        ValueError: a hyper-parameter out of its range. `init` raises it for
            `min_losses` of another length.

    Example:
        >>> method = famo()
        >>> before, after = jnp.array([1.0, 4.0]), jnp.array([0.5, 4.0])
        >>> weights, state = method.update(before, method.init(2))
        >>> [round(float(w), 3) for w in weights]
        [0.8, 0.2]
        >>> state = method.observe(before, after, state)
        >>> weights, state = method.update(before, state)
        >>> [round(float(w), 3) for w in weights]
        [0.792, 0.208]

    References:
        Liu, Feng, Stone and Liu, FAMO: Fast Adaptive Multitask Optimization,
        NeurIPS 2023.

    The authors' code has three different defaults of γ (1e-5, 1e-3, 1e-2) and stores
    the moments of Adam outside its checkpoint; here they are part of the state.
    """
    checks.number("famo", "w_lr", w_lr, above=0)
    checks.number("famo", "gamma", gamma, at_least=0)
    checks.number("famo", "min_losses", min_losses)
    adam = optax.chain(optax.add_decayed_weights(gamma), optax.adam(w_lr))

    def gap(losses: Array) -> Array:
        return jnp.maximum(losses - jnp.asarray(min_losses), 0) + _FLOOR

    def softmax(logits: Array, keep: Array) -> Array:
        return jnp.where(keep, jax.nn.softmax(jnp.where(keep, logits, -jnp.inf)), 0)

    def init(num_tasks: int, params: object = None) -> FAMOState:
        del params
        checks.one_or_per_task("famo", "min_losses", min_losses, num_tasks)
        logits = jnp.zeros(num_tasks, base.state_dtype())
        return FAMOState(logits, adam.init(logits))

    def update(
        losses: Array, state: FAMOState, *, mask: Array | None = None, **extra: object
    ) -> tuple[Array, FAMOState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        z = softmax(state.logits, keep)
        share = z / gap(losses.astype(z.dtype))
        total = jnp.sum(share)
        weights = share / jnp.where(total > 0, total, 1)
        return weights.astype(losses.dtype), state

    def observe(
        losses_before: Array,
        losses_after: Array,
        state: FAMOState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> FAMOState:
        del extra
        keep = base.keep_mask(mask, losses_before.shape[0])
        logits = state.logits
        z = softmax(logits, keep)
        before, after = (x.astype(z.dtype) for x in (losses_before, losses_after))
        delta = jnp.log(gap(before)) - jnp.log(gap(after))
        delta = jnp.where(keep, delta, 0)
        gradient = z * (delta - jnp.sum(z * delta))
        updates, inner = adam.update(gradient, state.optimizer, logits)
        updates = jnp.where(keep, updates, 0)  # Adam's momentum would move the absent
        return FAMOState(jnp.asarray(optax.apply_updates(logits, updates)), inner)

    return base.LossWeighting(init, update, observe)

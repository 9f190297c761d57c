"""Focal weighting of tasks."""

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


def focal(gamma: float = 2.0, normalize: bool = True) -> base.LossWeighting:
    """Weigh each task by how hard it still is, as the focal loss weighs examples.

    `w_t ∝ (1 − e^{−L_t})^γ`, the modulating factor of the focal loss: `e^{−L}` is the
    probability that a classifier with the cross-entropy L gives to the right class. The
    weights sum to T, so that the step does not vanish when all tasks become easy; T
    counts the tasks that have labels in the batch. Heads get the same weights. No
    state.

    Args:
        gamma: γ; at 0 all tasks count alike. 2 is the focal loss paper's choice.
        normalize: whether the weights sum to T; otherwise `w_t = (1 − e^{−L_t})^γ`.

    Returns:
        A `LossWeighting`. A loss below zero counts as zero.

    Raises:
        ValueError: a hyper-parameter out of its range.

    Example:
        >>> method = focal(normalize=False)
        >>> weights, _ = method.update(jnp.array([0.1, 2.3]), method.init(2))
        >>> [round(float(w), 3) for w in weights]
        [0.009, 0.81]

    References:
        Lin, Goyal, Girshick, He and Dollár, Focal Loss for Dense Object Detection,
        ICCV 2017.

    The paper weighs examples, and its factor takes part in the gradient; here tasks are
    weighed by their mean loss, and the factor is held constant, as in `dtp`, which does
    the same with a performance indicator. Where all losses are zero the weights are 1.
    """
    checks.number("focal", "gamma", gamma, at_least=0)

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        wide = losses.astype(base.state_dtype())
        hardness = -jnp.expm1(-jnp.maximum(wide, 0))
        log = jax.scipy.special.xlogy(gamma, hardness)
        if normalize:  # the powers themselves may underflow
            top = jnp.max(jnp.where(keep, log, -jnp.inf))
            log = jnp.where(jnp.isneginf(top), 0, log)
            softmax = jax.nn.softmax(jnp.where(keep, log, -jnp.inf))
            weights = jnp.sum(keep) * softmax
        else:
            weights = jnp.exp(log)
        return jnp.where(keep, weights, 0).astype(losses.dtype), state

    return base.LossWeighting(base.no_state, update)

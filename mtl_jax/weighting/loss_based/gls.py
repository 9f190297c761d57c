"""Geometric loss strategy (GLS)."""

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base


def gls() -> base.LossWeighting:
    """Descend the geometric mean of the losses.

    The objective is `(Π_t L_t)^{1/T}`, so that `w_t = (Π_s L_s)^{1/T} / (T L_t)`. It is
    computed through the mean of `log L_t`; the product of many losses would leave the
    range of the numbers. T counts the tasks that have labels in the batch. Heads get
    the same weights. No state.

    Returns:
        A `LossWeighting`. Losses must be positive: if one is not, all weights are NaN,
        and the step is skipped.

    Example:
        >>> method = gls()
        >>> weights, _ = method.update(jnp.array([0.5, 8.0]), method.init(2))
        >>> [round(float(w), 3) for w in weights]
        [2.0, 0.125]

    References:
        Chennupati, Sistu, Yogamani and Rawashdeh, MultiNet++: Multi-Stream Feature
        Aggregation and Geometric Loss Strategy for Multi-Task Learning, CVPR Workshops
        2019.

    The direction is that of `si`, times the geometric mean over T. Some code reports
    `L_t / (T Π_s L_s)` as the weights, which are not the ones it descends with. The
    paper's focused variant, where some losses count twice, is not here.
    """

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        count = jnp.maximum(jnp.sum(keep), 1)
        positive = losses > 0
        log = jnp.where(keep & positive, jnp.log(jnp.where(positive, losses, 1)), 0)
        weights = jnp.exp(jnp.sum(log) / count - log) / count
        weights = jnp.where(jnp.all(positive | ~keep), weights, jnp.nan)
        return jnp.where(keep, weights, 0), state

    return base.LossWeighting(base.no_state, update)

"""Scale-invariant loss (SI)."""

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base


def si() -> base.LossWeighting:
    """Descend the sum of the logarithms of the losses.

    The objective is `Σ_t log L_t`, so that `w_t = 1 / L_t`: a task's part in the step
    does not depend on the unit of its loss. Heads get the same weights. No state.

    Returns:
        A `LossWeighting`. Losses must be positive: the weight of one that is not is
        NaN, and the step is skipped.

    Example:
        >>> method = si()
        >>> weights, _ = method.update(jnp.array([0.5, 4.0]), method.init(2))
        >>> weights.tolist()
        [2.0, 0.25]

    References:
        Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik and Fetaya, Multi-Task
        Learning as a Bargaining Game, ICML 2022 (as the baseline SI).

    Some code descends `Σ_t log(1 + L_t)` under this name, which is finite at 0 and not
    scale invariant.
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
        positive = losses > 0
        weights = jnp.where(positive, 1 / jnp.where(positive, losses, 1), jnp.nan)
        return jnp.where(keep, weights, 0), state

    return base.LossWeighting(base.no_state, update)

"""Equal weighting: the plain sum or mean of the losses."""

from typing import Literal

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array
from mtl_jax.weighting import base


def equal(reduction: Literal["sum", "mean"] = "sum") -> base.LossWeighting:
    """Weigh all tasks alike; also known as linear or unitary scalarisation.

    `w_t = 1` ("sum") or `w_t = 1/T` ("mean"). Heads get the same weights. No state.

    Args:
        reduction: "sum" or "mean"; T counts the tasks that have labels in the batch.

    Returns:
        A `LossWeighting`.

    Raises:
        ValueError: unknown reduction.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> aggregate(equal(), jnp.array([[1.0, 0.0], [0.0, 2.0]])).direction.tolist()
        [1.0, 2.0]

    References:
        Kurin et al., In Defense of the Unitary Scalarization for Deep Multi-Task
        Learning, NeurIPS 2022.
    """
    if reduction not in ("sum", "mean"):
        raise unknown_name("reduction of equal", reduction, ["sum", "mean"])

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        weights = base.keep_mask(mask, losses.shape[0]).astype(losses.dtype)
        if reduction == "mean":
            weights = weights / jnp.maximum(jnp.sum(weights), 1)
        return weights, state

    return base.LossWeighting(base.no_state, update)

"""Metrics of ordered levels, told by K - 1 logits: is the level above 0, 1, …?

Outputs `[B, ..., K - 1]` with integer labels `[B, ...]`; negative labels are left out.
The level that outputs tell is the number of positive logits, as in `losses.ordinal`.
"""

import jax.numpy as jnp

from mtl_jax.metrics import base
from mtl_jax.typing import Array


def level_accuracy() -> base.Metric:
    """The share of examples whose level is right.

    Returns:
        The `Metric`; higher is better. NaN if nothing was seen.

    Example:
        >>> metric, logits = level_accuracy(), jnp.array([[1.0, -1.0], [1.0, 1.0]])
        >>> metric.compute(metric.update(logits, jnp.array([1, 0]), jnp.ones(2)))
        0.5
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        distance, keep = _distance(outputs, labels, mask)
        right = (keep & (distance == 0)).sum(dtype=jnp.int32)
        return {"total": right, "count": keep.sum(dtype=jnp.int32)}

    return base.Metric("level_accuracy", True, update, base.add, _share)


def level_mae() -> base.Metric:
    """The mean number of levels that a prediction is off.

    Returns:
        The `Metric`; lower is better. NaN if nothing was seen.

    Example:
        >>> metric, logits = level_mae(), jnp.array([[1.0, -1.0], [1.0, 1.0]])
        >>> metric.compute(metric.update(logits, jnp.array([1, 0]), jnp.ones(2)))
        1.0
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        distance, keep = _distance(outputs, labels, mask)
        total = jnp.where(keep, distance, 0).sum(dtype=jnp.int32)
        return {"total": total, "count": keep.sum(dtype=jnp.int32)}

    return base.Metric("level_mae", False, update, base.add, _share)


def _distance(outputs: Array, labels: Array, mask: Array) -> tuple[Array, Array]:
    """`(levels off, present)`, both `[B, ...]`."""
    outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
    if outputs.shape[:-1] != labels.shape:
        raise ValueError(
            f"outputs of shape {outputs.shape} fit no levels of shape {labels.shape}. "
            "Give [B, K - 1] with [B], a logit for each level but the first."
        )
    keep = jnp.asarray(mask, bool).reshape((-1,) + (1,) * (labels.ndim - 1))
    levels = (outputs > 0).sum(-1, dtype=jnp.int32)
    return jnp.abs(levels - labels.astype(jnp.int32)), keep & (labels >= 0)


def _share(state: dict[str, Array]) -> float:
    count = int(state["count"])
    return int(state["total"]) / count if count else float("nan")

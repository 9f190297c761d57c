"""Errors of a map of measurements, such as depth, where some pixels have none.

Outputs and labels are `[B, H, W]` or `[B, H, W, 1]`, or of any other number of
positions. Means are over all measured pixels of the split.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from mtl_jax.metrics import base
from mtl_jax.typing import Array


def abs_error(invalid: float = 0.0) -> base.Metric:
    """Mean absolute error of the measured pixels, in the unit of the labels.

    Args:
        invalid: the label of a pixel without a measurement.

    Returns:
        The `Metric`; lower is better. NaN if no pixel was seen.

    Example:
        >>> metric, labels = abs_error(), jnp.array([[[2.0, 4.0, 0.0]]])
        >>> metric.compute(metric.update(jnp.full((1, 1, 3), 5.0), labels, jnp.ones(1)))
        2.0
    """
    return _mean("abs_error", invalid, lambda error, labels: error)


def rel_error(invalid: float = 0.0) -> base.Metric:
    """Mean of `|output - label| / |label|` over the measured pixels.

    Args:
        invalid: the label of a pixel without a measurement; a measured 0 makes the
            mean infinite.

    Returns:
        The `Metric`; lower is better. NaN if no pixel was seen.

    Example:
        >>> metric, labels = rel_error(), jnp.array([[[2.0, 4.0, 0.0]]])
        >>> metric.compute(metric.update(jnp.full((1, 1, 3), 5.0), labels, jnp.ones(1)))
        0.875

    References:
        Eigen, Puhrsch and Fergus, "Depth Map Prediction from a Single Image using a
        Multi-Scale Deep Network", NeurIPS 2014.
    """
    return _mean("rel_error", invalid, lambda error, labels: error / jnp.abs(labels))


def _mean(
    name: str, invalid: float, measure: Callable[[Array, Array], Array]
) -> base.Metric:
    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
        if outputs.shape not in (labels.shape, (*labels.shape, 1)):
            raise ValueError(
                f"{name}: outputs of shape {outputs.shape} fit no labels of shape "
                f"{labels.shape}. Give [B, H, W, 1] or [B, H, W] with [B, H, W]."
            )
        labels, keep = base.flatten(labels, mask, columns=False)
        keep = keep[:, None] & (labels != invalid)
        labels = jnp.where(keep, labels, 1).astype(jnp.float32)
        outputs = outputs.astype(jnp.float32).reshape(labels.shape)
        error = jnp.where(keep, jnp.abs(outputs - labels), 0)
        return {
            "total": jnp.where(keep, measure(error, labels), 0).sum(),
            "count": keep.sum(dtype=jnp.int32),
        }

    def compute(state: dict[str, Array]) -> float:
        count = int(state["count"])
        return float(np.float64(state["total"]) / count) if count else float("nan")

    return base.Metric(name, False, update, base.add, compute)

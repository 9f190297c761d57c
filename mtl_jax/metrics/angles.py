"""Angles between predicted and true vectors, such as surface normals, in degrees.

Outputs and labels are `[B, ..., D]`, the last axis the vector, of any length. A zero
label is no label; the angle of a zero output is 90 degrees. Means are over all labelled
pixels of the split.
"""

import jax.numpy as jnp
import numpy as np

from mtl_jax.metrics import base
from mtl_jax.typing import Array

BINS = 90_000
"""Of the median's histogram: 0.002 degrees each."""


def angular_error() -> base.Metric:
    """Mean angle between output and label.

    Returns:
        The `Metric`; lower is better. NaN if no pixel was seen.

    Example:
        >>> metric, up = angular_error(), jnp.array([[0.0, 0.0, 1.0]])
        >>> metric.compute(metric.update(jnp.array([[1.0, 0.0, 1.0]]), up, jnp.ones(1)))
        45.0

    References:
        Fouhey, Gupta and Hebert, "Data-Driven 3D Primitives for Single Image
        Understanding", ICCV 2013, whose metrics of normals these are.
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        degrees, keep = _degrees(outputs, labels, mask)
        total = jnp.where(keep, degrees, 0).sum()
        return {"total": total, "count": keep.sum(dtype=jnp.int32)}

    def compute(state: dict[str, Array]) -> float:
        count = int(state["count"])
        return float(np.float64(state["total"]) / count) if count else float("nan")

    return base.Metric("angular_error", False, update, base.add, compute)


def angular_median() -> base.Metric:
    """Median angle between output and label, within 0.001 degrees.

    The state counts angles in bins of 0.002 degrees, and the median is that of the
    bins' centres. So a split of any size is 0.4 MB and merges exactly, where the angles
    of the 654 test images of NYUv2 are 0.8 GB; published figures have two decimals.

    Returns:
        The `Metric`; lower is better. NaN if no pixel was seen, or an angle is NaN.

    Example:
        >>> metric, up = angular_median(), jnp.array([[0.0, 0.0, 1.0]])
        >>> state = metric.update(jnp.array([[1.0, 0.0, 1.0]]), up, jnp.ones(1))
        >>> abs(metric.compute(state) - 45) <= 0.001
        True
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        degrees, keep = _degrees(outputs, labels, mask)
        place = jnp.clip((degrees * (BINS / 180)).astype(jnp.int32), 0, BINS - 1)
        place = jnp.where(jnp.isnan(degrees), BINS, place)
        none = jnp.zeros(BINS + 1, jnp.int32)
        return {"bins": none.at[place].add(keep.astype(jnp.int32))}

    def compute(state: dict[str, Array]) -> float:
        below = np.cumsum(base.widen(state["bins"]))
        if not below[-1] or below[-1] != below[-2]:
            return float("nan")
        middle = [(below[-1] - 1) // 2, below[-1] // 2]  # one and the same if odd
        place = np.searchsorted(below, middle, side="right")
        return float((place + 0.5).mean() * (180 / BINS))

    return base.Metric("angular_median", False, update, base.add, compute)


def angular_within(degrees: float = 11.25) -> base.Metric:
    """The share of pixels whose output is less than so many degrees off.

    Args:
        degrees: the threshold; 11.25, 22.5 and 30 are usual.

    Returns:
        The `Metric`, named `angular_within_11.25` and so on; higher is better. NaN if
        no pixel was seen.

    Raises:
        ValueError: For a threshold that is not between 0 and 180.

    Example:
        >>> metric, up = angular_within(30), jnp.array([[0.0, 0.0, 1.0]])
        >>> metric.compute(metric.update(jnp.array([[0.0, 0.5, 1.0]]), up, jnp.ones(1)))
        1.0
    """
    if not 0 < degrees < 180:
        raise ValueError(
            f"angular_within: degrees must lie between 0 and 180, but is {degrees}."
        )

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        angles, keep = _degrees(outputs, labels, mask)
        right = (keep & (angles < degrees)).sum(dtype=jnp.int32)
        return {"right": right, "count": keep.sum(dtype=jnp.int32)}

    def compute(state: dict[str, Array]) -> float:
        count = int(state["count"])
        return int(state["right"]) / count if count else float("nan")

    name = f"angular_within_{degrees:g}"
    return base.Metric(name, True, update, base.add, compute)


def _degrees(outputs: Array, labels: Array, mask: Array) -> tuple[Array, Array]:
    """`(angles [n], present [n])`."""
    outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
    if outputs.shape != labels.shape or labels.ndim < 2:
        raise ValueError(
            f"angles need outputs and labels [B, ..., D] of one shape, but they have "
            f"{outputs.shape} and {labels.shape}."
        )
    keep = jnp.asarray(mask, bool).reshape((-1,) + (1,) * (labels.ndim - 2))
    keep = (keep & (labels != 0).any(-1)).reshape(-1)
    labels = jnp.where(keep[:, None], labels.reshape(-1, labels.shape[-1]), 1)
    u, v = _unit(outputs.reshape(labels.shape)), _unit(labels)
    # Kahan's formula: the arc cosine loses half of the digits of a small angle.
    half = jnp.arctan2(_length(u - v), _length(u + v))
    return jnp.rad2deg(2 * half), keep


def _unit(vectors: Array) -> Array:
    """Unit vectors, also of very long or short ones; zero stays."""
    vectors = vectors.astype(jnp.float32)
    largest = jnp.abs(vectors).max(-1, keepdims=True)
    vectors = vectors / jnp.where(largest > 0, largest, 1)
    length = _length(vectors)[:, None]
    return vectors / jnp.where(length > 0, length, 1)


def _length(vectors: Array) -> Array:
    return jnp.sqrt((vectors**2).sum(-1))

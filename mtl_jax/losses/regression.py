"""Losses of real numbers."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax.losses import base, checks
from mtl_jax.losses.base import Loss
from mtl_jax.typing import Array


def mse() -> Loss:
    """Squared error, `value = mean_k (output_k - label_k)²`, `weight = 1`.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`.

    Example:
        >>> mse().per_example(jnp.array([[3.0]]), jnp.array([1.0]))[0].tolist()
        [4.0]
    """
    return _regression("mse", optax.squared_error)


def mae() -> Loss:
    """Absolute error, `value = mean_k |output_k - label_k|`, `weight = 1`.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`.

    Example:
        >>> mae().per_example(jnp.array([[3.0]]), jnp.array([1.0]))[0].tolist()
        [2.0]
    """
    return _regression("mae", _absolute_error)


def huber(delta: float = 1.0) -> Loss:
    """Huber's loss: `e²/2` for `|e| <= delta`, `delta (|e| - delta/2)` beyond.

    Args:
        delta: Where the square turns into a line, above 0.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`.

    Raises:
        ValueError: For `delta <= 0`.

    Example:
        >>> huber().per_example(jnp.array([3.0]), jnp.array([1.0]))[0].tolist()
        [1.5]

    References:
        Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    if not delta > 0:
        raise ValueError(f"loss 'huber': delta must be above 0, but is {delta}.")
    return _huber(float(delta))


# Equal arguments give the same loss: tasks of one loss are computed together.
@functools.cache
def _huber(delta: float) -> Loss:
    return _regression("huber", lambda o, y: optax.huber_loss(o, y, delta=delta))


def _absolute_error(outputs: Array, labels: Array) -> Array:
    return jnp.abs(outputs - labels)


@functools.cache
def _regression(name: str, error: Callable[[Array, Array], Array]) -> Loss:
    check_outputs = checks.output_check(name, checks.elementwise_advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        outputs, labels = outputs.reshape(labels.shape), labels.astype(jnp.float32)
        known = jnp.isfinite(labels)
        values = error(outputs, jnp.where(known, labels, 0))
        values = base.mean_per_example(jnp.where(known, values, jnp.nan))
        return values, jnp.ones_like(values)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = checks.present_labels(labels, mask, task)
        checks.check_number(name, labels.dtype, task)
        fix = "Mark missing labels in the mask."
        bad = ~np.isfinite(labels)
        checks.refuse(labels, bad, present, task, "labels must be finite numbers", fix)

    return Loss(name, per_example, check_labels, check_outputs)

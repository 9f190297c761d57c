"""Losses of real numbers."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax.losses import base, checks
from mtl_jax.losses.base import Loss
from mtl_jax.typing import Array


def mse(invalid: float | None = None) -> Loss:
    """Squared error, `value = mean_k (output_k - label_k)²`, `weight = 1`.

    With `invalid`, the loss of a batch is the mean over the labels of other values.

    Args:
        invalid: the label that is no measurement, 0 in most depth maps; None where
            each is one.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`; or
        for maps `[B, H, W]` or `[B, H, W, 1]`.

    Raises:
        ValueError: For an `invalid` that is not finite.

    Example:
        >>> mse().per_example(jnp.array([[3.0]]), jnp.array([1.0]))[0].tolist()
        [4.0]
    """
    return _regression("mse", optax.squared_error, _finite("mse", invalid))


def mae(invalid: float | None = None) -> Loss:
    """Absolute error, `value = mean_k |output_k - label_k|`, `weight = 1`.

    With `invalid`, the loss of a batch is the mean over the labels of other values.

    Args:
        invalid: the label that is no measurement, 0 in most depth maps; None where
            each is one.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`; or
        for maps `[B, H, W]` or `[B, H, W, 1]`.

    Raises:
        ValueError: For an `invalid` that is not finite.

    Example:
        >>> depth = jnp.array([[[1.0, 0.0], [2.0, 0.0]]])
        >>> values, weights = mae(0.0).per_example(jnp.full((1, 2, 2), 4.0), depth)
        >>> print(values.sum() / weights.sum())
        2.5
    """
    return _regression("mae", _absolute_error, _finite("mae", invalid))


def huber(delta: float = 1.0, invalid: float | None = None) -> Loss:
    """Huber's loss: `e²/2` for `|e| <= delta`, `delta (|e| - delta/2)` beyond.

    With `invalid`, the loss of a batch is the mean over the labels of other values.

    Args:
        delta: Where the square turns into a line, above 0.
        invalid: the label that is no measurement, 0 in most depth maps; None where
            each is one.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`; or
        for maps `[B, H, W]` or `[B, H, W, 1]`.

    Raises:
        ValueError: For `delta <= 0`, or an `invalid` that is not finite.

    Example:
        >>> huber().per_example(jnp.array([3.0]), jnp.array([1.0]))[0].tolist()
        [1.5]

    References:
        Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    if not delta > 0:
        raise ValueError(f"loss 'huber': delta must be above 0, but is {delta}.")
    return _huber(float(delta), _finite("huber", invalid))


# Equal arguments give the same loss: tasks of one loss are computed together.
@functools.cache
def _huber(delta: float, invalid: float | None) -> Loss:
    def error(outputs: Array, labels: Array) -> Array:
        return optax.huber_loss(outputs, labels, delta=delta)

    return _regression("huber", error, invalid)


def _absolute_error(outputs: Array, labels: Array) -> Array:
    return jnp.abs(outputs - labels)


def _finite(name: str, invalid: float | None) -> float | None:
    if invalid is None or math.isfinite(invalid):
        return None if invalid is None else float(invalid)
    raise ValueError(
        f"loss {name!r}: invalid must be a finite number, but is {invalid}. Write one "
        "where nothing was measured: np.where(np.isfinite(labels), labels, 0)."
    )


@functools.cache
def _regression(
    name: str, error: Callable[[Array, Array], Array], invalid: float | None
) -> Loss:
    check_outputs = checks.output_check(name, checks.elementwise_advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        outputs, labels = outputs.reshape(labels.shape), labels.astype(jnp.float32)
        known = jnp.isfinite(labels)
        values = error(outputs, jnp.where(known, labels, 0))
        values = jnp.where(known, values, jnp.nan)
        present = base.present(labels, invalid)
        return base.over_positions(values, jnp.ones_like(values), present)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = checks.present_labels(labels, mask, task)
        checks.check_number(name, labels.dtype, task)
        missing = checks.left_out(labels, invalid, present, task)
        fix = "Mark missing labels in the mask."
        if invalid is not None:
            fix = f"Where nothing was measured the label has to be {invalid}."
        elif labels.ndim > 2:
            fix = f"Where nothing was measured write 0, and use {name}(invalid=0.0)."
        bad = ~np.isfinite(labels) & ~missing
        checks.refuse(labels, bad, present, task, "labels must be finite numbers", fix)

    return Loss(name, per_example, check_labels, check_outputs)

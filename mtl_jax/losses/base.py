"""What a loss is: a value and a weight per example, and checks that explain."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.typing import Array


class Loss(NamedTuple):
    """One loss function, with the checks of its labels and of the head's shape.

    Two are equal where their functions are the same objects; tasks of equal losses are
    computed together, by `vmap`. The factories give the same loss for the same
    arguments.
    """

    name: str
    per_example: Callable[[Array, Array], tuple[Array, Array]]
    """`(outputs [B, ...], labels [B, ...]) -> (values [B], weights [B])`, float32.
    A label that is no label (NaN, out of range) makes that value NaN, but never the
    gradient of `jnp.where(mask, values, 0)`."""
    check_labels: Callable[..., None]
    """`(labels, mask | None, *, task, num_outputs | None)`: NumPy arrays, on the
    host."""
    check_outputs: Callable[..., None]
    """`(output_shape, label_shape, *, task | None)`: static shapes, with the batch
    axis; safe to call while tracing."""
    hits: Callable[[Array, Array], Array] | None = None
    """`(outputs, labels) -> [B]` in [0, 1]: how right each example is; `None` where
    only the loss tells."""


def safe_labels(labels: Array, mask: Array | None) -> Array:
    """Replaces the labels of masked examples by 0.

    Args:
        labels: `[B, ...]`, any dtype.
        mask: `[B]` bool, True where the label is present; None for all present.

    Returns:
        `[B, ...]`, the dtype of `labels`.

    Example:
        >>> safe_labels(jnp.array([1.5, jnp.nan]), jnp.array([True, False])).tolist()
        [1.5, 0.0]
    """
    labels = jnp.asarray(labels)
    if mask is None:
        return labels
    mask = jnp.reshape(jnp.asarray(mask, bool), (-1,) + (1,) * (labels.ndim - 1))
    return jnp.where(mask, labels, jnp.zeros((), labels.dtype))


def kpi_per_example(loss: Loss, outputs: Array, labels: Array, values: Array) -> Array:
    """A performance indicator in [0, 1], larger is better, for methods that ask.

    The hits of a classification, else `exp(−loss)`.

    Args:
        loss: of the task.
        outputs: `[B, ...]`.
        labels: `[B, ...]`.
        values: `[B]`, the loss of each example.

    Returns:
        `[B]` float32.
    """
    if loss.hits is not None:
        return loss.hits(outputs, labels)
    return jnp.exp(-jnp.maximum(values, 0))


def mean_per_example(values: Array) -> Array:
    """The mean over all axes but the first: `[B, ...]` to `[B]`."""
    return values.reshape(values.shape[0], -1).mean(1)

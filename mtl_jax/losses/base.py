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
    Both are means over the positions of an example, to which a position without a
    label gives 0. A label that is no label (NaN, out of range) makes that value NaN,
    but never the gradient of `jnp.where(mask, values, 0)`."""
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


def kpi_per_example(
    loss: Loss, outputs: Array, labels: Array, values: Array, weights: Array
) -> Array:
    """A performance indicator in [0, 1], larger is better, for methods that ask.

    The hits of a classification, else `exp(−loss)`.

    Args:
        loss: of the task.
        outputs: `[B, ...]`.
        labels: `[B, ...]`.
        values: `[B]`, of `loss.per_example`.
        weights: `[B]`, likewise.

    Returns:
        `[B]` float32.
    """
    if loss.hits is not None:
        return loss.hits(outputs, labels)
    # An example whose positions have no label at all has value and weight 0.
    return jnp.exp(-jnp.maximum(values / jnp.where(weights > 0, weights, 1), 0))


def mean_per_example(values: Array) -> Array:
    """The mean over all axes but the first: `[B, ...]` to `[B]`."""
    return values.reshape(values.shape[0], -1).mean(1)


def present(labels: Array, ignore: float | None) -> Array:
    """Where a label is one, `[B, ...]` bool: not the one that stands for none."""
    unsigned = jnp.issubdtype(labels.dtype, jnp.unsignedinteger)
    if ignore is None or (unsigned and ignore < 0):  # JAX reads uint8(-1) as 255
        return jnp.ones(labels.shape, bool)
    return labels != ignore


def over_positions(
    values: Array, weights: Array, present: Array
) -> tuple[Array, Array]:
    """What a loss returns: means over all positions, to which absent ones give 0.

    Args:
        values: `[B, ...]`.
        weights: `[B, ...]`.
        present: `[B, ...]` bool, where there is a label.

    Returns:
        `(values [B], weights [B])`, whose sums divide to the mean over the labels.

    Example:
        >>> values = jnp.array([[2.0, 4.0], [3.0, 9.0]])
        >>> labelled = present(jnp.array([[1, 1], [1, -1]]), -1)
        >>> sums = over_positions(values, jnp.ones((2, 2)), labelled)
        >>> print(sums[0].sum() / sums[1].sum())
        3.0
    """
    values, weights = jnp.where(present, values, 0), jnp.where(present, weights, 0)
    return mean_per_example(values), mean_per_example(weights)


def share_per_example(right: Array, present: Array) -> Array:
    """The share of the present positions that are right: `[B, ...]` bool to `[B]`."""
    share = mean_per_example((right & present).astype(jnp.float32))
    most = mean_per_example(present.astype(jnp.float32))
    return share / jnp.where(most > 0, most, 1)

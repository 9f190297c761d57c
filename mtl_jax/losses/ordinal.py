"""The loss of ordered levels."""

import functools
from typing import Any

import jax.numpy as jnp
import optax

from mtl_jax.losses import base, checks
from mtl_jax.losses.base import Loss
from mtl_jax.losses.checks import Shape
from mtl_jax.typing import Array


def ordinal(ignore: int | None = None) -> Loss:
    """Cross entropy of "is the level above k?", summed over `k = 0 … K - 2`.

    With logits `o_k` of the K - 1 questions and levels `y = 0 … K - 1`,

        value  = -sum_k [y > k] log p_k + [y <= k] log(1 - p_k),  p_k = sigmoid(o_k)
        weight = 1

    so that a prediction far off costs more than a near one. The level that the outputs
    tell is the number of positive logits. Levels with further axes are averaged per
    example.

    Args:
        ignore: the negative label, -1 say, of missing levels; None where none is.

    Returns:
        A `Loss` for outputs `[B, ..., K - 1]` and integer labels `[B, ...]`.

    Raises:
        ValueError: For a level to ignore.

    Example:
        >>> logits = jnp.array([[2.0, -2.0]] * 3)  # above 0, not above 1
        >>> values, _ = ordinal().per_example(logits, jnp.array([0, 1, 2]))
        >>> [round(float(value), 2) for value in values]
        [2.25, 0.25, 2.25]

    References:
        Frank and Hall, "A Simple Approach to Ordinal Classification", ECML 2001, whose
        questions these are, here with one loss; Cao, Mirjalili and Raschka, "Rank
        Consistent Ordinal Regression for Neural Networks with Application to Age
        Estimation", Pattern Recognition Letters 2020, whose loss this is with equal
        importance of all questions. Their heads (CORAL) have one weight vector for all
        and a bias each, which orders the logits; other heads need not.
    """
    checks.check_ignore("ordinal", ignore)
    return _ordinal(ignore)


# Equal arguments give the same loss: tasks of one loss are computed together.
@functools.cache
def _ordinal(ignore: int | None) -> Loss:
    name = "ordinal"

    def advice(output: Shape, label: Shape) -> str:
        if output[:-1] == label:
            return ""
        if (*output[:-1], 1) == label:
            return "Drop the last axis of the labels: labels.squeeze(-1)."
        return (
            "The outputs must have the shape of the labels and a last axis [K - 1], a "
            "logit for each level but the first."
        )

    check_outputs = checks.output_check(name, advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        checks.check_integer(name, labels.dtype, task=None)
        labels, present = labels.astype(jnp.int32), base.present(labels, ignore)
        known = (labels >= 0) & (labels <= outputs.shape[-1])
        above = labels[..., None] > jnp.arange(outputs.shape[-1])
        bce = optax.sigmoid_binary_cross_entropy(outputs, above.astype(jnp.float32))
        values = jnp.where(known, bce.sum(-1), jnp.nan)
        return base.over_positions(values, jnp.ones_like(values), present)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = checks.present_labels(labels, mask, task)
        checks.check_integer(name, labels.dtype, task=task)
        missing = checks.left_out(labels, ignore, present, task)
        bad = (labels < 0) & ~missing
        rule = "levels must be at least 0"
        fix = checks.where_missing(name, labels, ignore)
        if num_outputs is not None:
            bad = bad | (labels > num_outputs)
            rule = f"levels of {num_outputs} logits must lie in [0, {num_outputs}]"
            found = labels[present][~missing[present]]
            if found.min() >= 1 and found.max() == num_outputs + 1:
                fix = "If the levels count from 1, subtract 1."
        checks.refuse(labels, bad, present, task, rule, fix)

    def hits(outputs: Array, labels: Array) -> Array:
        right = (jnp.asarray(outputs) > 0).sum(-1) == labels
        return base.share_per_example(right, base.present(labels, ignore))

    return Loss(name, per_example, check_labels, check_outputs, hits)

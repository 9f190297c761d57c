"""Cross entropies: exclusive classes, and yes-or-no questions."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax.losses import base, checks
from mtl_jax.losses.base import Loss
from mtl_jax.losses.checks import Shape
from mtl_jax.typing import Array


def softmax_cross_entropy(
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore: int | None = None,
) -> Loss:
    """Cross entropy of exclusive classes, with PyTorch's class weights and smoothing.

    With `p = softmax(outputs)`, smoothing `s` and class weights `w` (1 by default),

        value  = -(1 - s) w[y] log p[y] - s/C sum_c w[c] log p[c]
        weight = w[y]

    Labels with further axes (one class a pixel or token) are averaged per example. With
    `ignore`, a position of that label has value and weight 0, so that the loss of a
    batch is the mean over the others.

    Args:
        class_weights: `[C]`, non-negative; None for 1.
        label_smoothing: `s`, in [0, 1).
        ignore: the negative label, -1 say, of padded or unlabelled positions; None
            where each has a class.

    Returns:
        A `Loss` for outputs `[B, ..., C]` and integer labels `[B, ...]`.

    Raises:
        ValueError: For a weight or a smoothing out of range, or a class to ignore.

    Example:
        >>> loss = softmax_cross_entropy(class_weights=[1.0, 3.0])
        >>> values, weights = loss.per_example(jnp.zeros((2, 2)), jnp.array([0, 1]))
        >>> print((values.sum() / weights.sum()).round(4))
        0.6931

    References:
        torch.nn.CrossEntropyLoss, whose definition this is; Szegedy et al.,
        "Rethinking the Inception Architecture", CVPR 2016 (label smoothing).
    """
    name = "softmax_cross_entropy"
    table = checks.class_weights_table(name, class_weights)
    checks.check_smoothing(name, label_smoothing)
    checks.check_ignore(name, ignore)
    weights = None if table is None else tuple(table.tolist())
    return _softmax(name, weights, float(label_smoothing), ignore)


# Equal arguments give the same loss: tasks of one loss are computed together.
@functools.cache
def _softmax(
    name: str,
    class_weights: tuple[float, ...] | None,
    label_smoothing: float,
    ignore: int | None,
) -> Loss:
    table = None if class_weights is None else np.asarray(class_weights, np.float32)

    def advice(output: Shape, label: Shape) -> str:
        if output in (label, (*label, 1)) and output[1:] in ((), (1,)):
            return (
                "It needs at least 2 classes: use sigmoid_cross_entropy for one "
                "logit, or give the head one output per class."
            )
        if output == label:
            return "If the labels are one-hot, pass labels.argmax(-1)."
        if output[:-1] == label:
            if output[-1] < 2:
                return "It needs at least 2 classes: use sigmoid_cross_entropy."
            if table is not None and len(table) != output[-1]:
                return (
                    f"class_weights has {len(table)} entries: give one for each of "
                    f"the {output[-1]} classes."
                )
            return ""
        if (*output[:-1], 1) == label:
            return "Drop the last axis of the labels: labels.squeeze(-1)."
        return "The outputs must have the shape of the labels and a last axis [C]."

    check_outputs = checks.output_check(name, advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        checks.check_integer(name, labels.dtype, task=None)
        labels, present = labels.astype(jnp.int32), base.present(labels, ignore)
        known = (labels >= 0) & (labels < outputs.shape[-1])
        labels = jnp.where(known, labels, 0)
        ones = jnp.ones(outputs.shape[-1], jnp.float32)
        by_class = ones if table is None else jnp.asarray(table)
        weights = by_class[labels]
        values = weights * optax.softmax_cross_entropy_with_integer_labels(
            outputs, labels
        )
        if label_smoothing:
            smooth = optax.softmax_cross_entropy(
                outputs, jnp.broadcast_to(by_class / len(ones), outputs.shape)
            )
            values = (1 - label_smoothing) * values + label_smoothing * smooth
        values = jnp.where(known, values, jnp.nan)
        return base.over_positions(values, weights, present)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = checks.present_labels(labels, mask, task)
        checks.check_integer(name, labels.dtype, task=task)
        top = np.inf if num_outputs is None else num_outputs
        missing = checks.left_out(labels, ignore, present, task)
        found = labels[present][~missing[present]]
        fix = checks.where_missing(name, labels, ignore)
        if found.min() >= 1 and found.max() == top:
            fix = "If the classes count from 1, subtract 1."
        bad = ((labels < 0) | (labels >= top)) & ~missing
        checks.refuse(
            labels, bad, present, task, f"classes must lie in [0, {top})", fix
        )

    def hits(outputs: Array, labels: Array) -> Array:
        right = jnp.argmax(outputs, axis=-1) == labels
        return base.share_per_example(right, base.present(labels, ignore))

    return Loss(name, per_example, check_labels, check_outputs, hits)


def sigmoid_cross_entropy(
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore: int | None = None,
) -> Loss:
    """Cross entropy of a yes-or-no question, or of several (multi-label).

    With `p = sigmoid(outputs)`, `t = (1 - s) y + s/2` and weights `(w0, w1)`,

        value  = -w1 t log p - w0 (1 - t) log(1 - p)
        weight = w1 y + w0 (1 - y)

    which is `softmax_cross_entropy` of the two logits `(0, output)`. Further axes of
    the labels are averaged per example. With `ignore`, an answer of that label has
    value and weight 0, so that the loss of a batch is the mean over the others.

    Args:
        class_weights: `(w0, w1)`, the weights of negatives and positives.
        label_smoothing: `s`, in [0, 1).
        ignore: the negative label, -1 say, of a question without an answer; None
            where each has one.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`.
        Labels are 0 and 1; floating labels may be probabilities.

    Raises:
        ValueError: For a weight or a smoothing out of range, or an answer to ignore.

    Example:
        >>> loss = sigmoid_cross_entropy()
        >>> values, _ = loss.per_example(jnp.zeros((2, 1)), jnp.array([0, 1]))
        >>> print(values.round(4))
        [0.6931 0.6931]
    """
    name = "sigmoid_cross_entropy"
    table = checks.class_weights_table(name, class_weights, length=2)
    checks.check_smoothing(name, label_smoothing)
    checks.check_ignore(name, ignore)
    negative, positive = (1.0, 1.0) if table is None else map(float, table)
    return _sigmoid(name, negative, positive, float(label_smoothing), ignore)


@functools.cache
def _sigmoid(
    name: str,
    negative: float,
    positive: float,
    label_smoothing: float,
    ignore: int | None,
) -> Loss:
    def advice(output: Shape, label: Shape) -> str:
        text = checks.elementwise_advice(output, label)
        if text and output[:-1] == label:
            text += " For exclusive classes use softmax_cross_entropy."
        return text

    check_outputs = checks.output_check(name, advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        outputs, present = outputs.reshape(labels.shape), base.present(labels, ignore)
        labels = labels.astype(jnp.float32)
        known = (labels >= 0) & (labels <= 1)
        labels = jnp.where(known, labels, 0)
        weights = positive * labels + negative * (1 - labels)
        target = (1 - label_smoothing) * labels + label_smoothing / 2
        bce = optax.sigmoid_binary_cross_entropy
        yes, no = bce(outputs, jnp.ones(())), bce(outputs, jnp.zeros(()))
        values = positive * target * yes + negative * (1 - target) * no
        values = jnp.where(known, values, jnp.nan)
        return base.over_positions(values, weights, present)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = checks.present_labels(labels, mask, task)
        checks.check_number(name, labels.dtype, task)
        if jnp.issubdtype(labels.dtype, jnp.floating):
            bad, what = ~((labels >= 0) & (labels <= 1)), "labels must lie in [0, 1]"
        else:
            bad, what = (labels != 0) & (labels != 1), "labels must be 0 or 1"
        missing = checks.left_out(labels, ignore, present, task)
        fix = (
            f"{checks.where_missing(name, labels, ignore)} Or map -1/+1 to 0/1; for "
            "more than two classes use softmax_cross_entropy."
        )
        checks.refuse(labels, bad & ~missing, present, task, what, fix)

    def hits(outputs: Array, labels: Array) -> Array:
        outputs = jnp.asarray(outputs).reshape(labels.shape)
        right = (outputs > 0) == (labels > 0.5)
        return base.share_per_example(right, base.present(labels, ignore))

    return Loss(name, per_example, check_labels, check_outputs, hits)

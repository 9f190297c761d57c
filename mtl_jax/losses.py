"""Losses of one task: a value and a weight per example, and checks that explain.

The loss of a batch is `sum(mask * values) / sum(mask * weights)`, so that masks,
class weights and uneven device splits all divide by the right number.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax import errors
from mtl_jax.typing import Array

Shape = tuple[int, ...]


class Loss(NamedTuple):
    """One loss function, with the checks of its labels and of the head's shape."""

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


def softmax_cross_entropy(
    class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
) -> Loss:
    """Cross entropy of exclusive classes, with PyTorch's class weights and smoothing.

    With `p = softmax(outputs)`, smoothing `s` and class weights `w` (1 by default),

        value  = -(1 - s) w[y] log p[y] - s/C sum_c w[c] log p[c]
        weight = w[y]

    Labels with further axes (one class a pixel or token) are averaged per example.

    Args:
        class_weights: `[C]`, non-negative; None for 1.
        label_smoothing: `s`, in [0, 1).

    Returns:
        A `Loss` for outputs `[B, ..., C]` and integer labels `[B, ...]`.

    Raises:
        ValueError: For a weight or a smoothing out of range.

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
    table = _class_weights(name, class_weights)
    _check_smoothing(name, label_smoothing)

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

    check_outputs = _output_check(name, advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        _check_integer(name, labels.dtype, task=None)
        labels = labels.astype(jnp.int32)
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
        return _mean(jnp.where(known, values, jnp.nan)), _mean(weights)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = _present(labels, mask, task)
        _check_integer(name, labels.dtype, task=task)
        top = np.inf if num_outputs is None else num_outputs
        fix = "Mark missing labels in the mask."
        if labels[present].min() >= 1 and labels[present].max() == top:
            fix = "If the classes count from 1, subtract 1."
        bad = (labels < 0) | (labels >= top)
        _refuse(labels, bad, present, task, f"classes must lie in [0, {top})", fix)

    return Loss(name, per_example, check_labels, check_outputs)


def sigmoid_cross_entropy(
    class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0
) -> Loss:
    """Cross entropy of a yes-or-no question, or of several (multi-label).

    With `p = sigmoid(outputs)`, `t = (1 - s) y + s/2` and weights `(w0, w1)`,

        value  = -w1 t log p - w0 (1 - t) log(1 - p)
        weight = w1 y + w0 (1 - y)

    which is `softmax_cross_entropy` of the two logits `(0, output)`. Further axes of
    the labels are averaged per example.

    Args:
        class_weights: `(w0, w1)`, the weights of negatives and positives.
        label_smoothing: `s`, in [0, 1).

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`.
        Labels are 0 and 1; floating labels may be probabilities.

    Raises:
        ValueError: For a weight or a smoothing out of range.

    Example:
        >>> loss = sigmoid_cross_entropy()
        >>> values, _ = loss.per_example(jnp.zeros((2, 1)), jnp.array([0, 1]))
        >>> print(values.round(4))
        [0.6931 0.6931]
    """
    name = "sigmoid_cross_entropy"
    table = _class_weights(name, class_weights, length=2)
    _check_smoothing(name, label_smoothing)
    negative, positive = (1.0, 1.0) if table is None else map(float, table)

    def advice(output: Shape, label: Shape) -> str:
        text = _elementwise_advice(output, label)
        if text and output[:-1] == label:
            text += " For exclusive classes use softmax_cross_entropy."
        return text

    check_outputs = _output_check(name, advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        outputs, labels = outputs.reshape(labels.shape), labels.astype(jnp.float32)
        known = (labels >= 0) & (labels <= 1)
        labels = jnp.where(known, labels, 0)
        weights = positive * labels + negative * (1 - labels)
        target = (1 - label_smoothing) * labels + label_smoothing / 2
        bce = optax.sigmoid_binary_cross_entropy
        yes, no = bce(outputs, jnp.ones(())), bce(outputs, jnp.zeros(()))
        values = positive * target * yes + negative * (1 - target) * no
        return _mean(jnp.where(known, values, jnp.nan)), _mean(weights)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = _present(labels, mask, task)
        _check_number(name, labels.dtype, task)
        if jnp.issubdtype(labels.dtype, jnp.floating):
            bad, what = ~((labels >= 0) & (labels <= 1)), "labels must lie in [0, 1]"
        else:
            bad, what = (labels != 0) & (labels != 1), "labels must be 0 or 1"
        fix = (
            "Mark missing labels in the mask; map -1/+1 to 0/1; for more than two "
            "classes use softmax_cross_entropy."
        )
        _refuse(labels, bad, present, task, what, fix)

    return Loss(name, per_example, check_labels, check_outputs)


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
    return _regression("mae", lambda outputs, labels: jnp.abs(outputs - labels))


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
    return _regression("huber", lambda o, y: optax.huber_loss(o, y, delta=delta))


LOSSES: dict[str, Callable[..., Loss]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "mse": mse,
    "mae": mae,
    "huber": huber,
}


def make(name: str, **hyper: Any) -> Loss:
    """The loss of that name.

    Args:
        name: A key of `LOSSES`.
        **hyper: The factory's hyper-parameters.

    Returns:
        The `Loss`.

    Raises:
        ValueError: For an unknown name or hyper-parameter; it lists the known ones.

    Example:
        >>> make("huber", delta=2.0).name
        'huber'
    """
    if name not in LOSSES:
        raise errors.unknown_name("loss", name, LOSSES)
    known = inspect.signature(LOSSES[name]).parameters
    for key in hyper:
        if key not in known:
            raise errors.unknown_name(f"hyper-parameter of loss {name!r}", key, known)
    return LOSSES[name](**hyper)


def _regression(name: str, error: Callable[[Array, Array], Array]) -> Loss:
    check_outputs = _output_check(name, _elementwise_advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        outputs, labels = outputs.reshape(labels.shape), labels.astype(jnp.float32)
        known = jnp.isfinite(labels)
        values = error(outputs, jnp.where(known, labels, 0))
        values = _mean(jnp.where(known, values, jnp.nan))
        return values, jnp.ones_like(values)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = _present(labels, mask, task)
        _check_number(name, labels.dtype, task)
        fix = "Mark missing labels in the mask."
        bad = ~np.isfinite(labels)
        _refuse(labels, bad, present, task, "labels must be finite numbers", fix)

    return Loss(name, per_example, check_labels, check_outputs)


def _mean(values: Array) -> Array:
    return values.reshape(values.shape[0], -1).mean(1)


def _elementwise_advice(output: Shape, label: Shape) -> str:
    if output in (label, (*label, 1)):
        return ""
    if output[:1] != label[:1]:
        return "Both must have the same number of examples."
    if label == (*output, 1):
        return "Drop the last axis of the labels: labels.squeeze(-1)."
    if output[:-1] == label:
        return f"Give the head 1 output instead of {output[-1]}."
    if output[:-1] == label[:-1]:
        return f"Give the head {label[-1]} outputs instead of {output[-1]}."
    return "The outputs must have the shape of the labels."


def _output_check(
    name: str, advice: Callable[[Shape, Shape], str]
) -> Callable[..., None]:
    def check_outputs(
        output_shape: Sequence[int], label_shape: Sequence[int], *, task: str | None
    ) -> None:
        output, label = tuple(output_shape), tuple(label_shape)
        text = advice(output, label)
        if text:
            who = "" if task is None else f"task {task!r}: "
            raise ValueError(
                f"{who}loss {name!r} does not fit outputs of shape {output} and "
                f"labels of shape {label}. {text}"
            )

    return check_outputs


def _class_weights(
    name: str, weights: Sequence[float] | None, length: int | None = None
) -> np.ndarray | None:
    if weights is None:
        return None
    table = np.asarray(weights, np.float32)
    right = table.ndim == 1 and length in (None, table.size)
    if not (right and np.isfinite(table).all() and (table >= 0).all() and table.any()):
        what = "the pair (negative, positive)" if length else "one number a class"
        raise ValueError(
            f"loss {name!r}: class_weights must be {what}, non-negative and not all "
            f"zero, but is {weights!r}."
        )
    return table


def _check_smoothing(name: str, smoothing: float) -> None:
    if not 0 <= smoothing < 1:
        raise ValueError(
            f"loss {name!r}: label_smoothing must lie in [0, 1), but is {smoothing}."
        )


def _check_integer(name: str, dtype: Any, task: str | None) -> None:
    if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.integer, jnp.bool_)):
        who = "" if task is None else f"task {task!r}: "
        raise ValueError(
            f"{who}loss {name!r} needs integer class labels, but they are {dtype}. "
            "Convert them with labels.astype(np.int32); where one is missing put any "
            "integer and mark it in the mask."
        )


def _check_number(name: str, dtype: Any, task: str) -> None:
    kinds = (jnp.integer, jnp.floating, jnp.bool_)
    if not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise ValueError(
            f"task {task!r}: loss {name!r} needs numeric labels, but they are {dtype}. "
            "Convert them, for instance with labels.astype(np.float32)."
        )


def _present(labels: Any, mask: Any, task: str) -> tuple[np.ndarray, np.ndarray]:
    labels = np.asarray(labels)
    if labels.ndim == 0:
        raise ValueError(f"task {task!r}: labels must be [B, ...], but are one number.")
    if labels.size == 0:
        raise ValueError(
            f"task {task!r} has no examples: its labels have shape {labels.shape}. "
            "Look at the split or filter that selects them."
        )
    if mask is None:
        return labels, np.ones(labels.shape[:1], bool)
    mask = np.asarray(mask)
    if mask.shape != labels.shape[:1] or mask.dtype != bool:
        raise ValueError(
            f"task {task!r}: the mask must be bool of shape {labels.shape[:1]}, one "
            f"entry an example, but is {mask.dtype} of shape {mask.shape}."
        )
    if not mask.any():
        raise ValueError(
            f"task {task!r} has no label at all: its mask is False for all {mask.size} "
            "examples. Leave the task out, or see that True marks a present label."
        )
    return labels, mask


def _refuse(
    labels: np.ndarray,
    bad: np.ndarray,
    present: np.ndarray,
    task: str,
    rule: str,
    fix: str,
) -> None:
    bad = bad & present.reshape((-1,) + (1,) * (labels.ndim - 1))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        count = int(np.isnan(labels[bad].astype(np.float64)).sum())
        nans = f" ({count} NaN)" if count else ""
        raise ValueError(
            f"task {task!r}: {rule}, but {int(bad.sum())} of {labels.size} do not"
            f"{nans}; the first is {labels[first]} at index "
            f"{first[0] if len(first) == 1 else first}. {fix}"
        )

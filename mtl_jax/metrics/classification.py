"""Accuracy and F1, from counts that merge exactly.

Outputs are logits. Their shape beside the labels' says what is asked:

==================  ===============  ===========================================
outputs             labels           kind
==================  ===============  ===========================================
`[B, ..., C]`       `[B, ...]`       multiclass, `C >= 2` exclusive classes
`[B]`, `[B, 1]`     `[B]`            binary, class 1 where the logit is above 0
`[B, ..., 1]`       `[B, ...]`       binary at every position
`[B, K]`            `[B, K]`         multi-label, `K` yes-or-no columns
==================  ===============  ===========================================

Negative labels are none: padded tokens, pixels of no class, questions without an
answer. They are left out, as masked examples are.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mtl_jax import errors
from mtl_jax.metrics import base
from mtl_jax.typing import Array


class Rows(NamedTuple):
    """Outputs and labels with positions folded into the rows."""

    kind: str
    """`multiclass`, `binary` or `multilabel`."""
    outputs: Array
    """`[n, C]` logits; `C = 1` if binary."""
    labels: Array
    """`[n]` int32 if multiclass, else `[n, C]` bool. 0 where there is none."""
    mask: Array
    """`[n, C]` bool, where there is a label; `[n, 1]` if multiclass."""


def rows(outputs: Array, labels: Array, mask: Array) -> Rows:
    """Reads off the shapes which kind of classification this is, and flattens it.

    Args:
        outputs: Logits, `[B, ...]` as in the table of this module.
        labels: `[B, ...]`; classes, or 0 and 1. Negative where there is none; may be
            anything where masked.
        mask: `[B]` bool.

    Returns:
        The flattened `Rows`.

    Raises:
        ValueError: If the two shapes fit no kind.

    Example:
        >>> mask = jnp.array([True, True])
        >>> rows(jnp.zeros((2, 3)), jnp.array([0, 2]), mask).kind
        'multiclass'
        >>> rows(jnp.zeros((2, 1)), jnp.array([0, 1]), mask).kind
        'binary'
    """
    outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
    classes = outputs.shape[-1] if outputs.ndim == labels.ndim + 1 else 1
    if outputs.shape not in (labels.shape, (*labels.shape, classes)):
        raise ValueError(
            f"outputs of shape {outputs.shape} fit no labels of shape {labels.shape}. "
            "Give [B, ..., C] with [B, ...] (classes), [B] or [B, 1] with [B] "
            "(binary), or [B, K] with [B, K] (multi-label)."
        )
    columns = outputs.shape == labels.shape and outputs.ndim == 2
    labels, keep = base.flatten(labels, mask, columns)
    keep = keep[:, None] & (labels >= 0)
    labels = jnp.where(keep, labels, 0)
    if classes > 1:
        outputs = outputs.reshape(-1, classes)
        return Rows("multiclass", outputs, labels[:, 0].astype(jnp.int32), keep)
    kind = "multilabel" if columns and labels.shape[1] > 1 else "binary"
    return Rows(kind, outputs.reshape(labels.shape), labels > 0.5, keep)


def accuracy() -> base.Metric:
    """The share of right predictions.

    Of examples if multiclass or binary, of positions if the labels have further axes,
    and of single yes-or-no answers if multi-label: there it is one minus the Hamming
    loss, not the share of examples that are right in every column.

    Returns:
        The `Metric`; higher is better.

    Example:
        >>> state = accuracy().update(
        ...     jnp.array([[0.1, 0.9], [0.8, 0.2]]), jnp.array([1, 1]), jnp.ones(2)
        ... )
        >>> accuracy().compute(state)
        0.5
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        found = rows(outputs, labels, mask)
        if found.kind == "multiclass":
            right = (found.outputs.argmax(-1) == found.labels)[:, None]
        else:
            right = (found.outputs > 0) == found.labels
        return {
            "right": (right & found.mask).sum(dtype=jnp.int32),
            "count": found.mask.sum(dtype=jnp.int32),
        }

    def compute(state: dict[str, Array]) -> float:
        count = int(state["count"])
        return int(state["right"]) / count if count else float("nan")

    return base.Metric("accuracy", True, update, base.add, compute)


AVERAGES = ("binary", "macro", "micro", "weighted")


def f1(average: str = "macro") -> base.Metric:
    """F1, `2 tp / (2 tp + fp + fn)`, averaged over the classes.

    As scikit-learn's `f1_score(..., zero_division=0)`: a class without labels and
    without predictions is left out of the macro average, while every column of a
    multi-label task is in it. A binary task has the two classes 0 and 1.

    Args:
        average: `macro` (mean over classes), `weighted` (mean weighted by the labels
            of a class), `micro` (one F1 of the summed counts), or `binary` (class 1
            of two).

    Returns:
        The `Metric`, named `f1` for macro and `f1_<average>` otherwise; higher is
        better.

    Raises:
        ValueError: For an unknown average; and in `update`, for `binary` with more
            than two classes.

    Example:
        >>> metric = f1("binary")
        >>> state = metric.update(
        ...     jnp.array([1.0, 1.0, -1.0]), jnp.array([1, 0, 0]), jnp.ones(3)
        ... )
        >>> round(metric.compute(state), 4)
        0.6667
    """
    if average not in AVERAGES:
        raise errors.unknown_name("average of f1", average, AVERAGES)

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        found = rows(outputs, labels, mask)
        state = counts(found)
        classes = state["seen"].shape[0]
        if average == "binary" and (classes != 2 or found.kind == "multilabel"):
            raise ValueError(
                f"f1(average='binary') needs two classes, but this {found.kind} task "
                f"has {classes}. Use 'macro', 'micro' or 'weighted'."
            )
        return state

    def compute(state: dict[str, Array]) -> float:
        total = {name: base.widen(count) for name, count in state.items()}
        seen, each = total["seen"] > 0, _f1(total)
        if not seen.any():
            return float("nan")
        if average == "binary":
            return float(each[1])
        if average == "macro":
            return float(each[seen].mean())
        if average == "micro":
            return float(_f1({name: count.sum() for name, count in total.items()}))
        weights = total["actual"]
        return float((weights * each).sum() / max(weights.sum(), 1))

    name = "f1" if average == "macro" else f"f1_{average}"
    return base.Metric(name, True, update, base.add, compute)


def f1_per_class() -> base.Metric:
    """F1 of every class (or column, if multi-label), one value each.

    Returns:
        The `Metric`; `compute` gives `{"0": ..., "1": ...}`, 0 for a class that never
        occurs, NaN if nothing was seen. Higher is better.

    Example:
        >>> metric = f1_per_class()
        >>> metric.compute(
        ...     metric.update(jnp.array([1.0, 1.0]), jnp.array([1, 1]), jnp.ones(2))
        ... )
        {'0': 0.0, '1': 1.0}
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        return counts(rows(outputs, labels, mask))

    def compute(state: dict[str, Array]) -> dict[str, float]:
        total = {name: base.widen(count) for name, count in state.items()}
        each = _f1(total) if total["seen"].any() else total["seen"] * np.nan
        return {str(index): float(value) for index, value in enumerate(each)}

    return base.Metric("f1_per_class", True, update, base.add, compute)


def counts(found: Rows) -> dict[str, Array]:
    """Per class `[C]` int32: true positives, predictions, labels, and `seen`, which
    is above 0 for the classes that a macro average counts."""
    keep = found.mask.astype(jnp.int32)
    if found.kind == "multilabel":
        predicted, labels = found.outputs > 0, found.labels
        return {
            "true": (keep * (predicted & labels)).sum(0),
            "predicted": (keep * predicted).sum(0),
            "actual": (keep * labels).sum(0),
            "seen": (keep * jnp.ones_like(labels)).sum(0),
        }
    if found.kind == "binary":
        guess, labels = (found.outputs[:, 0] > 0), found.labels[:, 0]
        guess, labels, classes = guess.astype(jnp.int32), labels.astype(jnp.int32), 2
    else:
        guess, labels = found.outputs.argmax(-1), found.labels
        classes = found.outputs.shape[-1]
    none, keep = jnp.zeros(classes, jnp.int32), keep[:, 0]
    predicted, actual = none.at[guess].add(keep), none.at[labels].add(keep)
    return {
        "true": none.at[labels].add(keep * (guess == labels)),
        "predicted": predicted,
        "actual": actual,
        "seen": predicted + actual,
    }


def _f1(counts: dict[str, np.ndarray]) -> np.ndarray:
    total = counts["predicted"] + counts["actual"]
    return np.asarray(2 * counts["true"] / np.maximum(total, 1))

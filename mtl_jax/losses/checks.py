"""What a loss refuses, in words: static shapes, hyper-parameters, host-side labels."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

Shape = tuple[int, ...]


def output_check(
    name: str, advice: Callable[[Shape, Shape], str]
) -> Callable[..., None]:
    """The `check_outputs` of a loss.

    Args:
        name: of the loss.
        advice: `(output shape, label shape) -> text`: what to change, "" where the
            shapes fit.
    """

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


def elementwise_advice(output: Shape, label: Shape) -> str:
    """What to change where each output has a label of its own; "" where they fit."""
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


def class_weights_table(
    name: str, weights: Sequence[float] | None, length: int | None = None
) -> np.ndarray | None:
    """The class weights as an array, checked: as many as `length`, or any number."""
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


def check_smoothing(name: str, smoothing: float) -> None:
    """Raise `ValueError` unless the smoothing lies in [0, 1)."""
    if not 0 <= smoothing < 1:
        raise ValueError(
            f"loss {name!r}: label_smoothing must lie in [0, 1), but is {smoothing}."
        )


def check_ignore(name: str, ignore: int | None) -> None:
    """Raise `ValueError` unless the label to ignore is a negative integer or None."""
    if ignore is None:
        return
    whole = isinstance(ignore, int | np.integer) and not isinstance(ignore, bool)
    if not (whole and ignore < 0):
        raise ValueError(
            f"loss {name!r}: ignore must be a negative integer, for the metrics leave "
            f"out negative labels alone, but is {ignore!r}. Relabel what is missing: "
            f"np.where(labels == {ignore!r}, -1, labels.astype(np.int32)), ignore=-1."
        )


def check_integer(name: str, dtype: Any, task: str | None) -> None:
    """Raise `ValueError` for labels that are no classes; booleans are."""
    if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.integer, jnp.bool_)):
        who = "" if task is None else f"task {task!r}: "
        raise ValueError(
            f"{who}loss {name!r} needs integer class labels, but they are {dtype}. "
            "Convert them with labels.astype(np.int32); where one is missing put any "
            "integer and mark it in the mask."
        )


def check_number(name: str, dtype: Any, task: str) -> None:
    """Raise `ValueError` for labels that are no numbers."""
    kinds = (jnp.integer, jnp.floating, jnp.bool_)
    if not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise ValueError(
            f"task {task!r}: loss {name!r} needs numeric labels, but they are {dtype}. "
            "Convert them, for instance with labels.astype(np.float32)."
        )


def present_labels(labels: Any, mask: Any, task: str) -> tuple[np.ndarray, np.ndarray]:
    """The labels `[B, ...]` and where they are present `[B]`, both as NumPy arrays.

    Raises:
        ValueError: no example, no label at all, or a mask of another shape or dtype.
    """
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


def left_out(
    labels: np.ndarray, value: float | None, present: np.ndarray, task: str
) -> np.ndarray:
    """Where labels are the value that says that there is none, `[B, ...]` bool.

    Args:
        labels: `[B, ...]`.
        value: the label that is none; None where every label is one.
        present: which examples have a label, `[B]` bool.
        task: name of the task.

    Raises:
        ValueError: no label is left.
    """
    if value is None:
        return np.zeros(labels.shape, bool)
    out = np.asarray(labels == value)
    if out[present].all():
        raise ValueError(
            f"task {task!r} has no label at all: every present label is {value}, which "
            "its loss leaves out. Leave the task out, or look at how labels are read."
        )
    return out


def where_missing(name: str, labels: np.ndarray, ignore: int | None) -> str:
    """The advice for labels that may stand for missing ones."""
    if ignore is not None:
        return f"What is missing has to be {ignore}, or marked in the mask."
    if labels.ndim == 1:
        return "Mark missing labels in the mask."
    return (
        "Mark examples without a label in the mask; where parts of a label are "
        f"missing, make them -1 and use {name}(ignore=-1)."
    )


def refuse(
    labels: np.ndarray,
    bad: np.ndarray,
    present: np.ndarray,
    task: str,
    rule: str,
    fix: str,
) -> None:
    """Raise `ValueError` for present labels that break a rule.

    Args:
        labels: `[B, ...]`.
        bad: which of them break it, `[B, ...]` bool.
        present: which examples have a label, `[B]` bool.
        task: name of the task.
        rule: what labels must be.
        fix: what to do.
    """
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

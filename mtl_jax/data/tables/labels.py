"""Labels from the columns of a table: of what kind they are, and which are missing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mtl_jax import errors
from mtl_jax.data.tables import columns as columns_lib
from mtl_jax.data.tables import encode

KINDS = ("classification", "binary", "ordinal", "count", "regression")
FEW = 10
"""Different whole numbers up to which a column is taken for classes."""


class Labels(NamedTuple):
    """The labels of all rows of a table."""

    values: np.ndarray  # int32 or float32 [N]; 0 where there is none
    present: np.ndarray  # bool [N]
    facts: dict[str, Any]  # the kind, and what a task of that kind must know


def infer(column: Sequence[Any] | np.ndarray) -> str:
    """What kind of task a column asks for.

    Args:
        column: texts or numbers `[N]`; missing ones do not count.

    Returns:
        "binary" for two different values, "classification" for a column of other texts
        or of up to ten different whole numbers, "regression" for other numbers.

    Example:
        >>> infer(["yes", "no", "?"]), infer(["1", "2", "3"]), infer([0.5, 1.5, 7])
        ('binary', 'classification', 'regression')
    """
    values = _values(column)
    known = set(values[~columns_lib.is_missing(column)].tolist())
    if len(known) == 2:
        return "binary"
    whole = values.dtype.kind == "f" and all(value.is_integer() for value in known)
    few = whole and len(known) <= FEW
    return "classification" if values.dtype.kind != "f" or few else "regression"


def make(
    column: Sequence[Any] | np.ndarray,
    train: np.ndarray,
    *,
    name: str,
    kind: str | None = None,
    positive: str | None = None,
    standardise: bool = True,
) -> Labels:
    """The labels of a task.

    Args:
        column: texts or numbers `[N]`; "", "?", NaN and None are missing labels.
        train: bool `[N]`, the rows of the training split.
        name: of the task, for errors.
        kind: one of `KINDS`; default: what `infer` says.
        positive: the value that is 1, and every other 0, in a binary task; default: the
            greater of two.
        standardise: numbers of a regression become `(value - mean) / deviation`, with
            the mean and deviation of train.

    Returns:
        `Labels`. Classes and levels are numbered in the order of their numbers, else of
        their texts; the facts have their names (`labels`), and of standardised numbers
        the `units`, `(mean, deviation)`.

    Raises:
        ValueError: an unknown kind, a value that does not fit it, no label in train, or
            classes that are different in nearly every row.

    Example:
        >>> train = np.array([True, True, False])
        >>> made = make(["no", "?", "yes"], train, name="late")
        >>> made.values.tolist(), made.present.tolist(), made.facts["labels"]
        ([0, 0, 1], [True, False, True], ('no', 'yes'))
    """
    kind = kind or ("binary" if positive is not None else infer(column))
    if kind not in KINDS:
        raise errors.unknown_name(f"kind of target {name!r}", kind, KINDS)
    present = ~columns_lib.is_missing(column)
    if not (present & train).any():
        raise ValueError(
            f"target {name!r} has no label in train: all of its "
            f"{int(train.sum())} values there are missing. Leave it out."
        )
    if kind in ("regression", "count"):
        return _numbers(column, present, train, name, kind, standardise)
    return _classes(column, present, name, kind, positive)


def _numbers(
    column: Sequence[Any] | np.ndarray,
    present: np.ndarray,
    train: np.ndarray,
    name: str,
    kind: str,
    standardise: bool,
) -> Labels:
    values = np.where(present, columns_lib.numbers(column, name), 0.0)
    facts: dict[str, Any] = {"kind": kind}
    if kind == "count" and values.min() < 0:
        raise ValueError(
            f"target {name!r} is a count, but row {int(values.argmin())} has "
            f"{values.min():g}. Counts are 0 or more: make it a regression."
        )
    if kind == "regression" and standardise:
        known = values[present & train]
        mean, deviation = float(known.mean()), float(known.std()) or 1.0
        values = np.where(present, (values - mean) / deviation, 0.0)
        facts["units"] = (mean, deviation)
    return Labels(values.astype(np.float32), present, facts)


def _classes(
    column: Sequence[Any] | np.ndarray,
    present: np.ndarray,
    name: str,
    kind: str,
    positive: str | None,
) -> Labels:
    values = _values(column)
    known = np.unique(values[present])
    names = tuple(encode.name_of(value) for value in known.tolist())
    if len(known) > max(FEW, present.sum() / 2):
        raise ValueError(
            f"target {name!r} has {len(known)} different values in {present.sum()} "
            "rows, which are no classes. Name another column, or another kind "
            "(regression needs numbers)."
        )
    numbers = np.searchsorted(known, np.where(present, values, known[0]))
    if kind == "binary":
        if positive is None and len(known) != 2:
            raise ValueError(
                f"target {name!r} is binary, but has {len(known)} different values "
                f"({', '.join(names[:8])}). Say which is 1 with positive="
                f"{{{name!r}: VALUE}}, or make it a classification."
            )
        one = 1
        if positive is not None:
            if str(positive) not in names:
                raise errors.unknown_name(f"value of target {name!r}", positive, names)
            one = names.index(str(positive))
        numbers = numbers == one
        names = (names[1 - one] if len(names) == 2 else f"not {names[one]}", names[one])
    facts: dict[str, Any] = {"kind": kind, "labels": names}
    if kind == "classification":
        facts["num_classes"] = len(names)
    if kind == "ordinal":
        facts["num_levels"] = len(names)
    return Labels(np.where(present, numbers, 0).astype(np.int32), present, facts)


def _values(column: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Numbers as float64, anything else as texts."""
    if columns_lib.kinds({"": column})[""] == columns_lib.NUMERIC:
        return columns_lib.numbers(column)
    return np.array([str(value).strip() for value in column])

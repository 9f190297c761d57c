"""What the columns of a table are: numbers or categories, and what is missing."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax import errors

NUMERIC, CATEGORICAL = "numeric", "categorical"
MISSING = ("", "?", "nan")
"""Texts, in lower case, that stand for a missing value."""


def is_missing(column: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Where the values of a column are missing: "", "?", NaN or None.

    Returns:
        bool `[N]`.

    Example:
        >>> is_missing(["clerk", "?", ""]).tolist()
        [False, True, True]
    """
    if isinstance(column, np.ndarray) and column.dtype.kind in "biuf":
        return (
            np.isnan(column)
            if column.dtype.kind == "f"
            else np.zeros(len(column), bool)
        )
    return np.array([_absent(value) for value in column], bool)


def numbers(column: Sequence[Any] | np.ndarray, name: str = "") -> np.ndarray:
    """A column as numbers, NaN where they are missing.

    Args:
        column: N numbers, or texts of numbers.
        name: of the column, for the error text.

    Returns:
        float64 `[N]`.

    Raises:
        ValueError: a value that is no finite number; the text names it and its row.

    Example:
        >>> numbers(["1.5", "?", "2"]).tolist()
        [1.5, nan, 2.0]
    """
    if isinstance(column, np.ndarray) and column.dtype.kind in "biuf":
        result = column.astype(np.float64)
        infinite = np.flatnonzero(np.isinf(result))
        if len(infinite):
            raise _no_number(name, int(infinite[0]), result[infinite[0]])
        return result
    result = np.empty(len(column), np.float64)
    for row, (value, absent) in enumerate(zip(column, is_missing(column), strict=True)):
        number = float("nan") if absent else _number(value)
        if number is None:
            raise _no_number(name, row, value)
        result[row] = number
    return result


def kinds(
    columns: Mapping[str, Sequence[Any] | np.ndarray],
    *,
    categorical: Collection[str] = (),
    numeric: Collection[str] = (),
) -> dict[str, str]:
    """Whether each column is numeric or categorical.

    A column of numbers, or of texts that all are numbers where not missing, is numeric;
    any other is categorical. Numbers that are names, such as a post code or a month,
    have to be declared.

    Args:
        columns: by name, all of one length.
        categorical: columns declared categorical.
        numeric: columns declared numeric.

    Returns:
        "numeric" or "categorical" for each name, in the order of `columns`.

    Raises:
        ValueError: a declared name that is not there, or declared as both.

    Example:
        >>> table = {"age": ["30", "?"], "job": ["clerk", ""], "month": ["1", "12"]}
        >>> kinds(table, categorical=["month"])
        {'age': 'numeric', 'job': 'categorical', 'month': 'categorical'}
    """
    for name in (*categorical, *numeric):
        if name not in columns:
            raise errors.unknown_name("column", name, columns)
    both = sorted(set(categorical) & set(numeric))
    if both:
        raise ValueError(
            f"columns declared both categorical and numeric: {', '.join(both)}."
        )
    declared = dict.fromkeys(categorical, CATEGORICAL) | dict.fromkeys(numeric, NUMERIC)
    return {
        name: declared.get(name) or (NUMERIC if _all_numbers(column) else CATEGORICAL)
        for name, column in columns.items()
    }


def _all_numbers(column: Sequence[Any] | np.ndarray) -> bool:
    if isinstance(column, np.ndarray) and column.dtype.kind in "biuf":
        return True
    present = [value for value in column if not _absent(value)]
    return bool(present) and all(_number(value) is not None for value in present)


def _absent(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return isinstance(value, str) and value.strip().lower() in MISSING


def _no_number(name: str, row: int, value: Any) -> ValueError:
    return ValueError(
        f"column {name!r}, row {row}: {value!r} is no finite number. Correct it, mark "
        "it as missing with '?', or declare the column categorical."
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None

"""The rows of each task and split of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.data.tables import columns, encode, split

Rows = Mapping[str, np.ndarray]
"""The rows of each split, int64."""


def divide(
    count: int,
    *,
    tasks: Sequence[Any] | np.ndarray | None = None,
    groups: Sequence[Sequence[Any] | np.ndarray] = (),
    test: np.ndarray | None = None,
    fractions: Sequence[float] = split.FRACTIONS,
    seed: int = 0,
) -> dict[str, Rows]:
    """Which rows are of which task and split.

    Args:
        count: how many rows there are, N.
        tasks: a column `[N]` whose values are tasks; each is split by itself. Rows
            without a value are of none.
        groups: columns `[N]`: rows with equal values in all of them are in one split.
        test: bool `[N]`, an official test split; only the rest is divided then.
        fractions: of train, validation and test.
        seed: of the split.

    Returns:
        For each value of `tasks` (in the order of numbers, else of texts; without
        tasks for "") the rows of each split.

    Raises:
        ValueError: fractions that are no split, or a split that would be empty.

    Example:
        >>> parts = divide(4, tasks=["b", "a", "b", "a"], fractions=(0.5, 0, 0.5))
        >>> {task: sorted(rows) for task, rows in parts.items()}
        {'a': ['test', 'train'], 'b': ['test', 'train']}
    """
    of_tasks = {"": np.arange(count)} if tasks is None else _by_value(tasks)
    together = None
    if groups:
        keys = np.stack([_texts(column) for column in groups], axis=1)
        together = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    return {
        task: _divided(task, rows, test, together, fractions, seed)
        for task, rows in of_tasks.items()
    }


def within(rows: Mapping[str, Rows], name: str, count: int) -> np.ndarray:
    """bool `[N]`: the rows of a split, of all tasks.

    Example:
        >>> parts = divide(3, test=np.array([False, False, True]), fractions=(1, 0, 0))
        >>> within(parts, "train", 3).tolist()
        [True, True, False]
    """
    found = np.zeros(count, bool)
    for parts in rows.values():
        found[parts[name]] = True
    return found


def _divided(
    task: str,
    rows: np.ndarray,
    test: np.ndarray | None,
    together: np.ndarray | None,
    fractions: Sequence[float],
    seed: int,
) -> Rows:
    shares, official = fractions, {}
    if test is not None:
        whole = fractions[0] + fractions[1]
        shares = (fractions[0] / whole, fractions[1] / whole, 0.0)
        official = {"test": rows[test[rows]]}
        rows = rows[~test[rows]]
    try:
        if together is None:
            parts = split.by_row(len(rows), shares, seed)
        else:
            parts = split.by_group(together[rows], shares, seed)
    except ValueError as error:
        raise ValueError(f"task {task!r}: {error}" if task else str(error)) from None
    return {**{name: rows[part] for name, part in parts.items()}, **official}


def _by_value(tasks: Sequence[Any] | np.ndarray) -> dict[str, np.ndarray]:
    names = _texts(tasks)
    known = set(names[~columns.is_missing(tasks)].tolist())
    return {
        name.replace("/", "_"): np.flatnonzero(names == name)
        for name in sorted(known, key=_order)
    }


def _texts(column: Sequence[Any] | np.ndarray) -> np.ndarray:
    return np.array([encode.name_of(value) for value in column])


def _order(name: str) -> tuple[bool, float, str]:
    """Numbers by size, before texts."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name

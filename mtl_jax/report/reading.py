"""Reading metrics rows: one number, one curve, a task's metrics."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
"""`{"step": int, "epoch": int, "split": str, "task/metric": float | None, ...}`."""

RESERVED = frozenset({"step", "epoch", "split"})


def number(row: Row, key: str) -> float | None:
    """The finite number under `key`.

    Args:
        row: a metrics row.
        key: any key.

    Returns:
        A float, or None where the key is missing, None, not a number, or not finite.

    Example:
        >>> number({"digit/loss": 0.5}, "digit/loss")
        0.5
        >>> number({"digit/loss": float("nan")}, "digit/loss") is None
        True
    """
    value = row.get(key)
    if value is None or isinstance(value, str):
        return None
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def series(
    rows: Iterable[Row], split: str, key: str
) -> tuple[list[float], list[float]]:
    """One curve: the steps and the values of `key` in the rows of `split`.

    Args:
        rows: metrics rows in any order.
        split: "train", "validation" or "test".
        key: the number's key.

    Returns:
        Steps in rising order and the values at them. Rows without the number are left
        out; of two rows at one step, the later one counts.

    Example:
        >>> rows = [{"step": 2, "split": "train", "a/loss": 1.0},
        ...         {"step": 1, "split": "train", "a/loss": 3.0}]
        >>> series(rows, "train", "a/loss")
        ([1.0, 2.0], [3.0, 1.0])
    """
    points: dict[float, float] = {}
    for row in rows:
        if row.get("split") != split:
            continue
        step, value = number(row, "step"), number(row, key)
        if step is not None and value is not None:
            points[step] = value
    steps = sorted(points)
    return steps, [points[step] for step in steps]


def mean_over_steps(rows: Iterable[Row], key: str, start: float = 0) -> float | None:
    """The mean of numbers that are each the mean since the row before.

    Args:
        rows: training rows in the order of their steps.
        key: the numbers' key.
        start: the step of the row before the first.

    Returns:
        The mean over the steps, in which a row of one step counts less than one of
        fifty; None where no row has the number.

    Example:
        >>> rows = [{"step": 50, "a/loss": 1.0}, {"step": 51, "a/loss": 52.0}]
        >>> mean_over_steps(rows, "a/loss")
        2.0
    """
    total = weight = 0.0
    for row in rows:
        step, value = number(row, "step"), number(row, key)
        span = 1.0 if step is None or step <= start else step - start
        start = start if step is None else step
        if value is not None:
            total, weight = total + span * value, weight + span
    return total / weight if weight else None


def evened(
    steps: Sequence[float], values: Sequence[float]
) -> tuple[list[float], list[float]]:
    """A training curve without the points that are means over few steps.

    Rows come every so many steps and at the end of each epoch, so some cover a step or
    two; their noise would look like spikes. They are joined with the next ones until a
    point covers half as many steps as the longest.

    Args:
        steps: in rising order.
        values: at each step, the mean since the step before.

    Returns:
        Steps and values.

    Example:
        >>> evened([50, 100, 101, 150], [1.0, 1.0, 50.0, 1.0])
        ([50, 100, 150], [1.0, 1.0, 1.98])
    """
    spans = [max(b - a, 1) for a, b in zip([0, *steps], steps, strict=False)]
    found: tuple[list[float], list[float]] = [], []
    total = covered = 0.0
    for step, value, span in zip(steps, values, spans, strict=True):
        total, covered = total + span * value, covered + span
        if covered and (2 * covered >= max(spans) or step == steps[-1]):
            found[0].append(step)
            found[1].append(total / covered)
            total = covered = 0.0
    return found


def metrics(rows: Iterable[Row], task: str) -> list[str]:
    """The names of a task's metrics in `rows`, loss and weight left out.

    Args:
        rows: metrics rows.
        task: the task's name.

    Returns:
        Names without the task, in the order of first appearance.

    Example:
        >>> metrics([{"step": 1, "a/loss": 1.0, "a/accuracy": 0.5}], "a")
        ['accuracy']
    """
    prefix = f"{task}/"
    names: dict[str, None] = {}
    for row in rows:
        for key in row:
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                # With tasks "a" and "a/b", "a/b/loss" is the second one's.
                if "/" not in name and name not in ("loss", "weight"):
                    names[name] = None
    return list(names)


def last_evaluation(rows: Iterable[Row]) -> tuple[str, dict[str, Any]]:
    """The last evaluation of the test split, or without one of the validation split.

    Args:
        rows: metrics rows in the order they were written.

    Returns:
        The split and the row. Rows of one split and step are joined into one; where
        nothing was evaluated, an empty name and an empty row.

    Example:
        >>> rows = [{"step": 1, "split": "test", "a/loss": 1.0},
        ...         {"step": 1, "split": "test", "b/loss": 2.0}]
        >>> last_evaluation(rows)
        ('test', {'step': 1, 'split': 'test', 'a/loss': 1.0, 'b/loss': 2.0})
    """
    rows = list(rows)
    for split in ("test", "validation"):
        found = [row for row in rows if row.get("split") == split]
        if found:
            joined: dict[str, Any] = {}
            for row in found:
                if row.get("step") == found[-1].get("step"):
                    joined.update(row)
            return split, joined
    return "", {}

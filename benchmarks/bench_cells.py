"""What the cells of the tables of results are made of."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import bench_programs

from mtl_jax import metrics

ALONE = "single task"
Directions = Mapping[str, Mapping[str, bool]]
"""By task and metric: is higher better?"""


def directions_of(rows: Iterable[dict[str, Any]]) -> Directions:
    """Of all tasks of some runs."""
    found: dict[str, dict[str, bool]] = {}
    for row in rows:
        for task, known in row["metrics"].items():
            found.setdefault(task, {}).update(known)
    return found


def columns_of(program: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """The metrics of a program that are shown."""
    known = bench_programs.programs().get(program)
    found = columns(rows, known.metrics if known else ())
    if known and known.alone:
        found = [c for c in found if c.partition("/")[0] in known.alone]
    return found


def metric_of(column: str) -> str:
    """Of "task/metric"."""
    return column.partition("/")[2]


def line(title: str, cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {title} | " + " | ".join(cells) + " |"


def arrow(column: str, directions: Directions) -> str:
    """Which way a metric is better."""
    task, _, metric = column.partition("/")
    return " ↑" if directions[task][metric] else " ↓"


def alike(columns: Sequence[str]) -> list[list[str]]:
    """Columns of one metric, where three tasks or more are measured by it."""
    found: dict[str, list[str]] = {}
    for column in columns:
        found.setdefault(metric_of(column), []).append(column)
    return [names for names in found.values() if len(names) > 2]


def average(
    rows: Sequence[dict[str, Any]], method: str, columns: Sequence[str]
) -> list[float]:
    """The mean of columns, of every seed that has them all."""
    by_seed = [values(rows, method, column) for column in columns]
    common = set.intersection(*(set(found) for found in by_seed))
    return [statistics.fmean(f[seed] for f in by_seed) for seed in sorted(common)]


def parameters(rows: Sequence[dict[str, Any]], method: str) -> str:
    """Of a joint run; of the single tasks, their sum."""
    found = {
        row.get("task"): row["parameters"] for row in rows if row["method"] == method
    }
    return f"{sum(found.values()):,}"


def seconds(rows: Sequence[dict[str, Any]], method: str) -> str:
    """CPU seconds of a run; of the single tasks, their sum."""
    spent = [row["seconds"] for row in rows if row["method"] == method]
    runs = len({row["seed"] for row in rows if row["method"] == method})
    return f"{sum(spent) / runs:.0f}"


def columns(rows: Sequence[dict[str, Any]], chosen: Sequence[str]) -> list[str]:
    """Of each task the chosen metrics, else the first one, and all of dense
    predictions."""
    found = []
    for row in rows:
        for task, names in row["metrics"].items():
            dense = any(name in DENSE for name in names)
            shown = [name for name in names if name in chosen]
            for name in shown or (names if dense else list(names)[:1]):
                found += [k for k in row["test"] if k == f"{task}/{name}"]
    return list(dict.fromkeys(found))


DENSE = ("mean_iou", "abs_error", "angular_error")


def values(
    rows: Sequence[dict[str, Any]], method: str, column: str
) -> dict[int, float]:
    """By seed."""
    return {
        row["seed"]: row["test"][column]
        for row in rows
        if row["method"] == method and column in row["test"]
    }


def means(
    rows: Sequence[dict[str, Any]], method: str, columns: Sequence[str]
) -> dict[str, dict[str, float]]:
    """By task and metric, over the seeds."""
    found: dict[str, dict[str, float]] = {}
    for column in columns:
        by_seed = values(rows, method, column)
        if by_seed:
            task, _, metric = column.partition("/")
            found.setdefault(task, {})[metric] = statistics.fmean(by_seed.values())
    return found


def cell(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation."""
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def delta(means: Any, base: Any, directions: Directions, convention: str) -> str:
    """Δm in a convention; – where it cannot be computed."""
    try:
        found = metrics.delta_m(means, base, directions, convention=convention)
    except ValueError:
        return "–"
    return f"{found:+.2f} %"


def seeds(rows: Sequence[dict[str, Any]]) -> str:
    """Those that there are."""
    return ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))

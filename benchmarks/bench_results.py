"""The record of `results.py`, and the page that is made of it."""

import collections
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bench_record

from mtl_jax import metrics

ALONE = "single task"
HEAD = """# Results

Every program of `configs/`, trained on real data with its method and with others,
beside each of its tasks alone: the same network, as many steps, batches of as many of
its examples. Mean ± sample standard deviation over seeds; the test split, after the
last epoch. Nothing was tuned on it. A method that does not help is in the table like
the others.

Δm compares the means with the single tasks in both conventions that are in print
(`mtl_jax.metrics.delta_m`): over metrics, where LOWER is better, and over tasks, where
HIGHER is better.

    python benchmarks/results.py --record results.jsonl
    python benchmarks/results.py --record results.jsonl --table docs/results.md
"""


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a record; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one run from another."""
    return row["program"], row["method"], row.get("task"), row["seed"]


def line(row: dict[str, Any]) -> str:
    """A run in one line."""
    scores = ", ".join(f"{k} {v:.4f}" for k, v in row["test"].items())
    who = " ".join(str(part) for part in key(row) if part is not None)
    return f"{who}: {scores}; {row['seconds']} s"


def write(record: Path, page: Path) -> None:
    """The page with a table a program."""
    rows = read(record)
    environment = bench_record.environment()
    machine = environment["machine"]
    where = (
        f"Measured on {machine['cpu']} ({machine['device']}), jax "
        f"{environment['versions']['jax']}; page written {environment['date'][:10]}.\n"
    )
    names = dict.fromkeys(row["program"] for row in rows)
    parts = [HEAD, where, *(table(name, rows) for name in sorted(names))]
    page.write_text("\n".join(parts))


def table(program: str, rows: Iterable[dict[str, Any]]) -> str:
    """One program: a row a method, a column a metric."""
    own = [row for row in rows if row["program"] == program]
    directions = collections.defaultdict[str, dict[str, bool]](dict)
    for row in own:
        for task, found in row["metrics"].items():
            directions[task] |= found
    columns = _columns(own)
    methods = dict.fromkeys(row["method"] for row in own)
    base = _means(own, ALONE, columns)
    lines = [
        f"\n## {program}\n",
        f"`configs/{program}.py`, seeds {_seeds(own)}\n",
        "| method | " + " | ".join(columns) + " | Δm metrics ↓ | Δm tasks ↑ | s |",
        "|" + " --- |" * (len(columns) + 4),
    ]
    for method in sorted(methods, key=lambda m: m != ALONE):
        means = _means(own, method, columns)
        cells = [_cell(_values(own, method, column)) for column in columns]
        change = ["", ""]
        if method != ALONE and set(means) == set(base) and base:
            change = [
                _delta(means, base, directions, convention)
                for convention in ("metrics", "tasks")
            ]
        spent = [row["seconds"] for row in own if row["method"] == method]
        runs = len({row["seed"] for row in own if row["method"] == method})
        cells += [*change, f"{sum(spent) / runs:.0f}"]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The metrics shown: of each task those that it is measured by, the first of the
    usual ones, or all of dense predictions."""
    found = []
    for row in rows:
        for task, names in row["metrics"].items():
            dense = any(name in DENSE for name in names)
            for name in names if dense else list(names)[:1]:
                found += [k for k in row["test"] if k == f"{task}/{name}"]
    return list(dict.fromkeys(found))


DENSE = ("mean_iou", "abs_error", "angular_error")


def _values(rows: Sequence[dict[str, Any]], method: str, column: str) -> list[float]:
    return [
        row["test"][column]
        for row in rows
        if row["method"] == method and column in row["test"]
    ]


def _means(
    rows: Sequence[dict[str, Any]], method: str, columns: Sequence[str]
) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for column in columns:
        values = _values(rows, method, column)
        if values:
            task, _, metric = column.partition("/")
            means.setdefault(task, {})[metric] = statistics.fmean(values)
    return means


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def _delta(means: Any, base: Any, directions: Any, convention: str) -> str:
    try:
        found = metrics.delta_m(means, base, directions, convention=convention)
    except ValueError:
        return "–"
    return f"{found:+.2f} %"


def _seeds(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))

"""The record of `results.py`, and the page that is made of it."""

import collections
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bench_programs
import bench_record
import bench_studies

from mtl_jax import metrics

ALONE = "single task"
HEAD = """# Results

Every program of `configs/`, trained on real data with its method and with others,
beside each of its tasks alone: the same network, as many steps, batches of as many of
its examples. Mean ± sample standard deviation over seeds; the test split, after the
last epoch. Nothing was tuned on it. A method that does not help is in the table like
the others. Parameters and seconds of the single tasks are sums over the tasks.

Δm compares the means with the single tasks in both conventions that are in print
(`mtl_jax.metrics.delta_m`): over metrics, where LOWER is better, and over tasks, where
HIGHER is better. Architectures other than hard sharing have as many parameters as it:
all their widths are scaled alike.

    python benchmarks/results.py --record results.jsonl
    python benchmarks/results.py --record results.jsonl --table docs/results.md
"""

STUDIES = """Transfer, schedules, tasks without labels, missing modalities: what these
configs compare, as their docstrings have it. Seeds, spreads and the test split are as
above.
"""


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a record; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one run from another."""
    what = ("program", "method", "architecture", "task", "seed")
    return tuple(row.get(name) for name in what)


def line(row: dict[str, Any]) -> str:
    """A run in one line."""
    scores = ", ".join(f"{k} {v:.4f}" for k, v in row["test"].items()) or "diverged"
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
    parts += ["\n## Programs of several runs\n", STUDIES, *bench_studies.sections()]
    page.write_text("\n".join(parts))


def table(program: str, rows: Iterable[dict[str, Any]]) -> str:
    """One program: a row a metric, a column a method."""
    every = [row for row in rows if row["program"] == program]
    own = [row for row in every if "architecture" not in row]
    directions = collections.defaultdict[str, dict[str, bool]](dict)
    for row in own:
        for task, found in row["metrics"].items():
            directions[task] |= found
    known = bench_programs.programs().get(program)
    columns = _columns(own, known.metrics if known else ())
    if known and known.alone:
        columns = [c for c in columns if c.partition("/")[0] in known.alone]
    methods = sorted({row["method"]: None for row in own}, key=lambda m: m != ALONE)
    lines = [
        f"\n## {program}\n",
        f"`configs/{program.partition(',')[0]}.py`, seeds {_seeds(own)}\n",
        "| | " + " | ".join(methods) + " |",
        "|" + " --- |" * (len(methods) + 1),
    ]
    if len(columns) <= MOST_ROWS:
        for column in columns:
            cells = [_cell(list(_values(own, m, column).values())) for m in methods]
            lines.append(_line(f"{column}{_arrow(column, directions)}", cells))
    for names in _alike(columns):
        cells = [_cell(_average(own, m, names)) for m in methods]
        metric = _metric(names[0])
        title = f"mean of {len(names)} tasks, {metric}{_arrow(names[0], directions)}"
        lines.append(_line(title, cells))
    base = _means(own, ALONE, columns)
    for convention, arrow in (("metrics", "↓"), ("tasks", "↑")):
        cells = []
        for method in methods:
            means = _means(own, method, columns)
            comparable = method != ALONE and base and set(means) == set(base)
            cells.append(
                _delta(means, base, directions, convention) if comparable else ""
            )
        lines.append(_line(f"Δm over {convention} {arrow}", cells))
    if diverged := [row["method"] for row in own if not row["test"]]:
        cells = [f"{diverged.count(m)}" if m in diverged else "" for m in methods]
        lines.append(_line("runs that diverged", cells))
    lines.append(_line("parameters", [_parameters(own, m) for m in methods]))
    lines.append(_line("CPU seconds a run", [_seconds(own, m) for m in methods]))
    if len(every) > len(own):
        lines += _of_architectures(every, columns, directions)
    return "\n".join(lines) + "\n"


def _of_architectures(
    rows: Sequence[dict[str, Any]],
    columns: Sequence[str],
    directions: dict[str, dict[str, bool]],
) -> list[str]:
    """A row an architecture, beside hard sharing by the same method."""
    method = next(row["method"] for row in rows if "architecture" in row)
    found = {HARD: [row for row in rows if row["method"] == method]}
    found[HARD] = [row for row in found[HARD] if "architecture" not in row]
    for row in rows:
        if "architecture" in row:
            found.setdefault(row["architecture"], []).append(row)
    alone = [row for row in rows if row["method"] == ALONE]
    base = _means(alone, ALONE, columns)
    many = len(columns) > MOST_COLUMNS
    shown = [(f"mean, {_metric(n[0])}", n) for n in _alike(columns)] if many else []
    shown = shown or [(column, [column]) for column in columns]
    titles = [f"{title}{_arrow(names[0], directions)}" for title, names in shown]
    head = ["architecture", *titles, "Δm over tasks ↑", "parameters"]
    lines = [f"\nArchitectures, by `{method}`:\n", _line(head[0], head[1:])]
    lines.append("|" + " --- |" * len(head))
    for name, own in found.items():
        means = _means(own, method, columns)
        same = base and set(means) == set(base)
        cells = [_cell(_average(own, method, names)) for _, names in shown]
        cells.append(_delta(means, base, directions, "tasks") if same else "")
        lines.append(_line(name, [*cells, _parameters(own, method)]))
    return lines


HARD = "hard_sharing"
MOST_COLUMNS = 4
"""With more metrics there is the mean of those that are alike."""


def _metric(column: str) -> str:
    return column.partition("/")[2]


MOST_ROWS = 16
"""With more tasks there is their mean alone."""


def _line(title: str, cells: Iterable[str]) -> str:
    return f"| {title} | " + " | ".join(cells) + " |"


def _arrow(column: str, directions: dict[str, dict[str, bool]]) -> str:
    task, _, metric = column.partition("/")
    return " ↑" if directions[task][metric] else " ↓"


def _alike(columns: Sequence[str]) -> list[list[str]]:
    """Columns of one metric, where three tasks or more are measured by it."""
    found: dict[str, list[str]] = {}
    for column in columns:
        found.setdefault(column.partition("/")[2], []).append(column)
    return [names for names in found.values() if len(names) > 2]


def _average(
    rows: Sequence[dict[str, Any]], method: str, columns: Sequence[str]
) -> list[float]:
    """The mean of columns, of every seed that has them all."""
    values = [_values(rows, method, column) for column in columns]
    seeds = set.intersection(*(set(found) for found in values))
    return [statistics.fmean(found[seed] for found in values) for seed in sorted(seeds)]


def _parameters(rows: Sequence[dict[str, Any]], method: str) -> str:
    """Of a joint run; of the single tasks, their sum."""
    found = {
        row.get("task"): row["parameters"] for row in rows if row["method"] == method
    }
    return f"{sum(found.values()):,}"


def _seconds(rows: Sequence[dict[str, Any]], method: str) -> str:
    spent = [row["seconds"] for row in rows if row["method"] == method]
    runs = len({row["seed"] for row in rows if row["method"] == method})
    return f"{sum(spent) / runs:.0f}"


def _columns(rows: Sequence[dict[str, Any]], chosen: Sequence[str]) -> list[str]:
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


def _values(
    rows: Sequence[dict[str, Any]], method: str, column: str
) -> dict[int, float]:
    """By seed."""
    return {
        row["seed"]: row["test"][column]
        for row in rows
        if row["method"] == method and column in row["test"]
    }


def _means(
    rows: Sequence[dict[str, Any]], method: str, columns: Sequence[str]
) -> dict[str, dict[str, float]]:
    means: dict[str, dict[str, float]] = {}
    for column in columns:
        values = _values(rows, method, column)
        if values:
            task, _, metric = column.partition("/")
            means.setdefault(task, {})[metric] = statistics.fmean(values.values())
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

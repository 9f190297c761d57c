"""The record of `results.py`, and the page that is made of it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bench_architecture_tables
import bench_cells as cells
import bench_record
import bench_studies

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
    parts = [HEAD, where, bench_architecture_tables.overview(rows)]
    parts += [*(table(name, rows) for name in sorted(names))]
    parts += ["\n## Programs of several runs\n", STUDIES, *bench_studies.sections()]
    page.write_text("\n".join(parts))


def table(program: str, rows: Iterable[dict[str, Any]]) -> str:
    """One program: a row a metric, a column a method."""
    every = [row for row in rows if row["program"] == program]
    own = [row for row in every if "architecture" not in row]
    directions = cells.directions_of(own)
    columns = cells.columns_of(program, own)
    methods = sorted(
        {row["method"]: None for row in own}, key=lambda m: m != cells.ALONE
    )
    lines = [
        f"\n## {program}\n",
        f"`configs/{program.partition(',')[0]}.py`, seeds {cells.seeds(own)}\n",
        "| | " + " | ".join(methods) + " |",
        "|" + " --- |" * (len(methods) + 1),
    ]
    if len(columns) <= MOST_ROWS:
        for column in columns:
            found = [
                cells.cell(list(cells.values(own, m, column).values())) for m in methods
            ]
            lines.append(
                cells.line(f"{column}{cells.arrow(column, directions)}", found)
            )
    for names in cells.alike(columns):
        found = [cells.cell(cells.average(own, m, names)) for m in methods]
        metric = cells.metric_of(names[0])
        title = (
            f"mean of {len(names)} tasks, {metric}{cells.arrow(names[0], directions)}"
        )
        lines.append(cells.line(title, found))
    base = cells.means(own, cells.ALONE, columns)
    for convention, arrow in (("metrics", "↓"), ("tasks", "↑")):
        found = []
        for method in methods:
            means = cells.means(own, method, columns)
            comparable = method != cells.ALONE and base and set(means) == set(base)
            found.append(
                cells.delta(means, base, directions, convention) if comparable else ""
            )
        lines.append(cells.line(f"Δm over {convention} {arrow}", found))
    if diverged := [row["method"] for row in own if not row["test"]]:
        found = [f"{diverged.count(m)}" if m in diverged else "" for m in methods]
        lines.append(cells.line("runs that diverged", found))
    lines.append(cells.line("parameters", [cells.parameters(own, m) for m in methods]))
    lines.append(
        cells.line("CPU seconds a run", [cells.seconds(own, m) for m in methods])
    )
    if len(every) > len(own):
        lines += bench_architecture_tables.of_program(every, columns, directions)
    return "\n".join(lines) + "\n"


MOST_ROWS = 16
"""With more tasks there is their mean alone."""

"""Tables of architectures with as many parameters: of a program, and of all."""

from collections.abc import Sequence
from typing import Any

import bench_cells as cells


def of_program(
    rows: Sequence[dict[str, Any]],
    columns: Sequence[str],
    directions: cells.Directions,
) -> list[str]:
    """A row an architecture, beside hard sharing by the same method."""
    method = next(row["method"] for row in rows if "architecture" in row)
    found = {HARD: [row for row in rows if row["method"] == method]}
    found[HARD] = [row for row in found[HARD] if "architecture" not in row]
    for row in rows:
        if "architecture" in row:
            found.setdefault(row["architecture"], []).append(row)
    alone = [row for row in rows if row["method"] == cells.ALONE]
    base = cells.means(alone, cells.ALONE, columns)
    many = len(columns) > MOST_COLUMNS
    shown = (
        [(f"mean, {cells.metric_of(n[0])}", n) for n in cells.alike(columns)]
        if many
        else []
    )
    shown = shown or [(column, [column]) for column in columns]
    titles = [f"{title}{cells.arrow(names[0], directions)}" for title, names in shown]
    head = ["architecture", *titles, "Δm over tasks ↑", "parameters"]
    lines = [f"\nArchitectures, by `{method}`:\n", cells.line(head[0], head[1:])]
    lines.append("|" + " --- |" * len(head))
    for name, own in found.items():
        means = cells.means(own, method, columns)
        same = base and set(means) == set(base)
        shown_of = [cells.cell(cells.average(own, method, names)) for _, names in shown]
        shown_of.append(cells.delta(means, base, directions, "tasks") if same else "")
        lines.append(cells.line(name, [*shown_of, cells.parameters(own, method)]))
    return lines


HARD = "hard_sharing"
MOST_COLUMNS = 4
"""With more metrics there is the mean of those that are alike."""


def overview(rows: Sequence[dict[str, Any]]) -> str:
    """Δm over tasks: a row an architecture, a column a program."""
    programs = sorted({row["program"] for row in rows if "architecture" in row})
    found: dict[str, dict[str, str]] = {HARD: {}}
    for program in programs:
        every = [row for row in rows if row["program"] == program]
        columns = cells.columns_of(program, [r for r in every if _hard(r)])
        directions = cells.directions_of(every)
        base = cells.means(every, cells.ALONE, columns)
        method = next(row["method"] for row in every if "architecture" in row)
        for name in dict.fromkeys(row.get("architecture", HARD) for row in every):
            own = [row for row in every if row.get("architecture", HARD) == name]
            means = cells.means(own, method, columns)
            if base and set(means) == set(base):
                delta = cells.delta(means, base, directions, "tasks")
                found.setdefault(name, {})[program] = delta
    lines = ["\n## Architectures\n", OVERVIEW, cells.line("", programs)]
    lines.append("|" + " --- |" * (len(programs) + 1))
    for name, deltas in found.items():
        lines.append(cells.line(name, [deltas.get(p, "") for p in programs]))
    return "\n".join(lines) + "\n"


def _hard(row: dict[str, Any]) -> bool:
    return "architecture" not in row


OVERVIEW = """Δm over tasks (higher is better) against the single tasks, each
architecture with as many parameters as hard sharing, by the method of the config. The
single tasks have a network each, and so up to T times as many. Where a trunk is mostly
embeddings, architectures that copy it are left with layers of a unit or two, and may
have more parameters all the same.
"""

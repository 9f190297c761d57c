"""Several runs under several seeds, and a table of what they reach."""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mtl_jax import config as settings
from mtl_jax import run
from mtl_jax.report import jsonl

Make = Callable[[int, Mapping[str, Path]], settings.Config]
"""`(seed, work dirs of the runs before it) -> settings`."""


def study(
    runs: Mapping[str, Make], workdir: str | Path, seeds: Sequence[int] = (0, 1, 2)
) -> dict[str, list[dict[str, float]]]:
    """Run everything that is not there yet, in order.

    A run may begin from those before it: a student from its teacher, a new task from
    the trained ones. Each has the work dir `WORKDIR/NAME-SEED`, so that a study that
    was stopped goes on.

    Args:
        runs: by name, how the settings of a run are made.
        workdir: of the study.
        seeds: each run has all of them.

    Returns:
        For each run, the test row of each seed.

    Raises:
        ValueError: a work dir that holds a run with other settings.
    """
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for seed in seeds:
        places = {name: Path(workdir) / f"{name}-{seed}" for name in runs}
        for name, make in runs.items():
            config = make(seed, places)
            run.check_workdir(config, places[name])
            if _test_row(places[name]).get("epoch") != config.train.epochs:
                run.train_run(config, places[name])
            rows[name].append(_test_row(places[name]))
    return rows


def parser(description: str, workdir: str) -> argparse.ArgumentParser:
    """The options of a program of several runs: where, and under which seeds.

    Args:
        description: its docstring, of which the first line is shown.
        workdir: the default one.

    Example:
        >>> asked = parser("Transfer.", "runs/transfer").parse_args(["--seeds", "3"])
        >>> asked.workdir, asked.seeds
        ('runs/transfer', [3])
    """
    found = argparse.ArgumentParser(description=description.partition("\n")[0])
    found.add_argument("--workdir", default=workdir)
    found.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    return found


def table(
    rows: Mapping[str, Sequence[Mapping[str, float]]], keys: Sequence[str]
) -> str:
    """Mean ± sample standard deviation over the seeds, in percent for shares.

    Args:
        rows: of `study`.
        keys: the metrics, e.g. "digit/accuracy"; those that a run lacks are "-".

    Example:
        >>> found = {"alone": [{"a/accuracy": 0.9}, {"a/accuracy": 0.8}], "b": [{}]}
        >>> print(table(found, ["a/accuracy"]))
               a/accuracy
        alone  85.00 ± 7.07 %
        b      -
    """
    lines = [["", *keys]]
    for name, found in rows.items():
        lines.append(
            [name, *(_cell(key, [r[key] for r in found if key in r]) for key in keys)]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(key: str, values: Sequence[float]) -> str:
    if not values:
        return "-"
    share = key.endswith(("accuracy", "auc", "f1"))
    scale, unit, digits = (100, " %", 2) if share else (1, "", 4)
    mean = f"{scale * statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean + unit
    return f"{mean} ± {scale * statistics.stdev(values):.{digits}f}{unit}"


def _test_row(workdir: Path) -> dict[str, float]:
    """The last row of the test split; empty where the run did not get so far."""
    file = workdir / "metrics.jsonl"
    found = jsonl.read(file) if file.is_file() else []
    rows = [row for row in found if row.get("split") == "test"]
    return rows[-1] if rows else {}

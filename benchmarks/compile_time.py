"""Seconds from a Python function to a compiled step, and its memory, by tasks.

Heads of equal shape, no persistent cache; a new step is traced, lowered and compiled
each time, and the numbers of tasks take turns.

Command:

    python benchmarks/compile_time.py --trunks mlp cnn --tasks 2 8 40 138
"""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

import bench_problem
import bench_record
import bench_steps
import bench_timing
import jax

from mtl_jax import weighting


def seconds(problem: bench_problem.Problem, method: str, at: str) -> tuple[float, Any]:
    """Of one cold compilation, and the compiled program."""
    jax.clear_caches()
    step = bench_steps.LibraryStep(problem, weighting.make(method), at=at)
    made: list[Any] = []
    taken = bench_timing.seconds(lambda: made.append(step.compiled()))
    return taken, made[0]


def measure(
    trunk: str,
    tasks: Sequence[int],
    *,
    method: str = "pcgrad",
    at: str = "parameters",
    repeats: int = 3,
    tiny: bool = False,
) -> list[dict[str, Any]]:
    """One row a number of tasks: the median, and as a multiple of the first."""
    problems = {t: bench_problem.make(trunk, t, tiny=tiny) for t in tasks}
    found: dict[int, list[tuple[float, Any]]] = {t: [] for t in tasks}
    for _ in range(repeats):
        for t, problem in problems.items():
            found[t].append(seconds(problem, method, at))
    medians = {t: statistics.median(s for s, _ in found[t]) for t in tasks}
    return [
        {
            "trunk": trunk,
            "method": method,
            "T": t,
            "s": medians[t],
            f"/ T = {tasks[0]}": medians[t] / medians[tasks[0]],
            "lines of HLO": len(found[t][0][1].as_text().splitlines()),
            "temporary MiB": bench_steps.cost_of(found[t][0][1]).temporary / 2**20,
            "parameters MiB": _bytes(problems[t].variables[:2]) / 2**20,
        }
        for t in tasks
    ]


def _bytes(parameters: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(parameters))


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = bench_record.parser(__doc__, ("cpu", "tiny"))
    trunks = tuple(bench_problem.KINDS)
    parser.add_argument("--trunks", nargs="+", choices=trunks, default=None)
    parser.add_argument("--tasks", nargs="+", type=int, default=None)
    parser.add_argument("--method", default="pcgrad")
    parser.add_argument("--at", default="parameters")
    parser.add_argument("--repeats", type=int, default=3)
    options = bench_record.begin(parser)
    tiny = options.preset == "tiny"
    rows = []
    for trunk in options.trunks or (("mlp",) if tiny else ("mlp", "cnn")):
        rows += measure(
            trunk,
            options.tasks or ((2, 3) if tiny else (2, 8, 40, 138)),
            method=options.method,
            at=options.at,
            repeats=1 if tiny else options.repeats,
            tiny=tiny,
        )
    bench_record.table(rows)
    bench_record.finish(options, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

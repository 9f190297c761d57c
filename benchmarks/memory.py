"""Peak memory of a step against the number of tasks and of parameters.

For each Gramian route: XLA's temporary memory of the compiled step, and what the
resident memory of the process rises by while a step runs. For the peers, which have no
compiler to ask, the second alone.

Command:

    python benchmarks/memory.py --output memory.json
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bench_peers
import bench_problem
import bench_record
import bench_steps
import jax

from mtl_jax import weighting

ROUTES = ("auto", "materialise", "layerwise", "ghost", "jacobian_free")


def rise(step: Callable[[], Any]) -> float | None:
    """MB that the resident memory rises by at most while a step runs, on Linux."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    jax.block_until_ready(step())  # compiles, and fills what stays
    jax.block_until_ready(step())
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free counts as resident otherwise
        reset.write_text("5")  # the peak begins anew
    except (OSError, AttributeError):
        return None
    before = _status("VmRSS")
    jax.block_until_ready(step())
    return max(_status("VmHWM") - before, 0) / 1e3


def measure(
    problem: bench_problem.Problem, method: str, routes: Sequence[str] = ROUTES
) -> list[dict[str, Any]]:
    """One row a route, and one a mode of a peer."""
    jacobian = 4 * problem.num_tasks * problem.num_shared / 1e6
    common = {
        "trunk": problem.name,
        "P": problem.num_shared,
        "T": problem.num_tasks,
        "Jacobian, MB": jacobian,
    }
    rows = []
    for route in routes:
        step = bench_steps.LibraryStep(problem, weighting.make(method), gramian=route)
        temporary = step.cost().temporary / 1e6
        row = {"route": route, "temporary, MB": temporary, "rise, MB": rise(step)}
        rows.append({**common, **row, "temporary / Jacobian": temporary / jacobian})
    for name, (step, _) in bench_peers.steps(problem, method).items():
        rows.append({**common, "route": name, "rise, MB": rise(step)})
    return rows


def _status(field: str) -> float:
    """KB, of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1])
    raise LookupError(field)


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = bench_record.parser(__doc__, ("cpu", "tiny"))
    trunks = tuple(bench_problem.KINDS)
    parser.add_argument("--trunks", nargs="+", choices=trunks, default=("mlp",))
    parser.add_argument("--tasks", nargs="+", type=int, default=None)
    parser.add_argument("--method", default="pcgrad")
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=ROUTES)
    options = bench_record.begin(parser)
    tiny = options.preset == "tiny"
    rows = []
    for trunk in options.trunks:
        for num_tasks in options.tasks or ((2,) if tiny else (2, 8, 40, 128)):
            problem = bench_problem.make(trunk, num_tasks, tiny=tiny)
            rows += measure(problem, options.method, options.routes)
            jax.clear_caches()
    bench_record.table(rows)
    bench_record.finish(options, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

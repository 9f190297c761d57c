"""What a training step of each method costs, as a multiple of a single-task step.

Every method with T tasks on an MLP, a CNN, ResNet-18 and a small transformer (the GPU
preset: ResNet-50 and ViT-S): time of the whole step with Adam, XLA's count of
operations and its temporary memory. Each is set beside the step of one task written
by hand in JAX, and beside the reverse-mode floor: one forward pass and T backward
passes of the trunk, measured as programs of their own.

Commands:

    python benchmarks/step_cost.py --output step_cost.json
    python benchmarks/step_cost.py --all
    python benchmarks/step_cost.py --methods pcgrad mgda --trunks cnn --tasks 40 --peers
    python benchmarks/step_cost.py --preset gpu
"""

import argparse
import sys
import time
from typing import Any

import bench_peers
import bench_problem
import bench_record
import bench_steps
import bench_timing
import jax
import jax.numpy as jnp

from mtl_jax import weighting

METHODS = tuple(weighting.METHODS)
HYPER: dict[str, dict[str, Any]] = {
    "auto_lambda": {"primary": [0]},
    "stch": {"mu": 0.1},
}
"""Hyper-parameters that have no default; those that depend on T are in `make`."""
FEW = ("equal", "mgda", "pcgrad", "upgrad", "nash_mtl", "graddrop")
PRESETS: dict[str, dict[str, Any]] = {
    "cpu": {"trunks": ("mlp", "cnn"), "tasks": (2, 8, 40), "methods": FEW},
    "gpu": {
        "trunks": ("resnet50", "vit_s"),
        "tasks": (40,),
        "methods": ("equal", "mgda", "pcgrad"),
    },
    "tiny": {"trunks": ("mlp",), "tasks": (2,), "methods": ("equal", "mgda")},
}
ALL = {
    "trunks": ("mlp", "cnn", "resnet18", "transformer"),
    "tasks": (2, 8, 40, 128),
    "methods": METHODS,
}


def make(name: str, num_tasks: int) -> Any:
    """A method with its defaults, for that number of tasks."""
    if name in ("static", "preference"):
        return weighting.make(name, weights=[1.0] * num_tasks)
    return weighting.make(name, **HYPER.get(name, {}))


def measure(
    problem: bench_problem.Problem, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """All methods on one trunk with one number of tasks, in turn with the floor."""
    single, floor = bench_steps.Bare(problem, 1), bench_steps.floor(problem)
    t, keywords = problem.num_tasks, _engine(options)
    reference = {
        "single": single,
        "floor": floor.run,
    }
    cost = single.cost()
    rows = []
    for name in options.methods:
        if options.peers and name in ("pcgrad", "mgda", "upgrad", "nash_mtl"):
            bench_peers.check(problem, name, at=options.at, **keywords)
        try:
            ours = bench_steps.LibraryStep(
                problem, make(name, t), at=options.at, **keywords
            )
            found = ours.cost()
        except (ValueError, TypeError) as error:  # a method that cannot do this
            print(f"{name}, {problem.name}, T = {t}: {error!s:.120}")
            continue
        sides = {"ours": ours, **reference}
        if options.peers:
            peers = bench_peers.steps(problem, name, at=options.at)
            sides |= {peer: step for peer, (step, _) in peers.items()}
        times = bench_timing.interleaved(
            sides, rounds=options.rounds, budget=options.budget
        )
        floor_time = times.pop("floor")
        ours_time, single_time = times.pop("ours"), times.pop("single")
        rows.append(
            {
                "trunk": problem.name,
                "T": t,
                "method": name,
                "ms": 1e3 * ours_time,
                "× single": ours_time / single_time,
                "× floor": ours_time / floor_time,
                "FLOPs × single": found.flops / cost.flops,
                "FLOPs × floor": found.flops / floor.flops,
                "temporary, MB": found.temporary / 1e6,
                "× Jacobian": found.temporary / (4 * t * problem.num_shared),
                **{f"{peer} / ours": s / ours_time for peer, s in times.items()},
            }
        )
        print(f"{problem.name}, T = {t}, {name}: done", file=sys.stderr, flush=True)
        del ours, sides
    return rows


def _engine(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the engine that were given."""
    chosen = {"gramian": options.gramian, "task_chunk": options.task_chunk}
    return {name: value for name, value in chosen.items() if value is not None}


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = bench_record.parser(__doc__)
    trunks = tuple(bench_problem.KINDS)
    parser.add_argument("--methods", nargs="+", choices=METHODS)
    parser.add_argument("--trunks", nargs="+", choices=trunks)
    parser.add_argument("--tasks", nargs="+", type=int)
    parser.add_argument("--all", action="store_true", help="hours, on one core")
    parser.add_argument("--at", default="parameters")
    parser.add_argument("--gramian", help="default: the library's")
    parser.add_argument("--task-chunk", type=int, help="default: the library's")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--peers", action="store_true", help="and theirs, where any")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds a method")
    options = bench_record.begin(parser)
    gpu, tiny = options.preset == "gpu", options.preset == "tiny"
    for name, values in (ALL if options.all else PRESETS[options.preset]).items():
        if getattr(options, name) is None:
            setattr(options, name, values)
    if tiny:
        options.rounds, options.budget = 1, 0.1
    dtype = jnp.dtype(options.dtype or ("bfloat16" if gpu else "float32"))
    rows, start = [], time.perf_counter()
    for trunk in options.trunks:
        for num_tasks in options.tasks:
            problem = bench_problem.make(
                trunk,
                num_tasks,
                tiny=tiny,
                dtype=dtype,
                batch_size=options.batch_size,
            )
            rows += measure(problem, options)
            jax.clear_caches()
    bench_record.table(rows)
    seconds = time.perf_counter() - start
    print(f"{seconds:.0f} s")
    bench_record.finish(options, rows, seconds=seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())

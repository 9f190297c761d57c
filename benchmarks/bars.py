"""The library's promises of speed, measured in one run: a line a bar, met or missed.

Whole steps with Adam, one thread each side, medians of turns; before a step is timed,
its Gramian and direction are compared with the peers'. A peer counts in its fastest
mode. The exit status is 1 where a bar is missed, or not measured for want of a peer.

Commands, ten minutes or less on two cores:

    python benchmarks/bars.py --output bars.json
    python benchmarks/bars.py --only pcgrad solvers
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import bench_peers
import bench_problem
import bench_record
import bench_steps
import bench_timing
import compile_time
import epoch
import jax
import jax.numpy as jnp
import solvers

from mtl_jax import weighting


class Bar(NamedTuple):
    """One promise and what was measured."""

    name: str
    ratio: float | None  # None: not measured
    sense: str  # "≥" or "≤"
    bar: float

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        if self.ratio is None:
            return False
        return self.ratio >= self.bar if self.sense == "≥" else self.ratio <= self.bar

    def __str__(self) -> str:
        if self.ratio is None:
            return f"{self.name}: not measured, bar {self.sense} {self.bar:g}"
        ratio = bench_record.text(self.ratio)
        verdict = "met" if self.met else "missed"
        return f"{self.name}: {ratio}, bar {self.sense} {self.bar:g}, {verdict}"


class Size(NamedTuple):
    """How large the problems are."""

    tiny: bool
    tasks: int
    many_tasks: int
    rounds: int
    budget: float  # seconds a comparison


Times = dict[str, float]


def steps(
    trunk: str, method: str, size: Size, at: str = "parameters"
) -> tuple[Times, bench_problem.Problem, bench_steps.LibraryStep]:
    """Seconds a step of the library, the floor, a single task and the peers."""
    problem = bench_problem.make(trunk, size.tasks, tiny=size.tiny)
    bench_peers.check(problem, method, at=at)
    ours = bench_steps.LibraryStep(problem, weighting.make(method), at=at)
    floor = bench_steps.floor(problem)
    sides: dict[str, Callable[[], Any]] = {
        "ours": ours,
        "single": bench_steps.Bare(problem, 1),
        "floor": floor.run,
    }
    peers = bench_peers.steps(problem, method, at=at)
    sides |= {name: step for name, (step, _) in peers.items()}
    times = bench_timing.interleaved(sides, rounds=size.rounds, budget=size.budget)
    listed = ", ".join(f"{name} {1e3 * s:.2f}" for name, s in times.items())
    print(f"  ms a step: {listed}", flush=True)
    return times, problem, ours


def against(times: Times, peer: str) -> float | None:
    """How many times as long the fastest mode of a peer takes."""
    found = [seconds for name, seconds in times.items() if name.startswith(peer)]
    return min(found) / times["ours"] if found else None


def pcgrad(size: Size) -> Iterator[Bar]:
    """PCGrad on the MLP."""
    times, problem, ours = steps("mlp", "pcgrad", size)
    kept = bench_steps.LibraryStep(
        problem, weighting.make("pcgrad"), gramian="materialise"
    )
    memory, bytes_kept = ours.cost().temporary, kept.cost().temporary
    jacobian = 4 * problem.num_tasks * problem.num_shared
    listed = ", ".join(f"{b / 1e6:.1f}" for b in (memory, bytes_kept, jacobian))
    print(f"  MB, of the step, of one that keeps the Jacobian, of that alone: {listed}")
    what = f"PCGrad, {size.tasks} tasks, MLP"
    yield Bar(f"{what}, against LibMTL", against(times, "LibMTL"), "≥", 25)
    yield Bar(f"{what}, against TorchJD", against(times, "TorchJD"), "≥", 6)
    yield Bar(f"{what}, of the floor", times["ours"] / times["floor"], "≤", 0.5)
    what = f"{what}, memory of a step that keeps the Jacobian"
    yield Bar(what, memory / bytes_kept, "≤", 0.25)


def upgrad(size: Size) -> Iterator[Bar]:
    """UPGrad on the MLP."""
    times, *_ = steps("mlp", "upgrad", size)
    what = f"UPGrad, {size.tasks} tasks, MLP, against TorchJD"
    yield Bar(what, against(times, "TorchJD"), "≥", 6)


def nash_mtl(size: Size) -> Iterator[Bar]:
    """Nash-MTL on the MLP."""
    times, *_ = steps("mlp", "nash_mtl", size)
    what = f"Nash-MTL, {size.tasks} tasks, MLP, against TorchJD"
    yield Bar(what, against(times, "TorchJD"), "≥", 10)


def representation(size: Size) -> Iterator[Bar]:
    """MGDA at the representation of the CNN."""
    times, *_ = steps("cnn", "mgda", size, at="representation")
    what = f"MGDA at the representation, {size.tasks} tasks, CNN"
    single = times["ours"] / times["single"]
    yield Bar(f"{what}, of a single-task step", single, "≤", 1.3)
    yield Bar(f"{what}, against LibMTL", against(times, "LibMTL"), "≥", 6)


def cnn(size: Size) -> Iterator[Bar]:
    """PCGrad, exact, on the CNN."""
    times, *_ = steps("cnn", "pcgrad", size)
    what = f"PCGrad, {size.tasks} tasks, CNN"
    yield Bar(f"{what}, against LibMTL", against(times, "LibMTL"), "≥", 1.3)
    yield Bar(f"{what}, against TorchJD", against(times, "TorchJD"), "≥", 0.9)


def solvers_alone(size: Size) -> Iterator[Bar]:
    """The solvers against the faster peer."""
    bars = {"nash_mtl": 1000, "mgda": 50, "cagrad": 20, "upgrad": 5}
    for name, bar in bars.items():
        row = solvers.measure(
            name, size.tasks, rounds=size.rounds, budget=size.budget / 2
        )
        print("  " + ", ".join(f"{k} {bench_record.text(v)}" for k, v in row.items()))
        what = f"solver of {name}, T = {size.tasks}, against the faster peer"
        yield Bar(what, row["faster peer / ours"], "≥", bar)


def overhead(size: Size) -> Iterator[Bar]:
    """`equal` by the library and by hand."""
    for tasks in sorted({2, size.tasks}):
        problem = bench_problem.make("mlp", tasks, tiny=size.tiny)
        bare, calls = bench_steps.Bare(problem, tasks), 1 if size.tiny else 64
        many = bench_steps.LibraryStep(
            problem, weighting.make("equal"), steps_per_call=calls
        )
        if calls > 1:
            many.batch = jax.tree.map(lambda a, k=calls: jnp.stack([a] * k), many.batch)

        def by_hand(bare: Any = bare, calls: int = calls) -> Any:
            for _ in range(calls):
                out = bare()
            return out

        sides = {
            "ours": many,
            "bare": by_hand,
            "step by step": bench_steps.LibraryStep(problem, weighting.make("equal")),
        }
        rounds = 4 * size.rounds
        times = bench_timing.interleaved(sides, rounds=rounds, budget=size.budget)
        times["step by step"] *= calls
        listed = {name: 1e3 * s / calls for name, s in times.items()}
        print(f"  ms a step: {', '.join(f'{n} {s:.2f}' for n, s in listed.items())}")
        what = f"`equal`, {tasks} tasks, MLP, {calls} steps a call, of bare steps"
        yield Bar(what, times["ours"] / times["bare"], "≤", 1.05)


def compiling(size: Size) -> Iterator[Bar]:
    """Compile time, many tasks against two."""
    tasks = (2, size.many_tasks)
    first, last = compile_time.measure(
        "mlp", tasks, tiny=size.tiny, repeats=1 if size.tiny else 3
    )
    print(f"  s: {first['s']:.2f} and {last['s']:.2f}")
    what = f"compile time of PCGrad, MLP, T = {tasks[1]} of T = 2"
    yield Bar(what, last["s"] / first["s"], "≤", 1.5)


def mnist(size: Size) -> Iterator[Bar]:
    """An epoch of the seed job."""
    seconds = epoch.measure(1, 256) if size.tiny else epoch.measure(5)
    listed = ", ".join(f"{name} {s:.3f}" for name, s in seconds.items())
    print(f"  s an epoch: {listed}")
    ours = seconds["ours"]
    for name, bar in {"tutorial": 2.5, "tuned PyTorch": 1.4}.items():
        ratio = seconds[name] / ours if name in seconds else None
        yield Bar(f"MNIST epoch, against {name}", ratio, "≥", bar)
    yield Bar("MNIST epoch, of a bare JAX loop", ours / seconds["bare JAX"], "≤", 1.05)


GROUPS: dict[str, Callable[[Size], Iterator[Bar]]] = {
    "pcgrad": pcgrad,
    "upgrad": upgrad,
    "nash_mtl": nash_mtl,
    "representation": representation,
    "cnn": cnn,
    "solvers": solvers_alone,
    "equal": overhead,
    "compile": compiling,
    "mnist": mnist,
}


def main() -> int:
    """Measure all groups or some; 1 where a bar is not met."""
    parser = bench_record.parser(__doc__, ("cpu", "tiny"))
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=tuple(GROUPS))
    options = bench_record.begin(parser)
    size = Size(False, 40, 138, 5, 40.0)
    if options.preset == "tiny":
        size = Size(True, 2, 3, 1, 0.1)
    start, found = time.perf_counter(), []
    for name in options.only:
        print(f"{name}, after {time.perf_counter() - start:.0f} s", flush=True)
        for bar in GROUPS[name](size):
            print(bar, flush=True)
            found.append(bar)
        jax.clear_caches()
    print(f"\n{time.perf_counter() - start:.0f} s")
    print(*found, sep="\n")
    rows = [{**bar._asdict(), "met": bar.met} for bar in found]
    bench_record.finish(options, rows, seconds=time.perf_counter() - start)
    return 0 if all(bar.met for bar in found) else 1


if __name__ == "__main__":
    sys.exit(main())

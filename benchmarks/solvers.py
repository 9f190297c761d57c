"""Time and error of the solvers alone, against the peers' and float64 references.

Several random Gramians take turns, as in training; on one alone a warm start would
find its own answer. The error is the distance of the direction, scaled to length 1,
from the reference's. The peers run with the settings they come with.

Command:

    python benchmarks/solvers.py --output solvers.json
"""

import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import bench_peers
import bench_record
import bench_timing
import jax
import jax.numpy as jnp
import numpy as np
import solver_reference

from mtl_jax import weighting

HYPER = {"fairgrad": {"alpha": 2.0}, "pcgrad": {"order": "ascending"}}
PATIENT = "TorchJD 10⁴ steps"
NAMES = tuple(solver_reference.DIRECTIONS)


def jacobians(num_tasks: int, count: int, rank: int | None = None) -> list[np.ndarray]:
    """Random `[T, T]` float32 square roots of Gramians; the norms differ by factors.

    Args:
        num_tasks: T.
        count: how many.
        rank: of the Gramians; default: T, of gradients of 2 T parameters.
    """
    found = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        rows = random.normal(size=(num_tasks, rank or 2 * num_tasks))
        if rank is not None:  # dependent, but with a direction that all agree to
            rows[:, 0] = np.abs(rows[:, 0]) + 1
        rows *= np.exp(0.5 * random.normal(size=(num_tasks, 1)))
        values, vectors = np.linalg.eigh(rows @ rows.T)
        values = np.where(values > 1e-9 * values[-1], values, 0)
        found.append((vectors * np.sqrt(values)).astype(np.float32))
    return found


def measure(
    name: str,
    num_tasks: int,
    *,
    rank: int | None = None,
    rounds: int = 5,
    budget: float = 10.0,
) -> dict[str, Any]:
    """One row: microseconds and errors of the library and of the peers.

    Args:
        name: of the method.
        num_tasks: T.
        rank: of the Gramians; default: full.
        rounds: turns of each side.
        budget: seconds.
    """
    roots = jacobians(num_tasks, 5, rank)
    sides = {"ours": _ours(name, num_tasks, roots), **_peers(name, roots)}
    errors = dict.fromkeys(sides, 0.0)
    for root in roots:  # each side begins with the first one
        gramian = np.asarray(root, float) @ np.asarray(root, float).T
        expected = solver_reference.DIRECTIONS[name](gramian)
        with bench_peers.ascending():
            for side in list(sides):
                try:
                    found = np.asarray(sides[side]())
                except Exception as error:  # of the peer: say so, and go on without
                    print(f"{name}, T = {num_tasks}: {side} fails: {error!r:.100}")
                    del sides[side], errors[side]
                    continue
                apart = solver_reference.apart(gramian, found, expected)
                errors[side] = max(errors[side], apart)
    times = bench_timing.interleaved(sides, rounds=rounds, budget=budget)
    row: dict[str, Any] = {"method": name, "T": num_tasks, "rank": rank or num_tasks}
    row |= {f"{side}, µs": 1e6 * seconds for side, seconds in times.items()}
    others = [times[side] for side in times if side not in ("ours", PATIENT)]
    row["faster peer / ours"] = min(others) / times["ours"] if others else None
    return row | {f"{side}, error": error for side, error in errors.items()}


def _ours(name: str, num_tasks: int, roots: Sequence[np.ndarray]) -> Any:
    method = weighting.make(name, **HYPER.get(name, {}))
    state, key = method.init(num_tasks), jax.random.key(0)
    update = jax.jit(lambda gramian: method.update(gramian, state, key=key)[0])
    doubles = [np.asarray(root, float) for root in roots]
    return _in_turn([_bound(update, jnp.float32(d @ d.T)) for d in doubles])


def _peers(name: str, roots: Sequence[np.ndarray]) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    if not bench_peers.torch_is_here():
        return found
    import torch

    torch.set_num_threads(1)
    rows = [torch.tensor(root) for root in roots]
    if bench_peers.torchjd_is_here():
        import bench_torchjd

        solve = bench_torchjd.make_solver(name, len(rows[0]))
        found["TorchJD"] = _in_turn([solve(row) for row in rows])
        if name == "mgda":  # its 100 steps of Frank-Wolfe end far from the answer
            solve = bench_torchjd.patient_mgda()
            found[PATIENT] = _in_turn([solve(row) for row in rows])
    if bench_peers.libmtl_is_here():
        import bench_libmtl

        if name in bench_libmtl.CLASSES:
            makes = [bench_libmtl.make_solver(name, row) for row in rows]
            found["LibMTL"] = _in_turn(makes)
    return found


def _bound(function: Callable[[Any], Any], value: Any) -> Callable[[], Any]:
    return lambda: function(value)


def _in_turn(functions: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """A function that calls them one after the other, for ever."""
    again = itertools.cycle(functions)
    return lambda: next(again)()


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = bench_record.parser(__doc__, ("cpu", "tiny"))
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--tasks", nargs="+", type=int, default=None)
    options = bench_record.begin(parser)
    tiny = options.preset == "tiny"
    rows = []
    for num_tasks in options.tasks or ((2,) if tiny else (2, 8, 40, 128)):
        for name in options.methods:
            dependent = num_tasks >= 8 and name != "imtl_g"  # which has no answer then
            for rank in (None, num_tasks // 2) if dependent else (None,):
                rounds, budget = (1, 0.1) if tiny else (5, 10.0)
                row = measure(name, num_tasks, rank=rank, rounds=rounds, budget=budget)
                rows.append(row)
                print(f"{name}, T = {num_tasks}: done", file=sys.stderr, flush=True)
    bench_record.table(rows)
    bench_record.finish(options, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

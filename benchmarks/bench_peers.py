"""The peers' steps on a problem, and whether they find what the library finds."""

import importlib.util
from collections.abc import Callable
from typing import Any

import bench_problem
import bench_steps
import numpy as np

from mtl_jax import weighting

_said: set[str] = set()


def torch_is_here() -> bool:
    """Whether PyTorch is installed; says once where it is not."""
    return _here("torch", "PyTorch is not installed: pip install 'mtl-jax[peers]'")


def libmtl_is_here() -> bool:
    """Whether LibMTL and PyTorch are installed."""
    why = "LibMTL is not installed: pip install --no-deps LibMTL==1.1.5"
    return torch_is_here() and _here("LibMTL", why)


def torchjd_is_here() -> bool:
    """Whether TorchJD and PyTorch are installed."""
    why = "TorchJD is not installed: pip install 'mtl-jax[peers]'"
    return torch_is_here() and _here("torchjd", why)


def steps(
    problem: bench_problem.Problem,
    method: str,
    *,
    at: str = "parameters",
    learn: bool = True,
) -> dict[str, tuple[Callable[[], Any], Any]]:
    """The peers' steps of a method, each with the trunk that it trains.

    Args:
        problem: the problem; the peers start with its weights.
        method: name, as here.
        at: "representation" for the peers that can.
        learn: False: the gradients alone.

    Returns:
        `{"LibMTL": …, "TorchJD autogram": …, …}` of those that are installed and have
        the method.
    """
    found: dict[str, tuple[Callable[[], Any], Any]] = {}
    if not torch_is_here():
        return found
    import bench_torch_trunks

    if problem.name not in bench_torch_trunks.TRUNKS:
        return found
    start = bench_torch_trunks.to_torch(problem)
    if libmtl_is_here():
        import bench_libmtl

        if method in bench_libmtl.CLASSES:
            own = start.fresh()
            step = bench_libmtl.make_step(method, own, at, learn)
            found["LibMTL"] = step, own.trunk
    if torchjd_is_here() and at == "parameters":
        import bench_torchjd

        known = method in bench_torchjd.METHODS
        for mode in bench_torchjd.modes(method) if known else ():
            own = start.fresh()
            step = bench_torchjd.make_step(method, own, mode, learn)
            found[f"TorchJD {mode}"] = step, own.trunk
    return found


def check(
    problem: bench_problem.Problem,
    method: str,
    *,
    at: str = "parameters",
    **options: Any,
) -> None:
    """Print how far the library's Gramian and direction are from the peers'.

    Same weights, same batch. The Gramian is compared with that of plain PyTorch
    gradients, the direction, scaled to length 1, with each peer's. Random orders are
    ascending for the while.

    Raises:
        SystemExit: another Gramian, or for pcgrad, which no solver makes inexact,
            another direction.
    """
    if not torch_is_here():
        return
    import bench_torch_trunks

    if problem.name not in bench_torch_trunks.TRUNKS:
        return
    order = {"order": "ascending"} if method == "pcgrad" else {}
    made = weighting.make(method, **order)
    gramian, direction = bench_steps.gramian_and_direction(
        problem, made, at=at, **options
    )
    start = bench_torch_trunks.to_torch(problem)
    if at == "parameters":
        expected = bench_torch_trunks.gramian(start)
        error = float(np.abs(gramian - expected).max() / np.abs(expected).max())
        print(f"  {method}, {problem.name}: Gramian differs by {error:.1e} (relative)")
        if not error < 1e-4:
            raise SystemExit("this is not the Gramian of the PyTorch model: stop")
    ours = bench_torch_trunks.flat(start.trunk, direction["trunk"])
    for name, (step, trunk) in steps(problem, method, at=at, learn=False).items():
        with ascending():
            step()
        theirs = np.concatenate(
            [np.asarray(p.grad, float).ravel() for p in trunk.parameters()]
        )
        apart = float(np.linalg.norm(_unit(ours) - _unit(theirs)))
        print(f"  {method}, {problem.name}: direction of {name} differs by {apart:.1e}")
        if method == "pcgrad" and not apart < 1e-3:
            raise SystemExit(f"{name} finds another direction: stop")


class ascending:
    """Within it, the peers shuffle nothing."""

    def __enter__(self) -> None:
        self.open: list[Any] = []
        if libmtl_is_here():
            import bench_libmtl

            self.open.append(bench_libmtl.ascending())
        if torchjd_is_here():
            import bench_torchjd

            self.open.append(bench_torchjd.ascending())
        for context in self.open:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in self.open:
            context.__exit__(*error)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-300)


def _here(package: str, why: str) -> bool:
    if importlib.util.find_spec(package) is not None:
        return True
    if why not in _said:
        print(f"skipped: {why}", flush=True)
        _said.add(why)
    return False

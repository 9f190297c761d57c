"""TorchJD's steps: `mtl_backward` in its chunkings, and the autogram engine."""

from collections.abc import Callable
from typing import Any

import torch
from bench_torch_trunks import TorchProblem, binary_losses
from torch.nn import functional

FAIRGRAD_ALPHA = 2.0
CHUNKS = (None, 1, 8)
METHODS = (
    *("mgda", "pcgrad", "cagrad", "fairgrad", "upgrad", "dualproj"),
    *("imtl_g", "aligned_mtl", "nash_mtl"),
)


def weighting(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """From a Gramian to weights."""
    from torchjd import aggregation as a

    return {
        "mgda": a.MGDAWeighting,
        "pcgrad": a.PCGradWeighting,
        "cagrad": lambda: a.CAGradWeighting(c=0.5),
        "fairgrad": lambda: a.FairGradWeighting(alpha=FAIRGRAD_ALPHA),
        "upgrad": a.UPGradWeighting,
        "dualproj": a.DualProjWeighting,
        "imtl_g": a.IMTLGWeighting,
        "aligned_mtl": a.AlignedMTLWeighting,
    }[name]()


def aggregator(name: str, num_tasks: int) -> Any:
    """From a Jacobian to a direction."""
    from torchjd import aggregation as a

    return {
        "mgda": a.MGDA,
        "pcgrad": a.PCGrad,
        "cagrad": lambda: a.CAGrad(c=0.5),
        "fairgrad": lambda: a.FairGrad(alpha=FAIRGRAD_ALPHA),
        "upgrad": a.UPGrad,
        "dualproj": a.DualProj,
        "imtl_g": a.IMTLG,
        "aligned_mtl": a.AlignedMTL,
        "nash_mtl": lambda: a.NashMTL(n_tasks=num_tasks),
    }[name]()


def make_solver(
    name: str, num_tasks: int
) -> Callable[[torch.Tensor], Callable[[], torch.Tensor]]:
    """From a Jacobian to a function that finds its weights, by one solver for all.

    NashMTL takes the Jacobian, the others a Gramian, which is made before.
    """
    if name == "nash_mtl":
        bargain = aggregator(name, num_tasks).weighting
        return lambda jacobian: lambda: bargain(jacobian)
    return _on_gramian(weighting(name))


def patient_mgda() -> Callable[[torch.Tensor], Callable[[], torch.Tensor]]:
    """The solver of MGDA with a hundred times as many steps as it comes with."""
    from torchjd import aggregation

    return _on_gramian(aggregation.MGDAWeighting(epsilon=1e-9, max_iters=10_000))


def _on_gramian(
    find: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[[torch.Tensor], Callable[[], torch.Tensor]]:
    def of(jacobian: torch.Tensor) -> Callable[[], torch.Tensor]:
        gramian = jacobian @ jacobian.T
        return lambda: find(gramian)

    return of


def modes(name: str) -> list[str]:
    """The ways in which TorchJD can run a method."""
    ways = [f"autojac chunk={chunk}" for chunk in CHUNKS]
    return ways if name == "nash_mtl" else ["autogram", *ways]


def make_step(
    name: str, problem: TorchProblem, mode: str, learn: bool = True
) -> Callable[[], Any]:
    """A training step in one of the `modes`; without `learn`, the gradients alone."""
    parameters = [*problem.trunk.parameters(), *problem.head_parameters(mode)]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    make = _autogram if mode == "autogram" else _autojac
    gradients = make(name, problem, mode)

    def step() -> None:
        optimizer.zero_grad()
        gradients()
        if learn:
            optimizer.step()

    return step


def _autojac(name: str, problem: TorchProblem, mode: str) -> Callable[[], None]:
    """The whole Jacobian, so many rows at once."""
    from torchjd.autojac import jac_to_grad, mtl_backward

    find = aggregator(name, len(problem.heads))
    chunk = {f"autojac chunk={c}": c for c in CHUNKS}[mode]
    shared = list(problem.trunk.parameters())

    def gradients() -> None:
        z = problem.trunk(problem.inputs)
        # Each with a graph of its own, which is freed task by task.
        losses = [
            functional.binary_cross_entropy_with_logits(head(z)[:, 0], labels)
            for head, labels in zip(problem.heads, problem.labels, strict=True)
        ]
        mtl_backward(
            losses,
            features=z,
            tasks_params=[list(head.parameters()) for head in problem.heads],
            shared_params=shared,
            parallel_chunk_size=chunk,
        )
        jac_to_grad(shared, find, optimize_gramian_computation=name != "nash_mtl")

    return gradients


def _autogram(name: str, problem: TorchProblem, mode: str) -> Callable[[], None]:
    """The Gramian layer by layer, then one weighted backward pass; one matrix of heads.

    The weights count for the heads too, as in TorchJD's own examples.
    """
    from torchjd.autogram import Engine

    del mode
    engine, find = Engine(problem.trunk, batch_dim=None), weighting(name)

    def gradients() -> None:
        outputs = problem.all_heads(problem.trunk(problem.inputs))
        losses = binary_losses(list(outputs.T[..., None]), problem.labels)
        losses.backward(find(engine.compute_gramian(losses)))

    return gradients


class ascending:
    """Within it, `torch.randperm` gives the order as it is."""

    def __enter__(self) -> None:
        self.randperm = torch.randperm
        torch.randperm = torch.arange  # type: ignore[assignment]

    def __exit__(self, *_: Any) -> None:
        torch.randperm = self.randperm

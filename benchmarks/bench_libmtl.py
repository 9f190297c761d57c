"""LibMTL's methods, from its `weighting` package alone.

`import LibMTL` loads torchvision, for its ResNets; the package is found without being
run. `pip install --no-deps LibMTL==1.1.5` is enough.
"""

import importlib
import importlib.util
import random
import sys
from collections.abc import Callable
from typing import Any

import torch
from bench_torch_trunks import TorchProblem, binary_losses

CLASSES = {"mgda": "MGDA", "pcgrad": "PCGrad", "imtl_g": "IMTL"}
"""Name here to name there. (CAGrad of 1.1.5 is written for three tasks.)"""
SETTINGS = {"mgda_gn": "none", "calpha": 0.5, "rescale": 0}


def weighting(name: str) -> type:
    """The class of a method."""
    if "LibMTL" not in sys.modules:
        spec = importlib.util.find_spec("LibMTL")
        assert spec is not None
        sys.modules["LibMTL"] = importlib.util.module_from_spec(spec)  # not run
    return getattr(importlib.import_module("LibMTL.weighting"), CLASSES[name])


def network(name: str, problem: TorchProblem, at: str = "parameters") -> Any:
    """A network that weighs its losses by a method, as LibMTL's trainer builds it.

    Its architecture class copies the representation into one entry a task, so that
    with gradients at the representation the trunk is traversed once a task; here it is
    one tensor, and the trunk is traversed once, as in LibMTL's later versions.
    """

    class Network(weighting(name)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.heads = problem.trunk, problem.heads
            self.task_num = len(problem.heads)
            self.task_name = [str(t) for t in range(self.task_num)]
            self.rep_grad = at == "representation"
            self.rep: Any = None
            self.rep_tasks: dict[str, torch.Tensor] = {}
            self.device = torch.device("cpu")
            self.init_param()

        def get_share_params(self) -> Any:
            return self.encoder.parameters()

        def zero_grad_share_params(self) -> None:
            self.encoder.zero_grad(set_to_none=False)

        def losses(self) -> torch.Tensor:
            z = self.encoder(problem.inputs)
            zs = [z] * self.task_num
            if self.rep_grad:
                self.rep = z
                zs = [z.detach().clone().requires_grad_() for _ in self.task_name]
                self.rep_tasks = dict(zip(self.task_name, zs, strict=True))
            outputs = [head(z) for head, z in zip(self.heads, zs, strict=True)]
            return binary_losses(outputs, problem.labels)

    return Network()


def make_step(
    name: str, problem: TorchProblem, at: str = "parameters", learn: bool = True
) -> Callable[[], Any]:
    """A training step; without `learn`, the gradients alone are made."""
    net = network(name, problem, at)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        net.backward(list(net.losses()), **SETTINGS)
        if learn:
            optimizer.step()

    return step


def make_solver(name: str, jacobian: torch.Tensor) -> Callable[[], Any]:
    """The algebra of a method on a Jacobian that is there."""

    class Solver(weighting(name)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.task_num, self.rep_grad = len(jacobian), False
            self.device = torch.device("cpu")
            self.init_param()

        def _compute_grad_dim(self) -> None:
            self.grad_dim = jacobian.shape[1]

        def _compute_grad(self, *_: Any, **__: Any) -> torch.Tensor:
            return jacobian

        def _reset_grad(self, new: torch.Tensor) -> None:
            self.found = new

        def find(self) -> Any:
            if name == "mgda":
                return self._find_min_norm_element(jacobian)
            self.backward(torch.zeros(self.task_num), **SETTINGS)
            return torch.linalg.lstsq(jacobian.T, self.found[:, None]).solution[:, 0]

    return Solver().find


class ascending:
    """Within it, `random.shuffle` leaves the order as it is."""

    def __enter__(self) -> None:
        self.shuffle = random.shuffle
        random.shuffle = lambda rows: None  # type: ignore[assignment]

    def __exit__(self, *_: Any) -> None:
        random.shuffle = self.shuffle

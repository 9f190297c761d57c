"""The MLP, the CNN and the transformer in PyTorch, with the JAX model's own weights.

Modules are called as Linen calls them, so that one function copies all weights.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from bench_problem import Problem, head_weights
from torch import nn
from torch.nn import functional


class MLP(nn.Module):
    """Dense layers with relu."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        for n in range(len(params)):
            self.add_module(f"Dense_{n}", _dense(params[f"Dense_{n}"]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, D] -> [B, 256]`."""
        for layer in self.children():
            x = functional.relu(layer(x))
        return x


class CNN(nn.Module):
    """Convolutions of stride 2, then a dense layer; images are `[B, C, H, W]`."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        for n in range(len(params) - 1):
            kernel = params[f"Conv_{n}"]["kernel"]
            layer = nn.Conv2d(*kernel.shape[2:], 3, stride=2, padding=1)
            self.add_module(f"Conv_{n}", layer)
        self.Dense_0 = _dense(params["Dense_0"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W] -> [B, 256]`."""
        *convolutions, dense = self.children()
        for layer in convolutions:
            x = functional.relu(layer(x))
        return functional.relu(dense(x.permute(0, 2, 3, 1).flatten(1)))


class _Attention(nn.Module):
    def __init__(self, params: Mapping[str, Any], heads: int) -> None:
        super().__init__()
        self.count = heads
        for name in ("query", "key", "value", "out"):
            self.add_module(name, _dense(params[name]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, length, width = x.shape
        q, k, v = (
            layer(x).reshape(b, length, self.count, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        x = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, length, width)
        return self.out(x)


class _Layer(nn.Module):
    def __init__(self, params: Mapping[str, Any], heads: int) -> None:
        super().__init__()
        width = params["narrow"]["bias"].shape[0]
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(params["attention"], heads)
        self.wide, self.narrow = _dense(params["wide"]), _dense(params["narrow"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_attention(x))
        wide = functional.gelu(self.wide(self.norm_mlp(x)), approximate="tanh")
        return x + self.narrow(wide)


class _Position(nn.Module):
    """A module of its own, as autogram asks for."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(tuple(shape)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.position


class Transformer(nn.Module):
    """A transformer over tokens."""

    def __init__(self, params: Mapping[str, Any], heads: int = 4) -> None:
        super().__init__()
        vocabulary, width = params["Embed_0"]["embedding"].shape
        self.Embed_0 = nn.Embedding(vocabulary, width)
        self.position = _Position(params["position"].shape)
        self.layers = sum(name.startswith("layer_") for name in params)
        for n in range(self.layers):
            self.add_module(f"layer_{n}", _Layer(params[f"layer_{n}"], heads))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[B, L] -> [B, D]`."""
        x = self.position(self.Embed_0(x))
        for n in range(self.layers):
            x = self.get_submodule(f"layer_{n}")(x)
        return self.norm(x).mean(1)


TRUNKS = {"mlp": MLP, "cnn": CNN, "transformer": Transformer}


@dataclass
class TorchProblem:
    """A problem in PyTorch; each maker of a step takes a copy of its own."""

    trunk: nn.Module
    heads: nn.ModuleList  # T of `nn.Linear(D, 1)`
    all_heads: nn.Linear  # the same as one matrix
    inputs: torch.Tensor
    labels: torch.Tensor  # [T, B]

    def fresh(self) -> "TorchProblem":
        """A copy that shares nothing."""
        return copy.deepcopy(self)

    def head_parameters(self, mode: str) -> list[nn.Parameter]:
        """Those that a mode of TorchJD trains."""
        heads = self.all_heads if mode == "autogram" else self.heads
        return list(heads.parameters())


def to_torch(problem: Problem) -> TorchProblem:
    """The same trunk, heads, weights and batch."""
    torch.set_num_threads(1)
    params = problem.variables.shared["trunk"]
    trunk = TRUNKS[problem.name](params)
    _copy(trunk, params)
    kernel, bias = head_weights(problem)
    together = nn.Linear(*kernel.shape)
    _set(together.weight, kernel.T)
    _set(together.bias, bias)
    heads = nn.ModuleList(nn.Linear(len(kernel), 1) for _ in bias)
    for t, head in enumerate(heads):
        _set(head.weight, kernel[:, t : t + 1].T)
        _set(head.bias, bias[t : t + 1])
    inputs = torch.from_numpy(np.array(problem.batch["inputs"]))
    if inputs.ndim == 4:
        inputs = inputs.permute(0, 3, 1, 2).contiguous()
    labels = np.stack([np.array(rows) for rows in problem.batch["labels"].values()])
    return TorchProblem(trunk, heads, together, inputs, torch.from_numpy(labels))


def binary_losses(
    outputs: Sequence[torch.Tensor], labels: torch.Tensor
) -> torch.Tensor:
    """`[T]` from T outputs `[B, 1]` and labels `[T, B]`."""
    logits = torch.stack(list(outputs))[..., 0]
    loss = functional.binary_cross_entropy_with_logits
    return loss(logits, labels, reduction="none").mean(1)


def gramian(problem: TorchProblem) -> np.ndarray:
    """`[T, T]` float64, from plain PyTorch gradients, one task after another."""
    z = problem.trunk(problem.inputs)
    losses = binary_losses([head(z) for head in problem.heads], problem.labels)
    shared = list(problem.trunk.parameters())
    rows = []
    for loss in losses:
        grads = torch.autograd.grad(loss, shared, retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in grads]).double())
    jacobian = torch.stack(rows)
    return (jacobian @ jacobian.T).numpy()


def flat(trunk: nn.Module, params: Mapping[str, Any]) -> np.ndarray:
    """JAX arrays like the trunk's parameters as one vector, in PyTorch's order."""
    like = copy.deepcopy(trunk)
    _copy(like, params)
    rows = [np.array(p.detach(), float).ravel() for p in like.parameters()]
    return np.concatenate(rows)


def _dense(params: Mapping[str, Any]) -> nn.Linear:
    return nn.Linear(*params["kernel"].shape)


_NAMES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def _copy(module: nn.Module, params: Mapping[str, Any]) -> None:
    for name, value in params.items():
        if isinstance(value, Mapping):
            _copy(module.get_submodule(name), value)
            continue
        array = np.asarray(value)
        if name == "kernel":
            array = array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)
        if name == "position":
            module = module.get_submodule(name)
        _set(module.get_parameter(_NAMES.get(name, name)), array)


def _set(parameter: nn.Parameter, value: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(value)))

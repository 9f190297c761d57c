"""A trunk, T yes-or-no tasks on its representation, and one batch."""

from typing import Any, NamedTuple

import bench_trunks
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import models, objective, tasks
from mtl_jax.typing import Batch


class Kind(NamedTuple):
    """A trunk and what it is fed with."""

    trunk: type[nn.Module]
    arguments: dict[str, Any]
    shape: tuple[int, ...]  # of one example
    batch_size: int
    vocabulary: int = 0  # the inputs are tokens


KINDS = {
    "mlp": Kind(bench_trunks.MLP, {}, (768,), 64),
    "cnn": Kind(bench_trunks.CNN, {}, (64, 64, 3), 32),
    "resnet18": Kind(bench_trunks.ResNet, {}, (32, 32, 3), 16),
    "transformer": Kind(bench_trunks.Transformer, {}, (32,), 16, 1000),
    "resnet50": Kind(
        bench_trunks.ResNet,
        {"blocks": (3, 4, 6, 3), "bottleneck": True},
        (224, 224, 3),
        256,
    ),
    "vit_s": Kind(
        bench_trunks.Transformer,
        {"layers": 12, "width": 384, "heads": 6, "patch": 16},
        (224, 224, 3),
        256,
    ),
}
"""The trunks by name, as large as the tables say."""

TINY = {
    "mlp": Kind(bench_trunks.MLP, {"features": (16, 8)}, (12,), 6),
    "cnn": Kind(bench_trunks.CNN, {"features": (4, 4), "dense": 8}, (8, 8, 3), 4),
    "resnet18": Kind(
        bench_trunks.ResNet, {"blocks": (1, 1), "width": 4}, (16, 16, 3), 4
    ),
    "transformer": Kind(
        bench_trunks.Transformer,
        {"layers": 1, "width": 8, "heads": 4, "vocabulary": 11},
        (5,),
        4,
        11,
    ),
    "resnet50": Kind(
        bench_trunks.ResNet,
        {"blocks": (1, 1), "width": 4, "bottleneck": True},
        (16, 16, 3),
        4,
    ),
    "vit_s": Kind(
        bench_trunks.Transformer,
        {"layers": 1, "width": 8, "heads": 2, "patch": 8},
        (16, 16, 3),
        4,
    ),
}
"""The same, so small that a test can run them."""


class Problem(NamedTuple):
    """One problem, the same for every step that is timed on it."""

    name: str
    trunk: nn.Module
    model: models.Model
    tasks: tuple[tasks.Task, ...]
    losses_fn: Any
    variables: models.Variables
    batch: Batch  # on the device

    @property
    def num_tasks(self) -> int:
        """T."""
        return len(self.tasks)

    @property
    def num_shared(self) -> int:
        """P, the number of shared parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.variables.shared))


def make(
    name: str,
    num_tasks: int,
    *,
    tiny: bool = False,
    dtype: Any = jnp.float32,
    batch_size: int | None = None,
) -> Problem:
    """A problem with random inputs and labels.

    Args:
        name: of the trunk.
        num_tasks: T.
        tiny: of the sizes in `TINY`.
        dtype: of the computation.
        batch_size: default: that of the kind.
    """
    kind = (TINY if tiny else KINDS)[name]
    size = kind.batch_size if batch_size is None else batch_size
    random = np.random.default_rng(0)
    if kind.vocabulary:
        inputs = random.integers(kind.vocabulary, size=(size, *kind.shape))
        inputs = inputs.astype(np.int32)
    else:
        inputs = random.normal(size=(size, *kind.shape)).astype(np.float32)
    task_list = tuple(tasks.binary(f"task_{t:03d}") for t in range(num_tasks))
    labels = {
        t.name: random.integers(2, size=size).astype(np.float32) for t in task_list
    }
    trunk = kind.trunk(**kind.arguments, dtype=dtype)
    heads = {t.name: nn.Dense(1, dtype=dtype) for t in task_list}
    model = models.from_linen(models.HardSharing(trunk, heads))
    variables = jax.jit(model.init)(jax.random.key(0), inputs[:1])
    batch = jax.device_put({"inputs": inputs, "labels": labels})
    losses_fn = objective.make_losses(model, task_list)
    return Problem(name, trunk, model, task_list, losses_fn, variables, batch)


def head_weights(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """`kernel [D, T]` and `bias [T]` of the heads, however the model stores them."""
    assert problem.model.encode is not None and problem.model.decode is not None
    trunk, heads = problem.variables.collections or ((), ())
    z, _ = jax.eval_shape(
        lambda: problem.model.encode(  # type: ignore[misc]
            problem.variables.shared, trunk, problem.batch["inputs"]
        )
    )

    def outputs(z: Any) -> np.ndarray:
        zs = dict.fromkeys([t.name for t in problem.tasks], z)
        out, _ = problem.model.decode(problem.variables.specific, heads, zs)  # type: ignore[misc]
        return np.concatenate([np.asarray(rows) for rows in out.values()], axis=1)

    width = z.shape[-1]
    bias = outputs(jnp.zeros((1, width)))[0]
    return outputs(jnp.eye(width)) - bias, bias

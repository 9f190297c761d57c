"""Experts of all tasks and experts of one: CGC, and PLE, which is CGC in layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.models import calling
from mtl_jax.models.experts import Experts, gated, side_by_side, vector
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.typing import Array, PyTree


def CGC(
    trunk: nn.Module | None,
    heads: Mapping[str, nn.Module],
    num_shared: int = 2,
    num_own: int = 2,
    expert_features: Sequence[int] = (64,),
) -> HardSharing:
    """Customized gate control (CGC): experts of one task beside those of all.

    Task k has the outputs

        y_k = t_k(Σ_i softmax(W_k x)_i S_k(x)_i),    S_k = [own experts of k, shared]

    with `x` the output of the trunk. Shared experts and trunk learn from all tasks; the
    task's own experts, its gate `W_k` and its tower `t_k` from that task alone, and are
    task-specific. The representation is the output of the shared experts, with that of
    the trunk, which gates and own experts read. Towers that are alike are stacked with
    their gates and experts. Without own experts it is MMoE.

    Args:
        trunk: module that gives a vector an example; `None`: the inputs are vectors.
        heads: task name to tower, a module `[B, D] -> outputs`.
        num_shared: shared experts.
        num_own: experts of each task.
        expert_features: widths of the layers of an expert, each followed by a
            rectifier; the last one is D.

    Returns:
        A `HardSharing` of the shared experts with a `CGCHead` a task.

    Raises:
        ValueError: when called: no experts, no layers, or inputs that are no vectors.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = CGC(None, {"a": nn.Dense(1), "b": nn.Dense(3)}, 2, 1, (16,))
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning
        Model for Personalized Recommendations, RecSys 2020.
    """
    features = tuple(expert_features)
    return HardSharing(
        Experts(trunk, num_shared, features, "CGC"),
        {
            task: CGCHead(tower, num_own, features, trunk is None)
            for task, tower in heads.items()
        },
    )


def PLE(
    trunk: nn.Module | None,
    heads: Mapping[str, nn.Module],
    num_shared: int = 2,
    num_own: int = 2,
    expert_features: Sequence[int] = (64,),
    num_layers: int = 2,
) -> HardSharing:
    """Progressive layered extraction (PLE): layers of experts, shared and of tasks.

    Layer j has shared experts `S_j` and experts `E_{k,j}` of each task, and passes on a
    stream a task and a shared one:

        x_{k,j} = Σ_i softmax(W_{k,j} x_{k,j-1})_i [E_{k,j}(x_{k,j-1}), S_j(s_{j-1})]_i
        s_j     = Σ_i softmax(V_j s_{j-1})_i [all E_{k,j}(x_{k,j-1}), S_j(s_{j-1})]_i

    from `x_{k,0} = s_0` = the output of the trunk; the last layer L has no shared gate,
    and `y_k = t_k(x_{k,L})`. With one layer it is CGC.

    The shared stream carries the experts of a task in all layers but the last to the
    losses of all tasks, so they are shared parameters. Task-specific are the experts of
    the last layer, the gates `W_{k,j}` of the last two, and the tower. Between them is
    the representation: what comes out of the shared experts of the last layer and of
    all experts of the one before it, with the streams that the gates there read. Each
    task reads streams of its own, so that towers are not stacked.

    Args:
        trunk: module that gives a vector an example; `None`: the inputs are vectors.
        heads: task name to tower, a module `[B, D] -> outputs`.
        num_shared: shared experts of a layer.
        num_own: experts of each task in a layer.
        expert_features: widths of the layers of an expert, each followed by a
            rectifier; the last one is D.
        num_layers: L, of extraction.

    Returns:
        A `HardSharing` of the layers with a `PLEHead` a task; with one layer a CGC.

    Raises:
        ValueError: fewer than one layer; when called: no experts, experts without a
            layer, or inputs that are no vectors.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = PLE(None, {"a": nn.Dense(1), "b": nn.Dense(3)}, 2, 1, (16,))
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning
        Model for Personalized Recommendations, RecSys 2020.
    """
    if num_layers < 1:
        raise ValueError(
            f"PLE was given num_layers={num_layers}; it has at least one, and with one "
            "it is CGC"
        )
    if num_layers == 1:
        return CGC(trunk, heads, num_shared, num_own, expert_features)
    features = tuple(expert_features)
    return HardSharing(
        ExtractionLayers(
            trunk, tuple(heads), num_shared, num_own, features, num_layers
        ),
        {
            task: PLEHead(
                task,
                CGCHead(tower, num_own, features),
                trunk is None and num_layers == 2,
            )
            for task, tower in heads.items()
        },
    )


class CGCHead(nn.Module):
    """Experts of one task, a gate over them and the shared ones, and the tower.

    Attributes:
        tower: module `[B, D] -> outputs`.
        num_own: experts of the task.
        features: widths of their layers.
        reads_data: what gate and own experts read are inputs of the model, which are no
            representation.
    """

    tower: nn.Module
    num_own: int
    features: Sequence[int]
    reads_data: bool = False

    @nn.compact
    def __call__(self, z: Mapping[str, Array], train: bool = False) -> Array:
        """`{"input": [B, d], "experts": [B, n, D]} -> outputs`."""
        x = jax.lax.stop_gradient(z["input"]) if self.reads_data else z["input"]
        offered = z["experts"]
        if self.num_own:
            own = side_by_side(self.num_own, self.features, x, "own")
            offered = jnp.concatenate([own, offered], axis=1)
        return calling.call(self.tower, gated(x, offered, "gate"), train)


class ExtractionLayers(nn.Module):
    """The part of PLE below its representation; see `PLE` for the fields.

    Attributes:
        trunk: gives a vector an example, or `None`.
        tasks: names of the tasks.
        num_shared: shared experts of a layer.
        num_own: experts of each task in a layer.
        features: widths of the layers of an expert.
        num_layers: at least 2, the last one included.
    """

    trunk: nn.Module | None
    tasks: Sequence[str]
    num_shared: int
    num_own: int
    features: Sequence[int]
    num_layers: int

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Any]:
        """What the heads read.

        Under "streams" `{task: [B, d]}`, under "own" `{task: [B, m, D]}` and under
        "shared" `[B, n, D]` of the last layer but one, under "last" `[B, n, D]` of the
        last one.
        """
        common = vector(self.trunk, inputs, train, "PLE")
        streams = dict.fromkeys(self.tasks, common)
        for layer in range(1, self.num_layers):
            own = {
                task: self._experts(self.num_own, x, f"own{layer}_{task}")
                for task, x in streams.items()
            }
            shared = self._experts(self.num_shared, common, f"shared{layer}")
            offered = jnp.concatenate([*own.values(), shared], axis=1)
            common = gated(common, offered, f"gate{layer}")
            if layer < self.num_layers - 1:
                streams = {
                    task: gated(
                        x,
                        jnp.concatenate([own[task], shared], axis=1),
                        f"gate{layer}_{task}",
                    )
                    for task, x in streams.items()
                }
        last = self._experts(self.num_shared, common, f"shared{self.num_layers}")
        return {"streams": streams, "own": own, "shared": shared, "last": last}

    def _experts(self, count: int, x: Array, name: str) -> Array:
        return side_by_side(count, self.features, x, name)


class PLEHead(nn.Module):
    """The gate of a task in the last layer but one, and its last layer.

    Attributes:
        task: its name.
        last: the last layer.
        reads_data: the stream is of inputs of the model, which are no representation.
    """

    task: str
    last: CGCHead
    reads_data: bool = False

    @nn.compact
    def __call__(self, z: Mapping[str, Any], train: bool = False) -> Array:
        """Outputs of what `ExtractionLayers` gives."""
        x = z["streams"][self.task]
        x = jax.lax.stop_gradient(x) if self.reads_data else x
        offered = jnp.concatenate([z["own"][self.task], z["shared"]], axis=1)
        x = gated(x, offered, "gate")
        return self.last({"input": x, "experts": z["last"]}, train)

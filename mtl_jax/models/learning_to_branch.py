"""Learning to branch: a tree of stages, in which tasks part where it pays."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.models import calling
from mtl_jax.models.base import SCHEDULE
from mtl_jax.models.columns import examples_first, side_by_side, stitched
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.stages import stages
from mtl_jax.typing import Array, PyTree

HEAD = "heads_"
"""How the parameters of a head begin, in `HardSharing`."""


def LearningToBranch(
    trunk: Any,
    heads: Mapping[str, nn.Module],
    num_nodes: Sequence[int] = (),
    temperature: float = 2.0,
    decay: float = 0.995,
    least: float = 0.2,
) -> HardSharing:
    """Learning to branch: every node of a stage chooses the node that it reads.

    Each stage of the trunk has several nodes, copies of it. Node j of a stage reads one
    node i of the stage before, and so does the head of a task of the last stage: the
    choices make a tree. In training a choice is a Gumbel-softmax sample,

        x_j = Σ_i d_{ji} y_i,    d_j = softmax((θ_j + ε_j) / τ)

    with learned logits θ, Gumbel noise ε, one sample a choice and batch, and a
    temperature τ; in evaluation it is hard, the node with the largest θ. The nodes of
    the first stage read the inputs.

    τ begins at `temperature` and is multiplied by `decay` in every step, until it is
    `least`; how many steps were taken is counted in a collection "schedule". The paper
    lowers τ too, and then trains the tree that was found anew, from its beginning:
    `learned_branches` reads it out, and a new model with so many nodes has it. The
    values of the schedule are ours. All nodes are computed, those that no task reads
    too.

    While it is soft, every loss reaches all nodes: these, and the choices between them,
    are shared; the choice of a task among the last ones and its head are its own,
    stacked where heads are alike. The representation is what the last nodes give. The
    noise is of the stream "dropout", so that each of several devices has its own.

    Args:
        trunk: module or sequence of modules; see `models.stages`.
        heads: task name to module that reads what the trunk gives.
        num_nodes: of each stage; default: as many as tasks in each.
        temperature: τ at first.
        decay: factor of τ a step, at most 1; with 1 it is fixed and nothing is counted.
        least: the smallest τ.

    Returns:
        A `HardSharing` of the `Nodes` with a `ChoosingHead` a task.

    Raises:
        ValueError: numbers out of range, or of another number of stages.

    Example:
        >>> from mtl_jax.models import MLP
        >>> net = LearningToBranch(MLP((8, 4)), {"a": nn.Dense(1), "b": nn.Dense(3)})
        >>> x = jnp.ones((2, 5))
        >>> outputs, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), x)
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Guo, Lee and Ulbricht, Learning to Branch for Multi-Task Learning, ICML 2020.
        Jang, Gu and Poole, Categorical Reparameterization with Gumbel-Softmax, ICLR
        2017.
    """
    parts = stages(trunk)
    counts = tuple(num_nodes) or (len(heads),) * len(parts)
    if len(counts) != len(parts) or min(counts) < 1:
        raise ValueError(
            f"LearningToBranch was given num_nodes={counts}; the trunk has "
            f"{len(parts)} stages. Give each of them at least one node"
        )
    if not 0 < least <= temperature or not 0 < decay <= 1:
        raise ValueError(
            "LearningToBranch has a temperature of at least `least`, which is "
            "positive, and a decay in (0, 1]; found "
            f"temperature={temperature}, least={least}, decay={decay}"
        )
    schedule = (temperature, decay, least)
    return HardSharing(
        Nodes(parts, counts, schedule),
        {task: ChoosingHead(head, schedule) for task, head in heads.items()},
    )


class Nodes(nn.Module):
    """The nodes of all stages, and their choices.

    Attributes:
        stages: of which each node has a copy.
        counts: nodes of each stage.
        schedule: of the temperature: first, decay, least.
    """

    stages: Sequence[nn.Module]
    counts: Sequence[int]
    schedule: tuple[float, float, float]

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, PyTree]:
        """`{"nodes": [B, N, ...]}`, or a dict of such where the trunk gives one."""
        x = inputs
        for place, (stage, count) in enumerate(
            zip(self.stages, self.counts, strict=True)
        ):
            if place:
                shape = (count, self.counts[place - 1])
                choice = Choice(shape, *self.schedule, name=f"choice{place:02}")
                x = stitched(choice(train), x)
            x = side_by_side(stage, count, x, train, common=not place)
        return {"nodes": examples_first(x)}


class ChoosingHead(nn.Module):
    """The choice of a task among the last nodes, and its head.

    Attributes:
        head: module that reads what the trunk gives.
        schedule: of the temperature: first, decay, least.
    """

    head: nn.Module
    schedule: tuple[float, float, float]

    @nn.compact
    def __call__(self, z: Mapping[str, PyTree], train: bool = False) -> Any:
        """`{"nodes": [B, N, ...]} -> outputs`."""
        nodes = examples_first(z["nodes"])
        shape = jax.tree.leaves(nodes)[0].shape[:1]
        weights = Choice(shape, *self.schedule, name="choice")(train)
        return calling.call(self.head, stitched(weights, nodes), train)


class Choice(nn.Module):
    """One of n, or for each row: a Gumbel-softmax sample, and hard in evaluation.

    Attributes:
        shape: `[n]` or `[m, n]`.
        temperature: at first.
        decay: factor of the temperature a step.
        least: the smallest temperature.

    Example:
        >>> variables = {"params": {"logits": jnp.array([0.5, 2.0, 1.0])}}
        >>> print(Choice((3,)).apply(variables, False))
        [0. 1. 0.]
    """

    shape: tuple[int, ...]
    temperature: float = 1.0
    decay: float = 1.0
    least: float = 0.5

    @nn.compact
    def __call__(self, train: bool = False) -> Array:
        """Weights like `shape`, whose rows have the sum 1."""
        logits = self.param("logits", nn.initializers.zeros, self.shape)
        if self.decay < 1 and (train or self.is_initializing()):
            steps = self.variable(SCHEDULE, "steps", jnp.zeros, (), jnp.int32)
        if not train:
            best = jnp.argmax(logits, axis=-1)
            return jax.nn.one_hot(best, self.shape[-1], dtype=logits.dtype)
        temperature: Array | float = self.temperature
        if self.decay < 1:
            lowered = self.temperature * self.decay**steps.value
            temperature = jnp.maximum(lowered, self.least)
            if self.is_mutable_collection(SCHEDULE):
                steps.value += 1
        noise = jax.random.gumbel(self.make_rng("dropout"), self.shape)
        return jax.nn.softmax((logits + noise) / temperature).astype(logits.dtype)


def learned_branches(shared: PyTree, specific: PyTree) -> dict[str, tuple[int, ...]]:
    """The tree that evaluation uses: the nodes of each task, from first to last stage.

    Two tasks share a stage where they have one node there, and then all before it.

    Args:
        shared: the shared parameters of a `LearningToBranch`.
        specific: its task-specific ones.

    Example:
        >>> shared = {"trunk": {"choice01": {"logits": jnp.array([[0, 1], [1, 0]])}}}
        >>> specific = {"heads_a": {"choice": {"logits": jnp.array([2, 1])}},
        ...             "heads_b": {"choice": {"logits": jnp.array([0, 1])}}}
        >>> learned_branches(shared, specific)
        {'a': (1, 0), 'b': (0, 1)}
    """
    tree = shared["trunk"]
    names = sorted((name for name in tree if name.startswith("choice")), reverse=True)
    parents = [jnp.argmax(tree[name]["logits"], axis=-1) for name in names]
    found = {}
    for name in specific:
        path = [int(jnp.argmax(specific[name]["choice"]["logits"]))]
        for parent in parents:
            path.append(int(parent[path[-1]]))
        found[name.removeprefix(HEAD)] = tuple(reversed(path))
    return found

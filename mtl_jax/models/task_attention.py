"""Attention between tasks: each reads the features of others as far as they help."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling, reading, task_graph
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.penalised import Penalised
from mtl_jax.typing import Array, PyTree

KINDS = ("global", "local", "bidirectional")


def TaskAttention(
    trunk: nn.Module,
    heads: Mapping[str, nn.Module],
    attention: Literal["global", "local", "bidirectional"] = "global",
    graph: Any = None,
    tower_features: Sequence[int] = (64,),
) -> HardSharing:
    """Towers of the tasks, and attention of each task over the towers of others.

    On the output of the trunk every task has a tower, which gives features `u_k` of
    width D, and

        y_k = h_k(u_k + Σ_j a_kj V_k u_j),    a_k = softmax_j(s_kj / √D)

    over j = k and the neighbours of k; the scaled dot products `s_kj` are

        global:         <Q_k u_k, K_k u_j>, and the neighbours are all tasks
        local:          the same, and the neighbours are those of a graph
        bidirectional:  <Q_k u_k, K_k u_j> + <Q_k u_j, K_k u_k>

    The last looks in both directions, from the reader to what is read and back, so that
    it is symmetric in the features of the two; and so are the neighbours: all tasks, or
    those of a graph whose edges count both ways. A position (a pixel, a word) attends
    to the same position of other tasks.

    A tower is shared where another task reads it, and with all its maps `Q_k, K_k, V_k`
    a task's attention is its own. So the trunk and the towers that are read are shared
    parameters, and task-specific are maps, head, and a tower that its task alone reads.
    The representation is the output of the towers that are read, with that of the trunk
    where there are others. Each task reads features of its own, so that heads are not
    stacked; the towers that are read are one tree with leaves `[n, ...]`, in the order
    of the tasks. A task without neighbours has `y_k = h_k(u_k)`.

    Args:
        trunk: module that gives `[B, ..., D]`, or parts of which all heads read one.
        heads: task name to module `[B, ..., D] -> outputs`.
        attention: "global", "local" or "bidirectional".
        graph: `{task: [the tasks that it reads]}`, or pairs of tasks that read each
            other; for "local", and "bidirectional" if not all tasks are neighbours.
        tower_features: widths of the layers of a tower, each followed by a rectifier;
            the last one is D.

    Returns:
        A `HardSharing` of trunk and towers with an `AttendingHead` a task.

    Raises:
        ValueError: another attention, a graph that is missing, or not needed, or that
            has other tasks or no neighbours, towers without a layer, one task alone,
            heads that read different parts; when called: heads that do not say which
            of several parts they read.

    Example:
        >>> heads = {"a": nn.Dense(1), "b": nn.Dense(3), "c": nn.Dense(1)}
        >>> net = TaskAttention(nn.Dense(4), heads, "local", [("a", "b")], (8,))
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3), 'c': (2, 1)}

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017 (equation 1, here over
        tasks).
        Veličković et al., Graph Attention Networks, ICLR 2018 (attention to neighbours
        in a graph; scores here are dot products).
        Lopes, Vu and de Charette, Cross-task Attention Mechanism for Dense Multi-task
        Learning, WACV 2023 (exchange in both directions between pairs of tasks;
        between positions, with other scores). The symmetric score is ours.
    """
    if not tower_features:
        raise ValueError("TaskAttention has towers of at least one layer; found none")
    graph = _graph(attention, tuple(heads), graph)
    parts = reading.by_part(heads)
    if len(parts) > 1:
        raise ValueError(
            "in TaskAttention all heads read one part of a representation; found "
            f"{parts}. Use hard sharing or FiLM"
        )
    (part,) = parts
    read = [t for t in heads if any(t in others for others in graph.values())]
    towers = Towers(
        trunk, len(read), tuple(tower_features), part, len(read) < len(heads)
    )
    return HardSharing(
        towers,
        {
            task: AttendingHead(
                head,
                read.index(task) if task in read else None,
                tuple(read.index(other) for other in graph[task]),
                tuple(tower_features),
                attention == "bidirectional",
                part,
            )
            for task, head in heads.items()
        },
    )


def _graph(
    attention: str, tasks: tuple[str, ...], graph: Any
) -> dict[str, tuple[str, ...]]:
    """The neighbours of every task."""
    if attention not in KINDS:
        raise unknown_name("attention between tasks", attention, KINDS)
    if graph is None and attention != "local":
        graph = {task: [o for o in tasks if o != task] for task in tasks}
    elif graph is None or attention == "global":
        given = "none" if graph is None else f"graph={graph!r}"
        raise ValueError(
            "local attention between tasks needs a graph and global attention has "
            f"none; found attention={attention!r} with {given}. Give "
            "graph={task: [neighbours]} to attention='local'"
        )
    found = task_graph.neighbours(tasks, graph)
    return task_graph.both_ways(found) if attention == "bidirectional" else found


class Tower(nn.Module):
    """Dense layers on the last axis, each followed by a rectifier.

    Attributes:
        features: their widths.
    """

    features: Sequence[int]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[..., d] -> [..., D]`."""
        for width in self.features:
            x = nn.relu(nn.Dense(width)(x))
        return x


class Towers(nn.Module):
    """A trunk, and the towers that several tasks read.

    Attributes:
        trunk: gives `[B, ..., d]`, or parts.
        count: n, of the towers.
        features: widths of their layers.
        part: which is read, or `None`.
        others: some tasks have towers of their own, which read the trunk.
    """

    trunk: nn.Module
    count: int
    features: Sequence[int]
    part: str | None
    others: bool

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Array]:
        """`{"towers": [B, n, ..., D]}`, and under "input" `[B, ..., d]` for others."""
        z = calling.call(self.trunk, inputs, train)
        x = reading.array(z, self.part, "TaskAttention")
        stacked = nn.vmap(
            Tower,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,
            out_axes=1,
            axis_size=self.count,
        )
        towers = stacked(self.features, name="towers")(x)
        return {"towers": towers, "input": x} if self.others else {"towers": towers}


class AttendingHead(nn.Module):
    """The attention of one task, and its head.

    Attributes:
        head: module `[B, ..., D] -> outputs`.
        place: of the task's tower among those that several read; `None`: its own.
        neighbours: places of the towers that the task reads beside its own.
        features: widths of the layers of a tower.
        both_ways: scores are symmetric.
        part: that the head names, or `None`.
    """

    head: nn.Module
    place: int | None
    neighbours: Sequence[int]
    features: Sequence[int]
    both_ways: bool
    part: str | None

    @nn.compact
    def __call__(
        self, z: Mapping[str, Array], train: bool = False
    ) -> Array | Penalised:
        """Outputs of what `Towers` gives."""
        if self.place is None:
            own = Tower(self.features, name="tower")(z["input"])
        else:
            own = z["towers"][:, self.place]
        if self.neighbours:
            own += self._attended(own, z["towers"])
        return calling.call(self.head, reading.under(self.part, own), train)

    def _attended(self, own: Array, towers: Array) -> Array:
        places = jnp.array(self.neighbours)
        every = jnp.concatenate([own[:, None], towers[:, places]], axis=1)
        width = own.shape[-1]
        query, key, value = (
            nn.Dense(width, use_bias=False, name=name)(every)
            for name in ("query", "key", "value")
        )
        scores = jnp.sum(query[:, :1] * key, axis=-1)
        if self.both_ways:
            scores += jnp.sum(query * key[:, :1], axis=-1)
        weights = jax.nn.softmax(scores / width**0.5, axis=1)
        return jnp.sum(weights[..., None] * value, axis=1)

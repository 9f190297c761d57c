"""Late fusion: networks side by side, whose outcomes are fused for all heads."""

from collections.abc import Mapping
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models import calling
from mtl_jax.models.columns import columns
from mtl_jax.models.hard_sharing import HardSharing
from mtl_jax.models.penalised import Penalised
from mtl_jax.typing import Array, PyTree

FUSIONS = ("concatenation", "weighted_sum", "average")


def LateFusion(
    trunk: nn.Module,
    heads: Mapping[str, nn.Module],
    fusion: Literal["concatenation", "weighted_sum", "average"] = "concatenation",
) -> HardSharing:
    """As many networks as tasks, and heads that read what all of them give.

    With `z_i = f(x; θ_i)`, task k has the outputs `h_k(u_k)`, where

        concatenation:  u_k = [z_1, …, z_T]
        weighted_sum:   u_k = Σ_i softmax(w_k)_i z_i
        average:        u_k = Σ_i z_i / T

    The networks are shared, since every loss reaches all of them: what they have of
    their own is the start, and in a weighted sum what each task makes of them. The
    weights `w_k`, at first even, and the head are the task's own. The representation is
    what is fused, and in a weighted sum the outputs of all networks. Heads that are
    alike are stacked, with their weights; the networks are one tree with leaves
    `[T, ...]`. A weighted sum is an MMoE of T experts whose gates choose once for all
    examples.

    Representations are averaged, not outputs: outputs of tasks that differ in kind have
    no average, and those of equal tasks are an ensemble, whose members are trained
    apart. With heads that are linear and equal the two are the same.

    Args:
        trunk: module that each network is a copy of; what it gives is for a head.
        heads: task name to module; with `concatenation` the last axis of what it reads
            is T times as wide as that of the trunk.
        fusion: "concatenation", "weighted_sum" or "average".

    Returns:
        A `HardSharing` of the networks.

    Raises:
        ValueError: another fusion.

    Example:
        >>> heads = {"a": nn.Dense(1), "b": nn.Dense(3)}
        >>> net = LateFusion(nn.Dense(4), heads, "weighted_sum")
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        None: common practice; a survey of where to fuse is Baltrušaitis, Ahuja and
        Morency, Multimodal Machine Learning: A Survey and Taxonomy, TPAMI 2019.
    """
    if fusion not in FUSIONS:
        raise unknown_name("fusion", fusion, FUSIONS)
    networks = SideBySide(trunk, len(heads), fusion)
    if fusion != "weighted_sum":
        return HardSharing(networks, heads)
    return HardSharing(networks, {t: WeighingHead(head) for t, head in heads.items()})


class SideBySide(nn.Module):
    """Copies of a trunk, and what is made of their outputs for all heads alike.

    Attributes:
        trunk: each is a copy of it.
        count: of the copies.
        fusion: "concatenation" and "average" fuse; "weighted_sum" leaves that to the
            heads.
    """

    trunk: nn.Module
    count: int
    fusion: str

    def __call__(self, inputs: PyTree, train: bool = False) -> PyTree:
        """Leaves `[B, ..., count D]`, `[B, ..., D]` or `[B, count, ..., D]`."""
        z = columns(self.trunk, self.count, inputs, train)
        if self.fusion == "average":
            return jax.tree.map(lambda a: jnp.mean(a, axis=1), z)
        return jax.tree.map(_in_a_row, z) if self.fusion == "concatenation" else z


class WeighingHead(nn.Module):
    """Weights of the networks, and the head that reads their sum.

    Attributes:
        head: module `representation -> outputs`.
    """

    head: nn.Module

    @nn.compact
    def __call__(self, z: PyTree, train: bool = False) -> Array | Penalised:
        """Of a representation with leaves `[B, n, ..., D]`."""
        count = jax.tree.leaves(z)[0].shape[1]
        logits = self.param("weights", nn.initializers.zeros, (count,))
        weights = nn.softmax(logits)
        fused = jax.tree.map(lambda a: jnp.einsum("n,bn...->b...", weights, a), z)
        return calling.call(self.head, fused, train)


def _in_a_row(a: Array) -> Array:
    """`[B, n, ..., D] -> [B, ..., n D]`."""
    a = jnp.moveaxis(a, 1, -2)
    return a.reshape(*a.shape[:-2], -1)

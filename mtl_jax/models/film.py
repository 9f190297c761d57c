"""FiLM: one network, modulated by an embedding of the task."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.models import calling, reading
from mtl_jax.typing import Array, PyTree


class FiLM(nn.Module):
    """Feature-wise linear modulation of a shared network by a task embedding.

    Task k has a learned embedding `e_k`, from which a generator that is shared makes a
    scale and a shift of every feature of `z`, the output of the trunk:

        y_k = h_k(γ_k ⊙ z + β_k),    (γ_k - 1, β_k) = W e_k + b

    (equation 2). With `layers` it is done at each hidden layer of a shared network on
    top of the trunk, between its linear map and its rectifier, and not to `z` itself.
    The tasks are told apart by a few numbers each: the embedding and the head are all
    that is task-specific. Trunk, layers and generators are shared.

    There is no representation: generators are shared parameters above the embeddings,
    which are not. The paper conditions on a question, by a recurrent network; here it
    is the task, looked up. Scales are 1 plus what is generated, as in the paper, and
    embeddings are small at first, so that the tasks start nearly alike.

    The last axis of a representation has the features; all positions (pixels, words)
    are modulated alike. Where heads read different parts of a text, each part has
    layers and a generator of its own, task-specific if one task alone reads it.

    Attributes:
        trunk: module that gives `[B, ..., D]`, or parts of which each head reads one.
        heads: task name to module.
        embedding_features: width E of the embeddings.
        layers: widths of the hidden layers; none: the output of the trunk is modulated.

    Raises:
        ValueError: when called: embeddings without a width, or heads that do not say
            which of several parts they read.

    Example:
        >>> import jax
        >>> net = FiLM(nn.Dense(4), {"a": nn.Dense(1), "b": nn.Dense(3)})
        >>> outputs, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: out.shape for name, out in outputs.items()}
        {'a': (2, 1), 'b': (2, 3)}

    References:
        Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer, AAAI
        2018.
    """

    trunk: nn.Module
    heads: Mapping[str, nn.Module]
    embedding_features: int = 16
    layers: Sequence[int] = ()

    no_representation: ClassVar[str] = (
        "in FiLM what makes scales and shifts of the tasks' own embeddings is shared"
    )

    @property
    def shared_names(self) -> tuple[str, ...]:
        """The trunk, and the conditioned layers that several tasks read."""
        found = reading.by_part(self.heads)
        several = [_layers(part) for part, tasks in found.items() if len(tasks) > 1]
        return ("trunk", *several)

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Any]:
        """`{task: outputs}`."""
        if self.embedding_features < 1:
            raise ValueError(
                f"FiLM was given embedding_features={self.embedding_features}; give a "
                "task at least one number to be known by"
            )
        z = calling.call(self.trunk, inputs, train)
        read: dict[str, Any] = {}
        init, shape = nn.initializers.normal(0.1), (self.embedding_features,)
        for part, tasks in reading.by_part(self.heads).items():
            embeddings = [self.param(f"embeddings_{t}", init, shape) for t in tasks]
            conditioned = Conditioned(tuple(self.layers), name=_layers(part))(
                reading.array(z, part, "FiLM"), jnp.stack(embeddings)
            )
            read |= {
                task: reading.under(part, conditioned[k])
                for k, task in enumerate(tasks)
            }
        return {
            task: calling.call(head, read[task], train)
            for task, head in self.heads.items()
        }


class Conditioned(nn.Module):
    """Layers whose features are scaled and shifted for each of n tasks.

    Attributes:
        features: widths of the layers; none: the inputs are modulated.
    """

    features: Sequence[int]

    @nn.compact
    def __call__(self, x: Array, embeddings: Array) -> Array:
        """`[B, ..., d], [n, E] -> [n, B, ..., D]`."""
        each = x[None]
        if not self.features:
            return _modulated(each, embeddings, "generator")
        for i, width in enumerate(self.features):
            each = nn.Dense(width, name=f"layers_{i}")(each)
            each = nn.relu(_modulated(each, embeddings, f"generators_{i}"))
        return each


def _modulated(x: Array, embeddings: Array, name: str) -> Array:
    """`[1 or n, B, ..., D] -> [n, B, ..., D]`, with a generator of this name."""
    both = nn.Dense(2 * x.shape[-1], name=name)(embeddings)
    both = both.reshape(len(embeddings), *(1,) * (x.ndim - 2), -1)
    scale, shift = jnp.split(both, 2, axis=-1)
    return (1 + scale) * x + shift


def _layers(part: str | None) -> str:
    return "conditioned" if part is None else f"conditioned_{part}"

"""Experts: networks side by side that read one vector, and gates that mix them."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.models import calling
from mtl_jax.models.trunks import MLP
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.typing import Array, PyTree


class Experts(nn.Module):
    """A trunk, and experts that read its output: what gates choose from.

    Attributes:
        trunk: gives a vector an example, or a text whose part "pooled" is read; `None`:
            the experts read the inputs, vectors themselves.
        num_experts: n, at least 1.
        features: widths of the layers of each expert; the last one is D.
        reader: name of the architecture, for errors.

    Raises:
        ValueError: no experts, no layers, or what is read is no vector.

    Example:
        >>> import jax
        >>> net = Experts(None, num_experts=3, features=(8,))
        >>> z, _ = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> {name: part.shape for name, part in z.items()}
        {'experts': (2, 3, 8), 'input': (2, 5)}
    """

    trunk: nn.Module | None
    num_experts: int
    features: Sequence[int]
    reader: str = "Experts"

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Array]:
        """`{"input": [B, d], "experts": [B, n, D]}` of a batch of inputs."""
        x = vector(self.trunk, inputs, train, self.reader)
        return {
            "experts": side_by_side(self.num_experts, self.features, x, "experts"),
            "input": x,
        }


def vector(trunk: nn.Module | None, inputs: PyTree, train: bool, reader: str) -> Array:
    """One vector an example, `[B, d]`: the output of a trunk, or the inputs.

    Args:
        trunk: bound; `None` for the inputs themselves.
        inputs: of the trunk.
        train: for the trunk.
        reader: name of the architecture, for the error.

    Raises:
        ValueError: it is no vector.

    Example:
        >>> vector(None, jnp.ones((2, 8, 8)), False, "MMoE")
        Traceback (most recent call last):
        ...
        ValueError: MMoE reads one vector [B, d] an example; the inputs are an array of
        shape (2, 8, 8) and dtype float32. Give it a trunk that makes vectors of them
    """
    z = inputs if trunk is None else calling.call(trunk, inputs, train)
    if trunk is not None and isinstance(z, Mapping) and "pooled" in z:
        z = z["pooled"]
    if isinstance(z, Mapping) or jnp.ndim(z) != 2:
        if trunk is None:
            what, fix = "inputs are", "Give it a trunk that makes vectors of them"
        else:
            what = f"trunk, {type(trunk).__name__}, gives"
            fix = "Take a trunk, or pooling, that gives one vector an example"
        raise ValueError(
            f"{reader} reads one vector [B, d] an example; the {what} "
            f"{accepted.found(z)}. {fix}"
        )
    floating = jnp.issubdtype(jnp.result_type(z), jnp.floating)
    return jnp.asarray(z) if floating else jnp.asarray(z, jnp.float32)


def side_by_side(count: int, features: Sequence[int], x: Array, name: str) -> Array:
    """Networks of one shape that all read `x`: `[B, d] -> [B, count, D]`.

    To be called within a compact method. Their parameters are one tree with leaves
    `[count, ...]`, under `name`.

    Raises:
        ValueError: no networks, or networks without a layer.
    """
    if count < 1 or not features:
        raise ValueError(
            f"{name}: {count} networks with layers of widths {tuple(features)} were "
            "asked for; give at least one of each"
        )
    networks = nn.vmap(
        MLP,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=None,
        out_axes=1,
        axis_size=count,
    )
    return networks(features, name=name)(x)


def gated(x: Array, experts: Array, name: str) -> Array:
    """The mixture `Σ_i softmax(W x)_i e_i` of experts.

    To be called within a compact method; `W` is the kernel of a layer `name`.

    Args:
        x: `[B, d]`, what the gate reads.
        experts: `[B, n, D]`.
        name: of the gate.

    Returns:
        `[B, D]`.
    """
    logits = nn.Dense(experts.shape[1], use_bias=False, name=name)(x)
    return mixed(nn.softmax(logits), experts)


def mixed(weights: Array, experts: Array) -> Array:
    """`[B, n]` or `[n]` weights of `[B, n, D]` experts: `[B, D]`.

    Example:
        >>> experts = jnp.array([[[1.0, 2.0], [3.0, 4.0]]])
        >>> mixed(jnp.array([0.5, 0.5]), experts)
        Array([[2., 3.]], dtype=float32)
    """
    return jnp.einsum("...n,...nd->...d", weights, experts)

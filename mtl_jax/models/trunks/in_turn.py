"""Layers that follow one another: all of them a trunk, each of them a stage."""

from collections.abc import Callable, Sequence

import flax.linen as nn

from mtl_jax.typing import PyTree

Layers = Callable[[nn.Module, PyTree, bool], PyTree]
"""`(module, x, train) -> x`, which makes its layers and parameters in `module`."""


class Stage(nn.Module):
    """Some of the layers of a trunk, as a module of its own.

    Attributes:
        layers: called one after the other.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def dense(module, x, train):
        ...     return nn.Dense(3)(x)
        >>> out, _ = Stage((dense,)).init_with_output(jax.random.key(0), jnp.ones(2))
        >>> out.shape
        (3,)
    """

    layers: Sequence[Layers]

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> PyTree:
        """What the last of the layers gives."""
        return in_turn(self, self.layers, inputs, train)


def in_turn(
    module: nn.Module, layers: Sequence[Layers], x: PyTree, train: bool
) -> PyTree:
    """Call layers one after the other; to be called within a compact method.

    Args:
        module: whose method it is.
        layers: the layers.
        x: what the first one reads.
        train: for each.
    """
    for layer in layers:
        x = layer(module, x, train)
    return x

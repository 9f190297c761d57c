"""Columns: one copy of a trunk for each task, side by side."""

import flax.linen as nn
from flax.core import DenyList

from mtl_jax.models import calling
from mtl_jax.models.base import FROZEN
from mtl_jax.typing import PyTree


def columns(
    trunk: nn.Module, count: int, inputs: PyTree, train: bool, equal: bool = False
) -> PyTree:
    """The representations of copies of a trunk that all read the same inputs.

    Parameters and mutable state of the copies are one tree with leaves `[count, ...]`
    under the name of the trunk, and the copies one computation, so that a program is no
    longer for many tasks than for two. What is frozen is one for all.

    To be called within a method of the module that has the trunk.

    Args:
        trunk: bound, with `__call__(inputs)` or `__call__(inputs, train)`.
        count: copies.
        inputs: of the trunk.
        train: for the trunk.
        equal: the copies start from equal parameters; their dropout differs anyway.

    Returns:
        Like the representation of the trunk, with leaves `[B, count, ...]`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> class Three(nn.Module):
        ...     trunk: nn.Module
        ...     def __call__(self, inputs, train=False):
        ...         return columns(self.trunk, 3, inputs, train)
        >>> net = Three(nn.Dense(4))
        >>> z, variables = net.init_with_output(jax.random.key(0), jnp.ones((2, 5)))
        >>> z.shape, variables["params"]["trunk"]["kernel"].shape
        ((2, 3, 4), (3, 5, 4))
    """

    def one(column: nn.Module, inputs: PyTree) -> PyTree:
        return calling.call(column, inputs, train)

    return nn.vmap(
        one,
        variable_axes={FROZEN: None, DenyList((FROZEN,)): 0},
        split_rngs={"params": not equal, "dropout": True},
        in_axes=None,
        out_axes=1,
        axis_size=count,
    )(trunk, inputs)

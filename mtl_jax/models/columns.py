"""Columns: copies of a trunk or of a stage side by side, and mixtures of them."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.models import calling
from mtl_jax.models.base import FROZEN
from mtl_jax.typing import Array, PyTree


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
        variable_axes={FROZEN: None, nn.DenyList(FROZEN): 0},
        split_rngs={"params": not equal, "dropout": True},
        in_axes=None,
        out_axes=1,
        axis_size=count,
    )(trunk, inputs)


def side_by_side(
    stage: nn.Module,
    count: int,
    x: PyTree,
    train: bool,
    *,
    common: bool,
) -> PyTree:
    """Copies of one stage, each with parameters of its own.

    To be called within a method of a module that holds the stage. Variables have leaves
    `[count, ...]`, but for those that are frozen, which all copies read.

    Args:
        stage: bound, with `__call__(x)` or `__call__(x, train)`.
        count: of copies.
        x: leaves `[B, ...]` where all copies read it, else `[count, B, ...]`.
        train: for the stage.
        common: whether all read it.

    Returns:
        What the copies give, leaves `[count, B, ...]`.
    """
    mapped = nn.vmap(
        lambda stage, x: calling.call(stage, x, train),
        variable_axes={FROZEN: None, nn.DenyList(FROZEN): 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=None if common else 0,
        out_axes=0,
        axis_size=count,
    )
    return mapped(stage, x)


def stitched(weights: Array, x: PyTree) -> PyTree:
    """Linear combinations of columns.

    Args:
        weights: `[n, m]`, or `[m]` for one combination.
        x: leaves `[m, B, ...]`. Those of no floating numbers are equal in all columns,
            and stay as they are.

    Returns:
        Leaves `[n, B, ...]`, or `[B, ...]`.

    Example:
        >>> x = {"z": jnp.array([[1.0], [3.0]]), "present": jnp.array([[True], [True]])}
        >>> found = stitched(jnp.array([0.5, 0.5]), x)
        >>> found["z"].tolist(), found["present"].tolist()
        ([2.0], [True])
    """

    def one(leaf: Array) -> Array:
        shape = (*weights.shape[:-1], *leaf.shape[1:])
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.broadcast_to(leaf[0], shape)
        return (weights @ leaf.reshape(leaf.shape[0], -1)).reshape(shape)

    return jax.tree.map(one, x)


def examples_first(x: PyTree) -> PyTree:
    """Leaves `[n, B, ...]` as `[B, n, ...]`, and the other way round."""
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), x)


def own_and_others(own: float, count: int) -> np.ndarray:
    """`[count, count]`: `own` on the diagonal, and the rest of 1 divided equally.

    Example:
        >>> print(own_and_others(0.75, 2))
        [[0.75 0.25]
         [0.25 0.75]]
    """
    if count == 1:
        return np.ones((1, 1), np.float32)
    other = (1 - own) / (count - 1)
    return (other + (own - other) * np.eye(count)).astype(np.float32)


def entries(x: PyTree) -> dict[str, Array]:
    """The floating arrays of a dict, or an array under the name "".

    Example:
        >>> list(entries(jnp.ones(2))), list(entries({"a": jnp.ones(2)}))
        ([''], ['a'])
    """
    named = dict(x) if isinstance(x, Mapping) else {"": x}
    return {n: a for n, a in named.items() if jnp.issubdtype(a.dtype, jnp.floating)}

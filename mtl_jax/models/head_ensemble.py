"""Several heads of one task, whose predictions are averaged."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.models.columns import columns
from mtl_jax.typing import Array, PyTree


class HeadEnsemble(nn.Module):
    """Members of one shape on one representation, each with parameters of its own.

    In training the outputs are those of all members, `[..., M C]`, for a loss that is
    the mean of theirs (`losses.of_members`); in evaluation they are one output
    `[..., C]`, averaged by what the outputs mean. Members differ by their initial
    values and by what dropout draws for them: the trunk is one.

    Attributes:
        head: of one member, with `__call__(representation) -> [..., C]`.
        count: M.
        average: `(outputs [M, ..., C]) -> [..., C]`, e.g. `losses.average` of a loss.

    Example:
        >>> import jax
        >>> heads = HeadEnsemble(nn.Dense(3), 4, lambda outputs: outputs.mean(0))
        >>> variables = heads.init(jax.random.key(0), jnp.ones((2, 5)))
        >>> variables["params"]["head"]["kernel"].shape
        (4, 5, 3)
        >>> [heads.apply(variables, jnp.ones((2, 5)), t).shape for t in (True, False)]
        [(2, 12), (2, 3)]

    References:
        Lee, Purushwalkam, Cogswell, Crandall and Batra, Why M Heads are Better than
        One: Training a Diverse Ensemble of Deep Networks, 2015 (tree-structured
        networks; without their diversity-encouraging loss).
    """

    head: nn.Module
    count: int
    average: Callable[[Array], Array]

    @nn.compact
    def __call__(self, representation: PyTree, train: bool = False) -> Array:
        """The outputs of all members in training, else their average."""
        found = columns(self.head, self.count, representation, train)
        if not train:
            return self.average(jnp.moveaxis(found, 1, 0))
        found = jnp.moveaxis(found, 1, -2)
        return found.reshape(*found.shape[:-2], -1)

"""Models with equally many parameters, for comparisons that are fair."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from mtl_jax.models.base import Model
from mtl_jax.models.linen import from_linen
from mtl_jax.typing import PyTree

WIDEST = 2**20
"""The largest width that is looked at."""


class Match(NamedTuple):
    """A width, and how many parameters the model of that width has."""

    width: int
    num_params: int


def match_params(
    build: Callable[[int], Model | nn.Module], target: int, inputs: PyTree
) -> Match:
    """The width at which a model has nearest to as many parameters as asked.

    Args:
        build: from a width, 1 or more, to a model whose number of parameters grows with
            it.
        target: parameters, all of them: shared and task-specific.
        inputs: a batch of inputs, or its shapes; nothing is computed with it.

    Returns:
        The width, the smaller one of two that are equally near, and its number of
        parameters.

    Raises:
        ValueError: a number of parameters that does not grow, or a target that no width
            reaches.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax.models import MLP, HardSharing, MMoE
        >>> x, heads = jnp.ones((1, 100)), {"a": nn.Dense(1), "b": nn.Dense(1)}
        >>> target = count_params(MMoE(None, heads, 8, (16,)), x)
        >>> match_params(lambda width: HardSharing(MLP((width,)), heads), target, x)
        Match(width=141, num_params=14525)
    """

    @functools.cache
    def count(width: int) -> int:
        return count_params(build(width), inputs)

    low, high = 1, 1
    while count(high) < target:
        low, high = high, 2 * high
        if high > WIDEST or count(high) <= count(low):
            raise ValueError(
                f"match_params was asked for {target} parameters; the model has "
                f"{count(low)} at width {low} and {count(high)} at width {high}. Build "
                "models that grow with the width"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < target else (low, middle)
    return min(
        (Match(width, count(width)) for width in (low, high)),
        key=lambda match: (abs(match.num_params - target), match.width),
    )


def count_params(model: Model | nn.Module, inputs: PyTree) -> int:
    """The number of parameters of a model, shared and task-specific.

    Args:
        model: a Linen module that says what is shared, or a `Model`.
        inputs: a batch of inputs, or its shapes; nothing is computed with it.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax.models import MLP, HardSharing
        >>> net = HardSharing(MLP((8,)), {"a": nn.Dense(3)})
        >>> count_params(net, jnp.ones((1, 4)))
        67
    """
    found = model if isinstance(model, Model) else from_linen(model)
    variables: Any = jax.eval_shape(found.init, jax.random.key(0), inputs)
    leaves = jax.tree.leaves((variables.shared, variables.specific))
    return sum(math.prod(leaf.shape) for leaf in leaves)

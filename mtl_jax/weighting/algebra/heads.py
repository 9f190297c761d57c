"""Another choice of the weights of the task-specific parameters."""

from typing import Any, Literal, TypeVar

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import wrapping

M = TypeVar("M", base.LossWeighting, base.GramianWeighting, base.GradientAggregator)


def with_head_weights(method: M, heads: Literal["ones", "weights"]) -> M:
    """Let the task-specific parameters have weight 1, or the weights of the tasks.

    The parameters of one task alone conflict with nobody, and papers differ in what
    they give them: the gradient of their loss as it is ("ones") or times `w_t`
    ("weights"). State and shared parameters: as without.

    Args:
        method: of any kind.
        heads: "ones" or "weights". A task without labels gets 0 either way.

    Returns:
        A method of the same kind.

    Raises:
        TypeError: what is not a method.
        ValueError: another word, or "weights" for a `GradientAggregator`, which has
            none.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> mgda().weigh_heads, with_head_weights(mgda(), "weights").weigh_heads
        (False, True)
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    wrapping.check_kind("with_head_weights", method, *kinds)
    if heads not in ("ones", "weights"):
        raise unknown_name("choice of head weights", heads, ["ones", "weights"])
    if not isinstance(method, base.GradientAggregator):
        return method._replace(weigh_heads=heads == "weights")
    if heads == "weights":
        raise ValueError(
            "with_head_weights was asked to give the heads the weights of a "
            "GradientAggregator; it makes a direction without weights: use 'ones', or "
            "leave it its own choice"
        )

    def update(task_grads: Any, state: Any, **extra: Any) -> tuple[Any, Array, Any]:
        direction, given, state = method.update(task_grads, state, **extra)
        keep = base.keep_mask(extra.get("mask"), given.shape[0])
        return direction, wrapping.masked(jnp.ones_like(given), keep), state

    return method._replace(update=update)

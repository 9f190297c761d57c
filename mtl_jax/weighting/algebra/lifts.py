"""A method of one kind as one of a kind that sees more."""

from typing import Any

from mtl_jax import tree
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import wrapping


def as_gramian(
    method: base.LossWeighting | base.GramianWeighting,
) -> base.GramianWeighting:
    """A method that sees the losses as one that is also shown the Gramian.

    The weights are those of the method, `w(L)`; the Gramian is not looked at. What it
    is for: to put the method where a `GramianWeighting` is asked for. By itself it
    costs T backward passes for nothing. State, heads, `observe` and `needs_epoch`: the
    method's own.

    Args:
        method: a `LossWeighting`; a `GramianWeighting` is returned as it is.

    Returns:
        A `GramianWeighting` that needs the keyword `losses`.

    Raises:
        TypeError: another kind of method; ValueError: when called without losses.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax.weighting import static
        >>> method = as_gramian(static([3.0, 0.5]))
        >>> weights, _ = method.update(jnp.eye(2), method.init(2), losses=jnp.ones(2))
        >>> weights.tolist()
        [3.0, 0.5]
    """
    wrapping.check_kind("as_gramian", method, base.LossWeighting, base.GramianWeighting)
    if isinstance(method, base.GramianWeighting):
        return method

    def update(
        gramian: Array, state: Any, *, losses: Array | None = None, **extra: Any
    ) -> tuple[Array, Any]:
        weights, state = wrapping.weigh(method, None, state, losses=losses, **extra)
        return weights.astype(gramian.dtype), state

    return base.GramianWeighting(
        init=method.init,
        update=update,
        weigh_heads=method.weigh_heads,
        observe=method.observe,
        needs_epoch=method.needs_epoch,
    )


def as_aggregator(method: base.Method) -> base.GradientAggregator:
    """A method of weights as one that is given the task gradients.

    `d = Σ_t w_t g_t`, with the weights of the losses or of the Gramian of `where` of
    the gradients. It holds the T gradients in memory, and where the method holds its
    weights between steps they are still made at each. State, heads, `observe` and
    `needs_epoch`: the method's own.

    Args:
        method: a `LossWeighting` or a `GramianWeighting`; a `GradientAggregator` is
            returned as it is.

    Returns:
        A `GradientAggregator`.

    Raises:
        ValueError: a method of several samples.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax.weighting import mgda
        >>> method = as_aggregator(mgda())
        >>> task_grads = {"a": jnp.array([[3.0], [0.0]]), "b": jnp.array([0.0, 3.0])}
        >>> direction, heads, state = method.update(task_grads, method.init(2))
        >>> direction["a"].tolist(), float(direction["b"]), heads.tolist()
        ([1.5], 1.5, [1.0, 1.0])
    """
    wrapping.check_kind(
        "as_aggregator",
        method,
        base.LossWeighting,
        base.GramianWeighting,
        base.GradientAggregator,
    )
    if isinstance(method, base.GradientAggregator):
        return method
    wrapping.one_sample(
        "as_aggregator", method, "an aggregator is given the gradients of one"
    )
    where = method.where if isinstance(method, base.GramianWeighting) else None

    def update(
        task_grads: PyTree, state: Any, *, primal: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Array, Any]:
        del primal
        gramian = wrapping.gramian_for(method, task_grads)
        weights, state = wrapping.weigh(method, gramian, state, **extra)
        heads = base.head_weights(method.weigh_heads, weights, state)
        keep = base.keep_mask(extra.get("mask"), weights.shape[0])
        direction = tree.combine(weights, task_grads)
        return direction, wrapping.masked(heads, keep), state

    return base.GradientAggregator(
        init=method.init,
        update=update,
        observe=method.observe,
        needs_epoch=method.needs_epoch,
        at_representation=where is None,
    )

"""Methods of different scales made comparable."""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import wrapping

M = TypeVar("M", base.LossWeighting, base.GramianWeighting, base.GradientAggregator)


class MatchedScaleState(NamedTuple):
    """The factor of the last update, and the state of the method."""

    factor: Array  # [] float32
    inner: Any


def matched_scale(method: M) -> M:
    """Rescale a method so that equal gradients give the update of the plain sum.

    Papers scale their direction to a sum, a mean or a unit length, and a comparison at
    one learning rate compares these too. Here a method meets, at each step, a reference
    problem whose answer is known: n present tasks with one and the same gradient, for
    which the plain sum gives n times that gradient. The factor that makes the method
    give the same is put on its answer to the real problem.

    - Gramian: the reference is `m 1 1ᵀ`, m the mean squared length of the present
      gradients, with the same losses, state and key; the factor is `n / Σ_t w_t`.
    - Gradients: the reference is their mean ḡ in every row; with the direction r for
      it, the factor is `n ‖ḡ‖² / ⟨r, ḡ⟩`.
    - Losses: the weights are scaled to the sum n; no second call.

    Where there is no such factor (`Σ w`, or `⟨r, ḡ⟩`, not positive) it is 1. Its state
    advances by the call on the real problem alone. Methods of the Gramian or the
    gradients are called twice a step, solver included.

    Heads: the method's rule. Where it is "the weights of the tasks", these are the
    rescaled ones; weight 1 stays 1; weights of its own stay as they are.
    State: the factor, and the method's.

    Args:
        method: of any kind.

    Returns:
        A method of the same kind.

    Raises:
        TypeError: what is not a method.

    Example:
        >>> from mtl_jax.weighting import aggregate, mgda
        >>> jacobian = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> aggregate(mgda(), jacobian).direction.tolist()
        [0.5, 0.5]
        >>> aggregate(matched_scale(mgda()), jacobian).direction.tolist()
        [1.0, 1.0]
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    wrapping.check_kind("matched_scale", method, *kinds)

    def init(num_tasks: int, params: Any = None) -> MatchedScaleState:
        one = jnp.ones((), base.state_dtype())
        return MatchedScaleState(one, method.init(num_tasks, params))

    def from_losses(
        losses: Array, state: MatchedScaleState, **extra: Any
    ) -> tuple[Array, MatchedScaleState]:
        weights, inner = method.update(losses, state.inner, **extra)
        keep = base.keep_mask(extra.get("mask"), weights.shape[0])
        weights = wrapping.masked(weights, keep)
        factor = _ratio(jnp.sum(keep), jnp.sum(weights))
        return weights * factor, _state(factor, inner)

    def from_gramian(
        gramian: Array, state: MatchedScaleState, **extra: Any
    ) -> tuple[Array, MatchedScaleState]:
        keep = base.keep_mask(extra.get("mask"), gramian.shape[0])
        squared = wrapping.masked(jnp.diagonal(gramian), keep)
        # (the product of two samples may have a negative mean)
        mean = jnp.maximum(jnp.sum(squared) / jnp.maximum(jnp.sum(keep), 1), 0)
        equal = jnp.where(keep[:, None] & keep[None, :], mean, 0)
        reference, _ = method.update(equal.astype(gramian.dtype), state.inner, **extra)
        weights, inner = method.update(gramian, state.inner, **extra)
        total = jnp.sum(wrapping.masked(reference, keep))
        factor = _ratio(jnp.sum(keep), total).astype(weights.dtype)
        return weights * factor, _state(factor, inner)

    def from_gradients(
        task_grads: PyTree, state: MatchedScaleState, **extra: Any
    ) -> tuple[PyTree, Array, MatchedScaleState]:
        keep = base.keep_mask(extra.get("mask"), tree.num_tasks(task_grads))
        n = jnp.sum(keep)
        share = wrapping.masked(1 / jnp.maximum(n, 1), keep).astype(base.state_dtype())
        mean = tree.combine(share, task_grads)
        equal = jax.tree.map(lambda leaf: _in_rows(leaf, keep), mean)
        reference, _, _ = method.update(equal, state.inner, **extra)
        direction, heads, inner = method.update(task_grads, state.inner, **extra)
        factor = _ratio(n * _inner(mean, mean), _inner(reference, mean))
        direction = jax.tree.map(lambda d: _times(factor, d), direction)
        return direction, heads, _state(factor, inner)

    observe = wrapping.observe(method)
    if isinstance(method, base.GradientAggregator):
        return method._replace(init=init, update=from_gradients, observe=observe)
    rule = wrapping.weigh_heads(method.weigh_heads)
    if isinstance(method, base.LossWeighting):
        return method._replace(
            init=init, update=from_losses, observe=observe, weigh_heads=rule
        )
    hold = wrapping.hold(method, lambda weights, state: weights * state.factor)
    return method._replace(
        init=init,
        update=wrapping.honour(from_gramian, hold),
        observe=observe,
        weigh_heads=rule,
        hold=hold,
    )


def _state(factor: Array, inner: Any) -> MatchedScaleState:
    return MatchedScaleState(factor.astype(base.state_dtype()), inner)


def _ratio(wanted: Array, found: Array) -> Array:
    return jnp.where(found > 0, wanted / jnp.where(found > 0, found, 1), 1)


def _inner(a: PyTree, b: PyTree) -> Array:
    """The inner product of two directions."""
    both = [jax.tree.map(lambda leaf: leaf[None], one) for one in (a, b)]
    return tree.cross_gramian(*both)[0, 0]


def _in_rows(mean: Array, keep: Array) -> Array:
    shape = (-1,) + (1,) * mean.ndim
    return jnp.where(keep.reshape(shape), mean[None], 0)


def _times(factor: Array, leaf: Array) -> Array:
    wide = jnp.promote_types(leaf.dtype, jnp.float32)
    return (factor.astype(wide) * leaf.astype(wide)).astype(leaf.dtype)

"""A method on gradients that are divided by something first."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, task_rows
from mtl_jax.weighting.algebra import wrapping

M = TypeVar("M", base.LossWeighting, base.GramianWeighting, base.GradientAggregator)


class RescaledState(NamedTuple):
    """What the gradients were multiplied by, and the state of the method."""

    # Updated every step
    scale: Array  # [T] float32, 1 / c_t of the last update; 0 for absent tasks
    inner: Any


class Rule(NamedTuple):
    """How gradients are rescaled."""

    scale: Callable[[Array | None, Array, Array], Array]
    """`(losses [T] or None, squared norms [T], mask [T]) -> 1 / c [T]`; NaN for a task
    for which it is undefined."""
    losses: Callable[[Array, Array], Array]
    """`(losses [T], mask [T]) -> [T]`, what the method sees in their place."""
    heads: bool
    """Whether heads of weight 1 are rescaled too."""


def rescaled(method: M, rule: Rule) -> M:
    """Let a method see and weigh `g_t / c_t`: its effective weights are `w_t / c_t`.

    Where c is undefined for a present task, the weights of that task are NaN and so is
    the direction: the engine skips the step. (The method itself sees a zero gradient
    then, as solvers are not made for NaN.)
    """

    def init(num_tasks: int, params: Any = None) -> RescaledState:
        scale = jnp.ones(num_tasks, base.state_dtype())
        return RescaledState(scale, method.init(num_tasks, params))

    def scale_of(losses: Array | None, squared: Array, mask: Array | None) -> Any:
        keep = base.keep_mask(mask, squared.shape[0])
        scale = wrapping.masked(rule.scale(losses, squared, keep), keep)
        seen = None if losses is None else rule.losses(losses, keep)
        return scale, jnp.where(jnp.isfinite(scale), scale, 0), seen, keep

    def closed(scale: Array, inner: Any) -> RescaledState:
        return RescaledState(scale.astype(base.state_dtype()), inner)

    def from_losses(
        losses: Array, state: RescaledState, **extra: Any
    ) -> tuple[Array, RescaledState]:
        unknown = jnp.zeros_like(losses)
        scale, _, seen, keep = scale_of(losses, unknown, extra.get("mask"))
        weights, inner = method.update(seen, state.inner, **extra)
        return wrapping.masked(weights * scale, keep), closed(scale, inner)

    def from_gramian(
        gramian: Array,
        state: RescaledState,
        *,
        losses: Array | None = None,
        **extra: Any,
    ) -> tuple[Array, RescaledState]:
        squared = jnp.diagonal(gramian)
        scale, finite, seen, keep = scale_of(losses, squared, extra.get("mask"))
        weights, inner = method.update(
            wrapping.scale_gramian(gramian, finite), state.inner, losses=seen, **extra
        )
        weights = weights * scale.astype(weights.dtype)
        return wrapping.masked(weights, keep), closed(scale, inner)

    def from_gradients(
        task_grads: PyTree,
        state: RescaledState,
        *,
        losses: Array | None = None,
        **extra: Any,
    ) -> tuple[PyTree, Array, RescaledState]:
        squared = task_rows.squared_norms(task_grads)
        scale, finite, seen, keep = scale_of(losses, squared, extra.get("mask"))
        direction, heads, inner = method.update(
            wrapping.scale_rows(task_grads, finite), state.inner, losses=seen, **extra
        )
        spoilt = jnp.where(jnp.all(jnp.isfinite(scale)), 1.0, jnp.nan)
        direction = jax.tree.map(lambda d: d * spoilt.astype(d.dtype), direction)
        if rule.heads:
            heads = wrapping.masked(heads * scale.astype(heads.dtype), keep)
        return direction, heads, closed(scale, inner)

    inside = method.observe

    def observe(
        before: Array,
        after: Array,
        state: RescaledState,
        *,
        mask: Array | None = None,
        **extra: Any,
    ) -> RescaledState:
        assert inside is not None
        keep = base.keep_mask(mask, before.shape[0])
        pair = (rule.losses(losses, keep) for losses in (before, after))
        return state._replace(inner=inside(*pair, state.inner, mask=mask, **extra))

    watch = None if inside is None else observe
    if isinstance(method, base.GradientAggregator):
        return method._replace(init=init, update=from_gradients, observe=watch)

    head_rule = method.weigh_heads
    if callable(head_rule):
        head_rule = wrapping.weigh_heads(head_rule, lambda state: state.scale)
    elif rule.heads and not head_rule:
        head_rule = lambda state: state.scale  # noqa: E731
    if isinstance(method, base.LossWeighting):
        return method._replace(
            init=init, update=from_losses, observe=watch, weigh_heads=head_rule
        )
    hold = wrapping.hold(method, lambda weights, state: weights * state.scale)
    return method._replace(
        init=init,
        update=wrapping.honour(from_gramian, hold),
        observe=watch,
        weigh_heads=head_rule,
        hold=hold,
    )

"""What every wrapper does with the parts of a method that it leaves alone.

A wrapper's state is a `NamedTuple` with a field `inner`, the state of the method.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base


def check_kind(function: str, method: Any, *kinds: type, why: str = "") -> None:
    """Raise `TypeError` where a method is of none of the kinds.

    Example:
        >>> check_kind("restrict", "mgda", base.GramianWeighting)
        Traceback (most recent call last):
        ...
        TypeError: restrict takes a GramianWeighting; found 'mgda'. Build it first:
        make('mgda')
    """
    if isinstance(method, kinds):
        return
    wanted = " or a ".join(kind.__name__ for kind in kinds)
    if isinstance(method, str):
        end = f"{method!r}. Build it first: make({method!r})"
    else:
        end = f"a {type(method).__name__}{why and '. ' + why}"
    raise TypeError(f"{function} takes a {wanted}; found {end}")


def one_sample(function: str, method: base.Method, why: str) -> None:
    """Raise `ValueError` where a method looks at the gradients of several samples."""
    samples = getattr(method, "num_samples", 1)
    if samples > 1:
        raise ValueError(
            f"{function} was given a method of {samples} independent samples a step, "
            f"and {why}"
        )


def observe(method: base.Method) -> Callable[..., Any] | None:
    """`observe` of a wrapper that leaves it alone."""
    inside = method.observe
    if inside is None:
        return None

    def wrapped(before: Array, after: Array, state: Any, **extra: Any) -> Any:
        return state._replace(inner=inside(before, after, state.inner, **extra))

    return wrapped


def weigh_heads(
    rule: base.HeadWeights, times: Callable[[Any], Array] | None = None
) -> base.HeadWeights:
    """`weigh_heads` of a wrapper: a function now of the state within.

    Args:
        rule: of the method.
        times: `(state) -> [T]`, what a function's weights are multiplied by.
    """
    if not callable(rule):
        return rule
    if times is None:
        return lambda state: rule(state.inner)
    return lambda state: rule(state.inner) * times(state)


def hold(
    method: base.Method, weights: Callable[[Array, Any], Array] | None = None
) -> Callable[[Any], base.Held] | None:
    """`hold` of a wrapper: that of the method.

    Args:
        method: the method within.
        weights: `(weights [T], state) -> [T]`, what the wrapper makes of the weights
            that the method holds; default: nothing.
    """
    inside = getattr(method, "hold", None)
    if inside is None:
        return None

    def wrapped(state: Any) -> base.Held:
        held = inside(state.inner)
        kept = held.weights if weights is None else weights(held.weights, state)
        return base.Held(held.due, kept, state._replace(inner=held.state))

    return wrapped


def honour(
    update: Callable[..., Any], hold: Callable[[Any], base.Held] | None
) -> Callable[..., Any]:
    """An `update` of a Gramian that does on held steps what `hold` says.

    The engine does not call `update` on such a step; who has the Gramian anyway does.
    """
    if hold is None:
        return update

    def wrapped(gramian: Array, state: Any, **extra: Any) -> tuple[Array, Any]:
        keep = base.keep_mask(extra.get("mask"), gramian.shape[0])
        held = hold(state)

        def look() -> tuple[Array, Any]:
            weights, new = update(gramian, state, **extra)
            return weights.astype(gramian.dtype), new

        def again() -> tuple[Array, Any]:
            return masked(held.weights, keep).astype(gramian.dtype), held.state

        return jax.lax.cond(held.due, look, again)

    return wrapped


def weigh(
    method: base.LossWeighting | base.GramianWeighting,
    gramian: Array | None,
    state: Any,
    *,
    losses: Array | None = None,
    **extra: Any,
) -> tuple[Array, Any]:
    """The weights of either kind, zero for absent tasks, and the state."""
    if isinstance(method, base.LossWeighting):
        if losses is None:
            raise ValueError(
                "a method that sees the losses needs the keyword `losses`: update("
                "gramian, state, losses=…)"
            )
        weights, state = method.update(losses, state, **extra)
    else:
        update = honour(method.update, method.hold)
        weights, state = update(gramian, state, losses=losses, **extra)
    keep = base.keep_mask(extra.get("mask"), weights.shape[0])
    return masked(weights, keep), state


def gramian_for(method: base.Method, task_grads: PyTree) -> Array | None:
    """The Gramian that a method sees of these gradients; `None` where it sees none."""
    if not isinstance(method, base.GramianWeighting):
        return None
    if method.where is not None:
        task_grads = method.where(task_grads)
    return tree.gramian(task_grads)


def masked(values: Array, keep: Array) -> Array:
    """`[T]` values with zeros for absent tasks, whatever they were."""
    return jnp.where(keep, values, 0)


def scale_gramian(gramian: Array, factors: Array) -> Array:
    """The Gramian of the gradients of `scale_rows`."""
    factors = factors.astype(gramian.dtype)
    return factors[:, None] * gramian * factors[None, :]


def scale_rows(task_grads: PyTree, factors: Array) -> PyTree:
    """The gradient of task t times `factors[t]`, each leaf in its own dtype."""

    def one_leaf(leaf: Array) -> Array:
        wide = jnp.promote_types(leaf.dtype, jnp.float32)
        shaped = factors.astype(wide).reshape((-1,) + (1,) * (leaf.ndim - 1))
        return (leaf.astype(wide) * shaped).astype(leaf.dtype)

    return jax.tree.map(one_leaf, task_grads)

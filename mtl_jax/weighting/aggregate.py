"""A method applied to a plain matrix: how a researcher, and a test, looks at it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.typing import Array
from mtl_jax.weighting import base


class Aggregation(NamedTuple):
    """What a method makes of a Jacobian."""

    direction: Array  # [P]; parameters move against it
    weights: Array | None  # [T], or None for a `GradientAggregator`
    state: Any


def aggregate(
    method: base.Method,
    jacobian: Array,
    *,
    losses: Array | None = None,
    state: Any = None,
    key: Array | None = None,
    **extra: Any,
) -> Aggregation:
    """Apply any method to a Jacobian.

    Args:
        method: of any kind.
        jacobian: `[T, P]`, float32 or float64; row t is the gradient of loss t.
        losses: `[T]`; ones where they are not given.
        state: what the call before returned; default: a new one.
        key: for random methods; default: `jax.random.key(0)`.
        **extra: further keywords of `update`, such as `epoch` or `mask`; arrays or
            numbers.

    Returns:
        The direction, the weights (where the method has them) and the state.

    Raises:
        ValueError: a Jacobian that is not a matrix, or losses of another length.
        TypeError: what is not a method.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> aggregate(mgda(), jnp.array([[3.0, 0.0], [0.0, 3.0]])).direction.tolist()
        [1.5, 1.5]
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    if not isinstance(method, kinds):
        raise TypeError(f"{method!r} is not a weighting method; use make(name, …)")
    jacobian = _floating(jacobian)
    if jacobian.ndim != 2:
        raise ValueError(
            f"aggregate needs a Jacobian of shape [T, P]; found {jacobian.shape}"
        )
    t = jacobian.shape[0]
    losses = jnp.ones(t, jacobian.dtype) if losses is None else _floating(losses)
    if losses.shape != (t,):
        raise ValueError(
            f"aggregate was given a Jacobian of {t} tasks and losses of shape "
            f"{losses.shape}; give one loss a task"
        )
    key = jax.random.key(0) if key is None else key
    if state is None:
        state = method.init(t, jnp.zeros_like(jacobian[0]))
    update = jax.jit(method.update)  # compiled once a method and shape
    if isinstance(method, base.LossWeighting):
        weights, state = update(losses, state, key=key, **extra)
    elif isinstance(method, base.GramianWeighting):
        gramian = tree.gramian(jacobian)
        weights, state = update(gramian, state, losses=losses, key=key, **extra)
    else:
        direction, _, state = update(jacobian, state, losses=losses, key=key, **extra)
        return Aggregation(direction, None, state)
    return Aggregation(tree.combine(weights, jacobian), weights, state)


def _floating(array: Any) -> Array:
    """An array of floating numbers; integers would truncate the weights."""
    array = jnp.asarray(array)
    if jnp.issubdtype(array.dtype, jnp.inexact):
        return array
    return array.astype(base.state_dtype())

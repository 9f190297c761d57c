"""What a method makes of a forward pass: the direction and the weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.engine import forward
from mtl_jax.engine.collectives import Reduce
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base


class Decision(NamedTuple):
    """The step of the shared parameters, and how much each task counts."""

    direction: PyTree  # of the shared parameters, summed over the devices
    heads: Array  # [T], weights of the task-specific parameters
    weights: Array  # [T]
    state: Any
    gramian: Array | None = None
    held: Array | None = None  # [] bool, the Gramian was not made in this step


def from_losses(
    method: base.LossWeighting,
    passed: forward.Pass,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> Decision:
    """One backward pass of the trunk, and heads with weights of their own."""
    batch = passed.batch
    weights, state = method.update(
        batch.losses, state, mask=batch.present, kpi=batch.kpi, **extra
    )
    weights = jnp.where(batch.present, weights, 0)
    heads = base.head_weights(method.weigh_heads, weights, state)
    return Decision(_weighted(passed, weights, reduce), heads, weights, state)


def at_parameters(
    method: base.GramianWeighting | base.GradientAggregator,
    passed: forward.Pass,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> Decision:
    """T backward passes of the trunk, and the method on their result."""
    batch = passed.batch
    if isinstance(method, base.GradientAggregator):
        jacobian = reduce.sum(jax.vmap(passed.trunk_vjp)(passed.cotangents))
        direction, heads, state = method.update(
            jacobian,
            state,
            losses=batch.losses,
            mask=batch.present,
            kpi=batch.kpi,
            **extra,
        )
        return Decision(direction, heads, heads, state)

    def look(state: Any) -> Decision:
        jacobian = reduce.sum(jax.vmap(passed.trunk_vjp)(passed.cotangents))
        if method.where is None:
            gramian = tree.gramian(jacobian)
        else:
            gramian = tree.gramian(method.where(jacobian))
        weights, heads, state = _weigh(method, gramian, batch, state, extra)
        if method.where is None:
            direction = tree.combine(weights, jacobian)
        else:  # one more backward pass, and the rest of the Jacobian is never made
            direction = _weighted(passed, weights, reduce)
        return Decision(direction, heads, weights, state, gramian, jnp.array(False))

    return _or_hold(method, look, passed, state, reduce)


def at_representation(
    method: base.GramianWeighting | base.GradientAggregator,
    passed: forward.Pass,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> Decision:
    """The method on the cotangents at the representation, then one trunk traversal."""
    cotangents, batch = passed.cotangents, passed.batch
    if isinstance(method, base.GradientAggregator):
        whole, heads, state = method.update(
            reduce.gather(cotangents, axis=1),
            state,
            losses=batch.losses,
            mask=batch.present,
            kpi=batch.kpi,
            primal=reduce.gather(passed.representation, axis=0),
            **extra,
        )
        at_z = reduce.own_part(whole, passed.representation)
        direction = reduce.sum(passed.trunk_vjp(at_z))
        return Decision(direction, heads, heads, state)

    def look(state: Any) -> Decision:
        # The rows of different devices are different coordinates of one gradient.
        gramian = reduce.sum(tree.gramian(cotangents))
        weights, heads, state = _weigh(method, gramian, batch, state, extra)
        direction = _weighted(passed, weights, reduce)
        return Decision(direction, heads, weights, state, gramian, jnp.array(False))

    return _or_hold(method, look, passed, state, reduce)


def from_samples(
    method: base.GramianWeighting | base.GradientAggregator,
    passes: Sequence[forward.Pass],
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> Decision:
    """Weights from the products of two samples' gradients, applied to the last one's.

    (The square of a noisy gradient is biased; the product of two independent ones is
    not.)
    """
    assert isinstance(method, base.GramianWeighting)
    batch = forward.mean_over_samples([p.batch for p in passes])

    def look(state: Any) -> Decision:
        one, two = (reduce.sum(jax.vmap(p.trunk_vjp)(p.cotangents)) for p in passes[:2])
        if method.where is not None:
            one, two = method.where(one), method.where(two)
        gramian = tree.cross_gramian(one, two)
        weights, heads, state = _weigh(method, gramian, batch, state, extra)
        direction = _weighted(passes[-1], weights, reduce)
        return Decision(direction, heads, weights, state, gramian, jnp.array(False))

    return _or_hold(method, look, passes[-1], state, reduce)


def _or_hold(
    method: base.GramianWeighting,
    look: Any,
    passed: forward.Pass,
    state: Any,
    reduce: Reduce,
) -> Decision:
    """`look(state)`, or on the steps between the weights that the method holds."""
    if method.hold is None:
        return look(state)
    t = passed.batch.losses.shape[0]
    held = method.hold(state)

    def again(_: Any) -> Decision:
        weights = jnp.where(passed.batch.present, held.weights, 0)
        dtype = passed.batch.losses.dtype
        return Decision(
            direction=_weighted(passed, weights, reduce),
            heads=base.head_weights(method.weigh_heads, weights, held.state),
            weights=weights,
            state=held.state,
            gramian=jnp.full((t, t), jnp.nan, dtype),
            held=jnp.array(True),
        )

    return jax.lax.cond(held.due, look, again, state)


def _weigh(
    method: base.GramianWeighting,
    gramian: Array,
    batch: forward.Means,
    state: Any,
    extra: dict[str, Any],
) -> tuple[Array, Array, Any]:
    """Weights of the tasks, weights of the heads, state."""
    weights, state = method.update(
        gramian, state, losses=batch.losses, mask=batch.present, kpi=batch.kpi, **extra
    )
    weights = jnp.where(batch.present, weights, 0)
    heads = base.head_weights(method.weigh_heads, weights, state)
    return weights, jnp.where(batch.present, heads, 0), state


def _weighted(passed: forward.Pass, weights: Array, reduce: Reduce) -> PyTree:
    """The gradient of the weighted loss with respect to the shared parameters."""
    return reduce.sum(passed.trunk_vjp(tree.combine(weights, passed.cotangents)))

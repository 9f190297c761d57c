"""What a method makes of a forward pass: the direction and the weights."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.engine import forward
from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.convolutions import fast_in_loops
from mtl_jax.engine.gramian import routes
from mtl_jax.engine.gramian.trunk import each_task
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base


class How(NamedTuple):
    """How the statistics are computed; they do not depend on it."""

    gramian: str = "auto"  # one of `routes.ROUTES`
    chunk: int | None = None  # tasks whose cotangents are computed at once
    key: Array | None = None  # of this step, for a Gramian that is estimated


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
    weights, heads = _of_present(method, weights, state, batch)
    return Decision(_weighted(passed, weights, reduce), heads, weights, state)


def at_parameters(
    method: base.GramianWeighting | base.GradientAggregator,
    passed: forward.Pass,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
    how: How,
) -> Decision:
    """T backward passes of the trunk or less, and the method on their result."""
    batch = passed.batch
    if isinstance(method, base.GradientAggregator):
        rows = each_task(passed.trunk.vjp, passed.cotangents, how.chunk)
        jacobian = reduce.sum(rows)
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
        gramian, jacobian = _gramian(method, [passed], reduce, how)
        weights, heads, state = _weigh(method, gramian, batch, state, extra)
        if jacobian is not None:
            direction = tree.combine(weights, jacobian)
        else:  # one more backward pass
            direction = _weighted(passed, weights, reduce)
        return Decision(direction, heads, weights, state, gramian, jnp.array(False))

    return _or_hold(method, look, passed, batch, state, reduce)


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
        direction = reduce.sum(passed.trunk.vjp(at_z))
        return Decision(direction, heads, heads, state)

    def look(state: Any) -> Decision:
        # The rows of different devices are different coordinates of one gradient.
        gramian = reduce.sum(tree.gramian(cotangents))
        weights, heads, state = _weigh(method, gramian, batch, state, extra)
        direction = _weighted(passed, weights, reduce)
        return Decision(direction, heads, weights, state, gramian, jnp.array(False))

    return _or_hold(method, look, passed, batch, state, reduce)


def from_samples(
    method: base.GramianWeighting | base.GradientAggregator,
    passes: Sequence[forward.Pass],
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
    how: How,
) -> Decision:
    """Weights from the products of two samples' gradients, applied to the last one's.

    (The square of a noisy gradient is biased; the product of two independent ones is
    not.)
    """
    assert isinstance(method, base.GramianWeighting)
    batch = forward.mean_over_samples([p.batch for p in passes])

    def look(state: Any) -> Decision:
        gramian = _gramian(method, passes[:2], reduce, how).gramian
        # A task may be absent from one part of the batch alone, and counts as absent.
        both = batch.present[:, None] & batch.present[None, :]
        gramian = jnp.where(both, gramian, 0)
        weights, heads, state = _weigh(method, gramian, batch, state, extra)
        direction = _weighted(passes[-1], weights, reduce)
        return Decision(direction, heads, weights, state, gramian, jnp.array(False))

    return _or_hold(method, look, passes[-1], batch, state, reduce)


def _or_hold(
    method: base.GramianWeighting,
    look: Any,
    passed: forward.Pass,
    batch: forward.Means,
    state: Any,
    reduce: Reduce,
) -> Decision:
    """`look(state)`, or on the steps between the weights that the method holds."""
    if method.hold is None:
        return look(state)
    t = batch.losses.shape[0]
    held = method.hold(state)

    def again(_: Any) -> Decision:
        weights, heads = _of_present(method, held.weights, held.state, batch)
        gramian = jnp.full((t, t), jnp.nan)
        direction = _weighted(passed, weights, reduce)
        return like_losses(
            Decision(direction, heads, weights, held.state, gramian, jnp.array(True))
        )

    def like_losses(decision: Decision) -> Decision:
        """The same dtypes on both sides, whatever methods and states have."""
        assert decision.gramian is not None
        dtype = batch.losses.dtype
        return decision._replace(
            heads=decision.heads.astype(dtype),
            weights=decision.weights.astype(dtype),
            gramian=decision.gramian.astype(dtype),
        )

    branches = fast_in_loops(lambda s: like_losses(look(s))), fast_in_loops(again)
    return jax.lax.cond(held.due, *branches, state)


def _gramian(
    method: base.GramianWeighting,
    passes: Sequence[forward.Pass],
    reduce: Reduce,
    how: How,
) -> routes.Made:
    """Over the shared parameters, or the part of them that the method looks at."""
    samples = [routes.Samples(p.trunk, p.cotangents) for p in passes]
    return routes.gramian(how.gramian, samples, method, reduce, how.chunk, how.key)


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
    weights, heads = _of_present(method, weights, state, batch)
    return weights, heads, state


def _of_present(
    method: base.LossWeighting | base.GramianWeighting,
    weights: Array,
    state: Any,
    batch: forward.Means,
) -> tuple[Array, Array]:
    """Weights of the tasks and of the heads, zero for absent tasks."""
    weights = jnp.where(batch.present, weights, 0)
    heads = base.head_weights(method.weigh_heads, weights, state)
    return weights, jnp.where(batch.present, heads, 0)


def _weighted(passed: forward.Pass, weights: Array, reduce: Reduce) -> PyTree:
    """The gradient of the weighted loss with respect to the shared parameters."""
    return reduce.sum(passed.trunk.vjp(tree.combine(weights, passed.cotangents)))

"""From a loss function and a method to gradients.

The only place with a VJP over tasks. Any function `losses_fn(shared, specific)` works,
whatever the model is written in. A model with a representation gives the two halves as
`SplitLosses`; the heads are then differentiated once instead of T times, and the
statistics of a method can be taken at the representation, where the trunk is traversed
once for any T.

Under data parallelism (`axis_name`) each device holds a part of the batch. Task
losses are sums over examples divided by the number of labelled examples on all
devices, and the gradients are summed over the devices before any Gramian is formed:
the Gramian of the means is not the mean of the Gramians.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.engine import forward
from mtl_jax.engine import losses as losses_module
from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.losses import SplitLosses
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base


class Gradients(NamedTuple):
    """What one step needs to know."""

    shared: PyTree  # like the shared parameters
    specific: PyTree  # like the task-specific parameters
    losses: Array  # [T] float32, of the whole batch
    weights: Array  # [T] float32; of the heads, for a `GradientAggregator`
    present: Array  # [T] bool, the task has a label in this batch
    state: Any  # of the method
    collections: PyTree  # new mutable state of the model
    gramian: Array | None  # [T, T] where the method made it needed
    finite: Array  # [] bool; false: these gradients must not reach the parameters


def gradients(
    method: base.Method,
    losses_fn: Callable[..., Any] | SplitLosses,
    shared: PyTree,
    specific: PyTree,
    state: Any,
    *,
    key: Array | None = None,
    at: str = "parameters",
    axis_name: str | None = None,
    epoch: Array | None = None,
    step: Array | None = None,
) -> Gradients:
    """Differentiate the losses and let the method weigh them.

    Args:
        method: of any kind.
        losses_fn: `(shared, specific) -> losses [T]` or a `TaskLosses`, or a
            `SplitLosses`.
        shared: parameters that several losses depend on.
        specific: parameters of one task each.
        state: of the method.
        key: PRNG key of the method, the same on all devices.
        at: where the statistics of a Gramian or Jacobian method are taken:
            "parameters" (of the trunk) or "representation" (its output).
        axis_name: the data-parallel axis, under `pmap`.
        epoch: `[]` int32, for methods that look at epochs.
        step: `[]` int32.

    Returns:
        The gradients and all that came with them, equal on all devices.

    Raises:
        ValueError: `at` unknown, or "representation" for a loss function that is not
            split.

    Example:
        >>> from mtl_jax.weighting import make
        >>> losses_fn = lambda shared, specific: jnp.stack([
        ...     (shared - 1.0) ** 2 + specific["a"] ** 2,
        ...     (shared + 3.0) ** 2 + specific["b"] ** 2])
        >>> method = make("mgda")
        >>> heads = {"a": jnp.array(1.0), "b": jnp.array(1.0)}
        >>> out = gradients(method, losses_fn, jnp.array(0.0), heads, method.init(2))
        >>> float(out.shared), out.losses.tolist()
        (0.0, [2.0, 10.0])
    """
    if at not in ("parameters", "representation"):
        raise ValueError(
            f"statistics at {at!r} were asked for; the places are 'parameters' and "
            "'representation'"
        )
    split = isinstance(losses_fn, SplitLosses)
    if (
        at == "representation"
        and not split
        and not isinstance(method, base.LossWeighting)
    ):
        raise ValueError(
            "at='representation' was asked for, but this loss function has no single "
            "shared representation: it is not a SplitLosses(encode, losses). Use "
            "at='parameters', which works with every method, or a method that sees "
            "the losses alone"
        )
    reduce = Reduce(axis_name)
    extra = {"key": key, "epoch": epoch, "step": step}
    if isinstance(method, base.LossWeighting):
        return _one_backward(method, losses_fn, shared, specific, state, reduce, extra)
    if isinstance(losses_fn, SplitLosses):
        passed = forward.split(losses_fn, shared, specific, reduce)
    else:
        passed = forward.whole(losses_fn, shared, specific, reduce)
    decide = _at_parameters if at == "parameters" else _at_representation
    decision = decide(method, passed, state, reduce, extra)
    specific_grads = reduce.sum(passed.heads_vjp(decision.heads))
    return _finish(decision, specific_grads, passed.batch, passed.collections)


def evaluate_losses(
    losses_fn: Callable[..., Any] | SplitLosses,
    shared: PyTree,
    specific: PyTree,
    *,
    axis_name: str | None = None,
) -> Array:
    """The losses `[T]` of the whole batch, without gradients."""
    function = losses_module.whole_function(losses_fn)
    out = losses_module.as_task_losses(function(shared, specific))
    return forward.means(out.sums, out.counts, Reduce(axis_name)).losses


class _Decision(NamedTuple):
    """What a method made of its statistic."""

    direction: PyTree  # of the shared parameters, summed over the devices
    heads: Array  # [T], weights of the task-specific parameters
    weights: Array  # [T]
    state: Any
    gramian: Array | None


def _one_backward(
    method: base.LossWeighting,
    losses_fn: Callable[..., Any] | SplitLosses,
    shared: PyTree,
    specific: PyTree,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> Gradients:
    """The losses choose the weights in the same forward pass."""
    function = losses_module.whole_function(losses_fn)

    def weighted_loss(shared: PyTree, specific: PyTree) -> tuple[Array, Any]:
        out = losses_module.as_task_losses(function(shared, specific))
        batch = forward.means(jax.lax.stop_gradient(out.sums), out.counts, reduce)
        weights, new_state = method.update(
            batch.losses, state, mask=batch.present, **extra
        )
        weights = jax.lax.stop_gradient(jnp.where(batch.present, weights, 0))
        # This device's part of Σ_t w_t L_t; the parts are summed after the pass.
        local = jnp.sum(weights * batch.inverse * out.sums)
        return local, (batch, weights, new_state, out.collections)

    (_, aux), grads = jax.value_and_grad(weighted_loss, argnums=(0, 1), has_aux=True)(
        shared, specific
    )
    batch, weights, new_state, collections = aux
    shared_grads, specific_grads = reduce.sum(grads)
    decision = _Decision(shared_grads, weights, weights, new_state, None)
    return _finish(decision, specific_grads, batch, collections)


def _at_parameters(
    method: base.GramianWeighting | base.GradientAggregator,
    passed: forward.Pass,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> _Decision:
    """T backward passes of the trunk, and the method on their result."""
    jacobian = reduce.sum(jax.vmap(passed.trunk_vjp)(passed.cotangents))
    if isinstance(method, base.GramianWeighting):
        gramian = tree.gramian(jacobian)
        weights, heads, state = _weigh(method, gramian, passed.batch, state, extra)
        return _Decision(
            tree.combine(weights, jacobian), heads, weights, state, gramian
        )
    batch = passed.batch
    direction, heads, state = method.update(
        jacobian, state, losses=batch.losses, mask=batch.present, **extra
    )
    return _Decision(direction, heads, heads, state, None)


def _at_representation(
    method: base.GramianWeighting | base.GradientAggregator,
    passed: forward.Pass,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> _Decision:
    """The method on the cotangents at the representation, then one trunk traversal."""
    cotangents, batch = passed.cotangents, passed.batch
    if isinstance(method, base.GramianWeighting):
        # The rows of different devices are different coordinates of one gradient.
        gramian = reduce.sum(tree.gramian(cotangents))
        weights, heads, state = _weigh(method, gramian, batch, state, extra)
        at_z = tree.combine(weights, cotangents)
    else:
        whole, heads, state = method.update(
            reduce.gather(cotangents, axis=1),
            state,
            losses=batch.losses,
            mask=batch.present,
            primal=reduce.gather(passed.representation, axis=0),
            **extra,
        )
        at_z = reduce.own_part(whole, passed.representation)
        weights, gramian = heads, None
    direction = reduce.sum(passed.trunk_vjp(at_z))
    return _Decision(direction, heads, weights, state, gramian)


def _weigh(
    method: base.GramianWeighting,
    gramian: Array,
    batch: forward.Means,
    state: Any,
    extra: dict[str, Any],
) -> tuple[Array, Array, Any]:
    """Weights of the tasks, weights of the heads, state."""
    weights, state = method.update(
        gramian, state, losses=batch.losses, mask=batch.present, **extra
    )
    weights = jnp.where(batch.present, weights, 0)
    return weights, weights if method.weigh_heads else jnp.ones_like(weights), state


def _finish(
    decision: _Decision,
    specific_grads: PyTree,
    batch: forward.Means,
    collections: PyTree,
) -> Gradients:
    return Gradients(
        shared=decision.direction,
        specific=specific_grads,
        losses=batch.losses,
        weights=decision.weights,
        present=batch.present,
        state=decision.state,
        collections=collections,
        gramian=decision.gramian,
        finite=tree.all_finite(
            (batch.losses, decision._replace(state=None), specific_grads)
        ),
    )

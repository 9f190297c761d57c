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
from mtl_jax.engine import losses as losses_module
from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.losses import (
    SplitLosses,
    as_encoded,
    as_task_losses,
    inverse_of,
    mean,
)
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
        return _split(method, losses_fn, shared, specific, state, reduce, extra, at)
    return _whole(method, losses_fn, shared, specific, state, reduce, extra)


def evaluate_losses(
    losses_fn: Callable[..., Any] | SplitLosses,
    shared: PyTree,
    specific: PyTree,
    *,
    axis_name: str | None = None,
) -> Array:
    """The losses `[T]` of the whole batch, without gradients."""
    reduce = Reduce(axis_name)
    out = as_task_losses(losses_module.whole_function(losses_fn)(shared, specific))
    return mean(reduce.sum(out.sums), reduce.sum(out.counts))


def _finish(
    shared: PyTree,
    specific: PyTree,
    losses: Array,
    weights: Array,
    present: Array,
    state: Any,
    collections: PyTree,
    gramian: Array | None = None,
) -> Gradients:
    finite = tree.all_finite((losses, weights, gramian, shared, specific))
    return Gradients(
        shared, specific, losses, weights, present, state, collections, gramian, finite
    )


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
        out = as_task_losses(function(shared, specific))
        counts = reduce.sum(out.counts)
        losses = mean(reduce.sum(jax.lax.stop_gradient(out.sums)), counts)
        present = counts > 0
        weights, new_state = method.update(losses, state, mask=present, **extra)
        weights = jax.lax.stop_gradient(jnp.where(present, weights, 0))
        # This device's part of Σ_t w_t L_t; the parts are summed after the pass.
        local = jnp.sum(weights * inverse_of(counts) * out.sums)
        return local, (losses, weights, present, new_state, out.collections)

    (_, aux), (shared_grads, specific_grads) = jax.value_and_grad(
        weighted_loss, argnums=(0, 1), has_aux=True
    )(shared, specific)
    losses, weights, present, new_state, collections = aux
    return _finish(
        reduce.sum(shared_grads),
        reduce.sum(specific_grads),
        losses,
        weights,
        present,
        new_state,
        collections,
    )


def _whole(
    method: base.GramianWeighting | base.GradientAggregator,
    losses_fn: Callable[..., Any],
    shared: PyTree,
    specific: PyTree,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
) -> Gradients:
    """Task gradients of a loss function that is not split: T whole backward passes."""

    def sums(shared: PyTree, specific: PyTree) -> tuple[Array, Any]:
        out = as_task_losses(losses_fn(shared, specific))
        return out.sums, (out.counts, out.collections)

    local, vjp, (counts, collections) = jax.vjp(sums, shared, specific, has_aux=True)
    counts = reduce.sum(counts)
    losses, present = mean(reduce.sum(local), counts), counts > 0
    inverse = inverse_of(counts)
    jacobian = reduce.sum(jax.vmap(lambda c: vjp(c)[0])(jnp.diag(inverse)))
    direction, heads, weights, state, gramian = _decide(
        method, jacobian, losses, present, state, extra
    )
    specific_grads = reduce.sum(vjp(heads * inverse)[1])
    return _finish(
        direction,
        specific_grads,
        losses,
        weights,
        present,
        state,
        collections,
        gramian,
    )


def _split(
    method: base.GramianWeighting | base.GradientAggregator,
    losses_fn: SplitLosses,
    shared: PyTree,
    specific: PyTree,
    state: Any,
    reduce: Reduce,
    extra: dict[str, Any],
    at: str,
) -> Gradients:
    """Task gradients of a split loss function: heads once, then the trunk."""

    def encode(shared: PyTree) -> tuple[PyTree, PyTree]:
        encoded = as_encoded(losses_fn.encode(shared))
        return encoded.representation, encoded.collections

    def head_sums(specific: PyTree, zs: tuple[PyTree, ...]) -> tuple[Array, Any]:
        out = as_task_losses(losses_fn.losses(specific, zs))
        return out.sums, (out.counts, out.collections)

    z, trunk_vjp, trunk_collections = jax.vjp(encode, shared, has_aux=True)
    zs = (z,) * losses_fn.num_tasks
    local, head_vjp, aux = jax.vjp(head_sums, specific, zs, has_aux=True)
    counts, head_collections = aux
    counts = reduce.sum(counts)
    losses, present = mean(reduce.sum(local), counts), counts > 0
    inverse = inverse_of(counts)
    # One backward pass of the heads gives the cotangents of all tasks at z.
    cotangents = jax.tree.map(lambda *rows: jnp.stack(rows), *head_vjp(inverse)[1])

    if at == "parameters":
        jacobian = reduce.sum(jax.vmap(lambda c: trunk_vjp(c)[0])(cotangents))
        direction, heads, weights, state, gramian = _decide(
            method, jacobian, losses, present, state, extra
        )
    elif isinstance(method, base.GramianWeighting):
        # The rows of different devices are different coordinates of one gradient.
        gramian = reduce.sum(tree.gramian(cotangents))
        weights, state = _weigh(method, gramian, losses, present, state, extra)
        heads = weights if method.weigh_heads else present.astype(weights.dtype)
        direction = reduce.sum(trunk_vjp(tree.combine(weights, cotangents))[0])
    else:
        whole, heads, state = method.update(
            reduce.gather(cotangents, axis=1),
            state,
            losses=losses,
            mask=present,
            primal=reduce.gather(z, axis=0),
            **extra,
        )
        weights, gramian = heads, None
        direction = reduce.sum(trunk_vjp(reduce.own_part(whole, z))[0])

    specific_grads = reduce.sum(head_vjp(heads * inverse)[0])
    return _finish(
        direction,
        specific_grads,
        losses,
        weights,
        present,
        state,
        (trunk_collections, head_collections),
        gramian,
    )


def _weigh(
    method: base.GramianWeighting,
    gramian: Array,
    losses: Array,
    present: Array,
    state: Any,
    extra: dict[str, Any],
) -> tuple[Array, Any]:
    weights, state = method.update(gramian, state, losses=losses, mask=present, **extra)
    return jnp.where(present, weights, 0), state


def _decide(
    method: base.GramianWeighting | base.GradientAggregator,
    jacobian: PyTree,
    losses: Array,
    present: Array,
    state: Any,
    extra: dict[str, Any],
) -> tuple[PyTree, Array, Array, Any, Array | None]:
    """Direction, head weights, task weights, state and Gramian of a whole Jacobian."""
    if isinstance(method, base.GramianWeighting):
        gramian = tree.gramian(jacobian)
        weights, state = _weigh(method, gramian, losses, present, state, extra)
        heads = weights if method.weigh_heads else present.astype(weights.dtype)
        return tree.combine(weights, jacobian), heads, weights, state, gramian
    direction, heads, state = method.update(
        jacobian, state, losses=losses, mask=present, **extra
    )
    return direction, heads, heads, state, None

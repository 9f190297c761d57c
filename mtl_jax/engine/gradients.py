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

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.engine import decide, forward
from mtl_jax.engine import losses as losses_module
from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.gramian import routes
from mtl_jax.engine.losses import SplitLosses
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base

LossFunction: TypeAlias = Callable[..., Any] | SplitLosses


class Gradients(NamedTuple):
    """What one step needs to know."""

    shared: PyTree  # like the shared parameters
    specific: PyTree  # like the task-specific parameters
    losses: Array  # [T] float32, of the whole batch
    weights: Array  # [T] float32; of the heads, for a `GradientAggregator`
    present: Array  # [T] bool, the task has a label in this batch
    state: Any  # of the method
    collections: PyTree  # new mutable state of the model
    gramian: Array | None  # [T, T] where the method made it needed; NaN where a step
    # went without
    finite: Array  # [] bool; false: these gradients must not reach the parameters
    held: Array | None = None  # [] bool; true: the method used weights that it had


def gradients(
    method: base.Method,
    losses_fn: LossFunction | Sequence[LossFunction],
    shared: PyTree,
    specific: PyTree,
    state: Any,
    *,
    key: Array | None = None,
    at: str = "parameters",
    gramian: str = "auto",
    task_chunk: int | None = None,
    axis_name: str | None = None,
    epoch: Array | None = None,
    step: Array | None = None,
) -> Gradients:
    """Differentiate the losses and let the method weigh them.

    Args:
        method: of any kind.
        losses_fn: `(shared, specific) -> losses [T]` or a `TaskLosses`, or a
            `SplitLosses`. For a method of `num_samples` S, S of them, each over its
            own part of the batch.
        shared: parameters that several losses depend on.
        specific: parameters of one task each.
        state: of the method.
        key: PRNG key of the method, the same on all devices.
        at: where the statistics of a Gramian or Jacobian method are taken:
            "parameters" (of the trunk) or "representation" (its output).
        gramian: the way to the Gramian, one of `engine.ROUTES`; all are equal to
            rounding. "auto" chooses for every layer by what it costs.
        task_chunk: how many of the T cotangents are pulled back at once. Fewer take
            less memory. `None`: all, or, layer by layer on a CPU, as many as suit its
            cache.
        axis_name: the data-parallel axis, under `pmap`.
        epoch: `[]` int32, for methods that look at epochs.
        step: `[]` int32.

    Returns:
        The gradients and all that came with them, equal on all devices.

    Raises:
        ValueError: `at` unknown, or "representation" for a loss function that is not
            split or a method that has no meaning there; another number of loss
            functions than the method has samples.
        TypeError: a bilevel method.

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
    if isinstance(method, base.BilevelWeighting):
        raise TypeError(
            "a bilevel method needs losses on validation data too: use "
            "engine.bilevel_gradients, or train.make_bilevel_step"
        )
    parts = _parts(losses_fn)
    samples = getattr(method, "num_samples", 1)
    if len(parts) != samples:
        raise ValueError(
            f"this method needs {samples} independent samples and was given "
            f"{len(parts)} loss functions; give one a sample, each over its own part "
            "of the batch (make_train_step cuts the batch itself)"
        )
    _check_place(method, at, parts)
    routes.check_route(gramian, task_chunk)
    reduce = Reduce(axis_name)
    extra = {"key": key, "epoch": epoch, "step": step}
    if isinstance(method, base.LossWeighting) and method.weigh_heads is True:
        return _one_backward(method, parts[0], shared, specific, state, reduce, extra)
    of_sketch = None if key is None else jax.random.fold_in(key, 1)
    how = decide.How(gramian, task_chunk, of_sketch)
    apart = (
        isinstance(method, base.GramianWeighting)
        and at == "parameters"
        and method.sketch is None
        and routes.takes_apart(gramian)
    )
    passes = [
        forward.run(part, shared, specific, reduce, apart=apart) for part in parts
    ]
    first = passes[0]
    if isinstance(method, base.LossWeighting):
        decision = decide.from_losses(method, first, state, reduce, extra)
    elif len(passes) > 1:
        decision = decide.from_samples(method, passes, state, reduce, extra, how)
    elif at == "representation":
        decision = decide.at_representation(method, first, state, reduce, extra)
    else:
        decision = decide.at_parameters(method, first, state, reduce, extra, how)
    return _finish(
        decision,
        _heads(decision.heads, passes, reduce),
        forward.mean_over_samples([p.batch for p in passes]),
        passes[-1].collections,
    )


def evaluate_losses(
    losses_fn: LossFunction | Sequence[LossFunction],
    shared: PyTree,
    specific: PyTree,
    *,
    axis_name: str | None = None,
) -> Array:
    """The losses `[T]` of the whole batch, without gradients."""

    def one(part: LossFunction) -> forward.Means:
        out = losses_module.as_task_losses(
            losses_module.whole_function(part)(shared, specific)
        )
        return forward.means(out.sums, out.counts, Reduce(axis_name))

    return forward.mean_over_samples([one(p) for p in _parts(losses_fn)]).losses


def _parts(losses_fn: LossFunction | Sequence[LossFunction]) -> list[LossFunction]:
    # A SplitLosses is a tuple too.
    several = isinstance(losses_fn, list | tuple) and not isinstance(
        losses_fn, SplitLosses
    )
    return list(losses_fn) if several else [losses_fn]  # type: ignore[arg-type, list-item]


def _check_place(method: base.Method, at: str, parts: Sequence[LossFunction]) -> None:
    if at not in ("parameters", "representation"):
        raise ValueError(
            f"statistics at {at!r} were asked for; the places are 'parameters' and "
            "'representation'"
        )
    if at == "parameters" or isinstance(method, base.LossWeighting):
        return
    why = None
    if not isinstance(parts[0], SplitLosses):
        why = getattr(parts[0], "no_representation", None) or (
            "this loss function has no single shared representation: it is not a "
            "SplitLosses(encode, losses)"
        )
    elif len(parts) > 1:
        why = (
            "this method compares gradients of different examples, which have no "
            "representation in common"
        )
    elif isinstance(method, base.GradientAggregator) and not method.at_representation:
        why = (
            "this method remembers gradients from step to step, or tells parameters "
            "apart, and the representation is another variable for every batch"
        )
    elif isinstance(method, base.GramianWeighting) and method.where is not None:
        why = "this method looks at a part of the shared parameters"
    elif isinstance(method, base.GramianWeighting) and method.sketch is not None:
        why = "sketch(…) estimates the Gramian of the parameters"
    if why is not None:
        raise ValueError(
            f"at='representation' was asked for, but {why}. Use at='parameters', which "
            "works with every method, or a method that sees the losses alone"
        )


def _one_backward(
    method: base.LossWeighting,
    losses_fn: LossFunction,
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
        sums = jax.lax.stop_gradient(out.sums)
        batch = forward.means(sums, out.counts, reduce, out.kpi)
        weights, new_state = method.update(
            batch.losses, state, mask=batch.present, kpi=batch.kpi, **extra
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
    decision = decide.Decision(shared_grads, weights, weights, new_state)
    return _finish(decision, specific_grads, batch, collections)


def _heads(weights: Array, passes: Sequence[forward.Pass], reduce: Reduce) -> PyTree:
    """The gradients of the task-specific parameters, over all parts of the batch."""
    grads = [p.heads_vjp(weights) for p in passes]
    mean = jax.tree.map(lambda *parts: sum(parts) / len(parts), *grads)
    return reduce.sum(mean)


def _finish(
    decision: decide.Decision,
    specific_grads: PyTree,
    batch: forward.Means,
    collections: PyTree,
) -> Gradients:
    checked = decision._replace(state=None, gramian=None, held=None)
    finite = tree.all_finite((batch.losses, checked, specific_grads))
    if decision.gramian is not None and decision.held is not None:
        finite &= tree.all_finite(decision.gramian) | decision.held
    return Gradients(
        shared=decision.direction,
        specific=specific_grads,
        losses=batch.losses,
        weights=decision.weights,
        present=batch.present,
        state=decision.state,
        collections=collections,
        gramian=decision.gramian,
        finite=finite,
        held=decision.held,
    )

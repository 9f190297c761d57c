"""The training step: one pure function, compiled."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtl_jax import engine, tree
from mtl_jax import parallel as data_parallel
from mtl_jax.train.state import Totals, TrainState
from mtl_jax.typing import Array, Batch, PyTree
from mtl_jax.weighting import base


class StepOutput(NamedTuple):
    """What a step tells, beside the new state; equal on all devices."""

    losses: Array  # [T] float32, before the update; 0 for a task without labels
    weights: Array  # [T] float32; of the heads, for a `GradientAggregator`
    present: Array  # [T] bool
    gramian: Array | None  # [T, T] for a `GramianWeighting`
    solver: base.SolverReport | None  # of this step, where the method has a solver
    finite: Array  # [] bool; false: the step was skipped
    skipped: Array  # [] int32, skipped steps so far
    skipped_in_a_row: Array  # [] int32


def make_train_step(
    losses_fn: Callable[..., Any] | engine.SplitLosses,
    method: base.Method,
    optimizer: optax.GradientTransformation,
    *,
    at: str = "parameters",
    parallel: str = "auto",
    devices: Sequence[Any] | None = None,
    steps_per_epoch: int | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepOutput]]:
    """Build the compiled step `(state, batch) -> (state, output)`.

    The losses of the batch are differentiated as the method needs, the optimizer moves
    the parameters, a method that observes sees the losses after the update. Where a
    loss, weight, gradient, Gramian, updated parameter or state is not finite, nothing
    but the step number and the counters changes.

    Args:
        losses_fn: `losses_fn(shared, specific, batch) -> losses [T]`, or a
            `TaskLosses`. It also gets those of the keywords `key` (PRNG key, another
            one each step and device), `collections` (mutable state of the model) and
            `axis_name` that its signature names. Or a `SplitLosses` of two such
            functions, `encode(shared, batch)` and
            `losses(specific, representations, batch)`, whose `collections` are a pair.
            Means over masked examples must be a `TaskLosses` of sums and counts: with
            several devices, the mean of the devices' masked means is another number.
        method: the weighting method.
        optimizer: of the pair `(shared, specific)`.
        at: "parameters" or "representation", where Gramians and Jacobians are taken.
        parallel: "auto", "jit" or "pmap"; see `mtl_jax.parallel.resolve`.
        devices: default: all local ones.
        steps_per_epoch: for methods that look at epochs; without it they get
            `epoch=None`.

    Returns:
        The step. Its state argument is donated: use the returned one.

    Raises:
        ValueError: an unknown place or way to run; when called, a batch that does not
            divide by the number of devices, or what the loss function raises.

    Example:
        >>> from mtl_jax import train
        >>> from mtl_jax.weighting import make
        >>> def losses_fn(shared, specific, batch):
        ...     return jnp.stack([jnp.mean((batch["x"] * shared - 1) ** 2),
        ...                       jnp.mean((batch["x"] * shared + 1) ** 2)])
        >>> method, optimizer = make("equal"), optax.sgd(0.1)
        >>> step = make_train_step(losses_fn, method, optimizer, parallel="jit")
        >>> state = train.create(jnp.array(1.0), {}, method=method,
        ...                      optimizer=optimizer, num_tasks=2)
        >>> state, output = step(state, {"x": jnp.ones(4)})
        >>> output.losses.tolist(), round(float(state.shared), 6)
        ([0.0, 4.0], 0.6)
    """
    if method.needs_epoch and steps_per_epoch is None:
        raise ValueError(
            "this method counts epochs, and steps_per_epoch is not given; pass "
            "make_train_step(…, steps_per_epoch=…) (1 makes every step an epoch)"
        )
    samples = getattr(method, "num_samples", 1)
    devices = data_parallel.resolve(parallel, devices)
    optimizer = optax.with_extra_args_support(optimizer)

    def step(
        state: TrainState, batch: Batch, axis_name: str | None
    ) -> tuple[TrainState, StepOutput]:
        method_key, model_key = jax.random.split(
            jax.random.fold_in(state.key, state.step)
        )
        if axis_name is not None:
            index = jax.lax.axis_index(axis_name)
            model_key = jax.random.fold_in(model_key, index)
        parts = [
            bind(
                losses_fn,
                part,
                key=model_key if samples == 1 else jax.random.fold_in(model_key, i),
                collections=state.collections,
                axis_name=axis_name,
            )
            for i, part in enumerate(cut(batch, samples))
        ]
        epoch = None if steps_per_epoch is None else state.step // steps_per_epoch
        new = engine.gradients(
            method,
            parts,
            state.shared,
            state.specific,
            state.weighting,
            key=method_key,
            at=at,
            axis_name=axis_name,
            epoch=epoch,
            step=state.step,
        )
        params = (state.shared, state.specific)
        updates, opt_state = optimizer.update(
            (new.shared, new.specific),
            state.optimizer,
            params,
            value=jnp.sum(new.weights * new.losses),
        )
        shared, specific = optax.apply_updates(params, updates)
        weighting = new.state
        if method.observe is not None:
            after = engine.evaluate_losses(parts, shared, specific, axis_name=axis_name)
            observed = method.observe(new.losses, after, weighting, mask=new.present)
            weighting = tree.select(tree.all_finite(after), observed, weighting)
        moved = (
            shared,
            specific,
            _average(_collections(new, state), axis_name),
            opt_state,
            weighting,
        )
        kept = (*params, state.collections, state.optimizer, state.weighting)
        # A gradient may be finite and its square, in the optimizer, not.
        finite = new.finite & tree.stays_finite(kept, moved)
        shared, specific, collections, opt_state, weighting = tree.select(
            finite, moved, kept
        )
        skip = jnp.where(finite, 0, 1)
        next_state = TrainState(
            step=state.step + 1,
            shared=shared,
            specific=specific,
            collections=collections,
            optimizer=opt_state,
            weighting=weighting,
            key=state.key,
            skipped=state.skipped + skip,
            skipped_in_a_row=jnp.where(finite, 0, state.skipped_in_a_row + 1),
            totals=_add(state.totals, new, finite),
        )
        return next_state, StepOutput(
            losses=new.losses,
            weights=new.weights,
            present=new.present,
            gramian=new.gramian,
            solver=base.solver_report(new.state),
            finite=finite,
            skipped=next_state.skipped,
            skipped_in_a_row=next_state.skipped_in_a_row,
        )

    run = data_parallel.wrap_step(step, devices)

    def placed(state: TrainState, batch: Batch) -> tuple[TrainState, StepOutput]:
        if state.step.sharding.device_set != set(devices):
            state = data_parallel.place(state, devices)
        return run(state, batch)

    return placed


def cut(batch: Batch, samples: int) -> list[Batch]:
    """The batch in parts, as equal as can be, one a sample.

    Raises:
        ValueError: fewer examples than samples.

    Example:
        >>> [part["x"].tolist() for part in cut({"x": jnp.arange(4)}, 2)]
        [[0, 1], [2, 3]]
    """
    if samples == 1:
        return [batch]
    size = jax.tree.leaves(batch)[0].shape[0]
    if size < samples:
        raise ValueError(
            f"this method takes {samples} independent samples a step, and a device has "
            f"{size} examples; choose a larger batch"
        )
    ends = [size * i // samples for i in range(samples + 1)]
    return [
        jax.tree.map(lambda a, i=i: a[ends[i] : ends[i + 1]], batch)
        for i in range(samples)
    ]


def bind(
    losses_fn: Callable[..., Any] | engine.SplitLosses,
    batch: Batch,
    *,
    collections: PyTree,
    **keywords: Any,
) -> Callable[..., Any] | engine.SplitLosses:
    """A loss function of the parameters alone, for the engine."""
    if isinstance(losses_fn, engine.SplitLosses):
        trunk, heads = collections or ((), ())
        key = keywords.pop("key")
        head_key = None if key is None else jax.random.fold_in(key, 1)
        return engine.SplitLosses(
            _bind_one(
                losses_fn.encode, 1, batch, key=key, collections=trunk, **keywords
            ),
            _bind_one(
                losses_fn.losses, 2, batch, key=head_key, collections=heads, **keywords
            ),
            losses_fn.num_tasks,
        )
    return _bind_one(losses_fn, 2, batch, collections=collections, **keywords)


def _bind_one(
    function: Callable[..., Any], position: int, batch: Batch, **keywords: Any
) -> Callable[..., Any]:
    """Bind the batch behind `position` arguments, and the keywords that are named."""
    named = inspect.signature(function).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in named.values())
    taken = {k: v for k, v in keywords.items() if anything or k in named}

    @functools.wraps(function)
    def bound(*params: PyTree) -> Any:
        return function(*params[:position], batch, **taken)

    return bound


def _collections(new: engine.Gradients, state: TrainState) -> PyTree:
    """The new mutable state, where the loss function returned one."""
    if not jax.tree.leaves(new.collections):
        return state.collections
    before, after = map(jax.tree.structure, (state.collections, new.collections))
    if str(before) != str(after):
        raise ValueError(
            f"the loss function returned collections of structure {after}; the state "
            f"holds {before}. Return all of them, changed or not"
        )
    return new.collections


def _average(collections: PyTree, axis_name: str | None) -> PyTree:
    """Equal mutable state on all devices, whatever the model did."""
    if axis_name is None:
        return collections
    return jax.tree.map(
        lambda a: (
            jax.lax.pmean(a, axis_name) if jnp.issubdtype(a.dtype, jnp.inexact) else a
        ),
        collections,
    )


def _add(totals: Totals, new: engine.Gradients, finite: Array) -> Totals:
    counted = new.present & finite
    report = base.solver_report(new.state)
    if report is None:
        report = base.no_report()
    return Totals(
        losses=totals.losses + _where(counted, new.losses, totals.losses),
        weights=totals.weights + _where(counted, new.weights, totals.weights),
        steps=totals.steps + counted,
        solver_iterations=totals.solver_iterations
        + jnp.where(finite, report.iterations, 0),
        solver_failures=totals.solver_failures + (finite & ~report.converged),
        solver_calls=totals.solver_calls + finite,
    )


def _where(counted: Array, values: Array, like: Array) -> Array:
    return jnp.where(counted, values, 0).astype(like.dtype)

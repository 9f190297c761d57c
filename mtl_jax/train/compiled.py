"""What every training step shares: the optimizer, what is skipped, the counters."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from mtl_jax import engine
from mtl_jax.models.base import FROZEN
from mtl_jax.train import commit
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


class Moment(NamedTuple):
    """What a step knows beside its state and its batch."""

    method_key: Array  # the same on all devices
    model_key: Array  # another one on each device
    axis_name: str | None
    epoch: Array | None  # [] int32


class Look(NamedTuple):
    """What a step finds out before it moves the parameters."""

    gradients: engine.Gradients
    observe: Callable[[PyTree, PyTree], Any] | None = None
    """`(shared, specific) -> state` of the method after the step."""


class Step(Protocol):
    """A pure training step."""

    def __call__(
        self,
        state: TrainState,
        batch: Batch,
        axis_name: str | None,
        careful: bool | Array = True,
    ) -> tuple[TrainState, StepOutput]:
        """The state after a step, and what the step tells.

        Args:
            state: before the step.
            batch: of this device.
            axis_name: the data-parallel axis, or `None`.
            careful: `[] bool`; where it is false, the step may leave it to its caller
                to see whether the new state is finite. (Losses and gradients are
                looked at in any case.)
        """


def make_step(
    look: Callable[[TrainState, Batch, Moment], Look],
    optimizer: optax.GradientTransformation,
    steps_per_epoch: int | None,
) -> Step:
    """The step around `look`: the optimizer, what is skipped, the counters.

    Args:
        look: pure; finds the gradients.
        optimizer: of the pair `(shared, specific)`.
        steps_per_epoch: `None` where nobody counts epochs.
    """

    def step(
        state: TrainState,
        batch: Batch,
        axis_name: str | None,
        careful: bool | Array = True,
    ) -> tuple[TrainState, StepOutput]:
        method_key, model_key = jax.random.split(
            jax.random.fold_in(state.key, state.step)
        )
        if axis_name is not None:
            index = jax.lax.axis_index(axis_name)
            model_key = jax.random.fold_in(model_key, index)
        epoch = None if steps_per_epoch is None else state.step // steps_per_epoch
        moment = Moment(method_key, model_key, axis_name, epoch)
        new, observe = look(state, batch, moment)
        params = (state.shared, state.specific)
        collections = _average(_collections(new, state), axis_name)

        def moved() -> tuple[PyTree, ...]:
            (shared, specific), opt_state = descend(
                optimizer,
                params,
                (new.shared, new.specific),
                state.optimizer,
                jnp.sum(new.weights * new.losses),
            )
            weighting = new.state if observe is None else observe(shared, specific)
            return shared, specific, collections, opt_state, weighting

        kept = (*params, state.collections, state.optimizer, state.weighting)
        (shared, specific, collections, opt_state, weighting), finite = commit.commit(
            moved, kept, new.finite, careful, cheap=observe is None
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

    return step


def descend(
    optimizer: optax.GradientTransformation,
    params: PyTree,
    grads: PyTree,
    state: Any,
    loss: Array,
) -> tuple[PyTree, Any]:
    """One step of an optimizer: the parameters and its state after it."""
    optimizer = optax.with_extra_args_support(optimizer)
    updates, state = optimizer.update(grads, state, params, value=loss)
    return optax.apply_updates(params, updates), state


def check_kind(method: Any, kinds: Any, other: str) -> None:
    """Raise `TypeError` where a method is of no kind that a step runs."""
    if isinstance(method, kinds):
        return
    if isinstance(method, base.AnyMethod):
        name = type(method).__name__
        raise TypeError(f"this step does not run a {name}; use train.{other}")
    raise TypeError(
        f"{method!r} is not a weighting method; use mtl_jax.weighting.make(name, …)"
    )


def check_epochs(
    method: base.AnyMethod, name: str, steps_per_epoch: int | None
) -> None:
    """Raise `ValueError` where a method counts epochs and there are none."""
    if method.needs_epoch and steps_per_epoch is None:
        raise ValueError(
            "this method counts epochs, and steps_per_epoch is not given; pass "
            f"{name}(…, steps_per_epoch=…) (1 makes every step an epoch)"
        )


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

    def one(path: Any, leaf: Array) -> Array:
        # Frozen variables are equal; a mean could move them by a rounding a step.
        frozen = any(getattr(part, "key", None) == FROZEN for part in path[:2])
        if frozen or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        return jax.lax.pmean(leaf, axis_name)

    return jax.tree_util.tree_map_with_path(one, collections)


def _add(totals: Totals, new: engine.Gradients, finite: Array) -> Totals:
    counted = new.present & finite
    report = base.solver_report(new.state)
    if report is None:
        report = base.no_report()
    called = finite if new.held is None else finite & ~new.held
    return Totals(
        losses=totals.losses + _where(counted, new.losses, totals.losses),
        weights=totals.weights + _where(counted, new.weights, totals.weights),
        steps=totals.steps + counted,
        solver_iterations=totals.solver_iterations
        + jnp.where(called, report.iterations, 0),
        solver_failures=totals.solver_failures + (called & ~report.converged),
        solver_calls=totals.solver_calls + called,
    )


def _where(counted: Array, values: Array, like: Array) -> Array:
    return jnp.where(counted, values, 0).astype(like.dtype)

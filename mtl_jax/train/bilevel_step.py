"""The training step of the methods that learn from validation data."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from mtl_jax import engine
from mtl_jax.train import compiled, many_steps
from mtl_jax.train.activations import Activations
from mtl_jax.train.binding import EVERYTHING, bind
from mtl_jax.train.state import TrainState
from mtl_jax.typing import Batch
from mtl_jax.weighting import base

VALIDATION = "validation"
"""The key of the validation batch within a batch."""


def make_bilevel_step(
    losses_fn: Callable[..., Any] | engine.SplitLosses,
    method: base.BilevelWeighting,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    remat: str = "none",
    steps_per_call: int = 1,
    parallel: str = "auto",
    devices: Sequence[Any] | None = None,
    steps_per_epoch: int | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, compiled.StepOutput]]:
    """Build the compiled step `(state, batch) -> (state, output)` of a bilevel method.

    As `make_train_step` in all else: the same loss functions, state, output, skipping
    of non-finite steps and donation. The batch has a second one of the same structure
    under "validation", with its own inputs, labels and masks, of any size that divides
    by the number of devices. The losses of both are of the whole batch, over all
    devices, and so are their derivatives.

    A method may pass through the model several times in a step. All passes over the
    training batch use one key, so that a virtual step is the step that would be
    taken; those over the validation batch use another. All run in training mode. The
    mutable state of the model (batch statistics) changes by the one training pass at
    the present parameters.

    Args:
        losses_fn: as for `make_train_step`; also called with the validation batch.
        method: the weighting method.
        optimizer: of the pair `(shared, specific)`. Where the method differentiates its
            step, an optimizer that takes signs (lion) hides the weights from it.
        accumulate: as for `make_train_step`; the validation batch has as many parts.
        remat: as for `make_train_step`.
        steps_per_call: as for `make_train_step`; of the validation batch too.
        parallel: "auto", "jit" or "pmap"; see `mtl_jax.parallel.resolve`.
        devices: default: all local ones.
        steps_per_epoch: for methods that look at epochs.

    Returns:
        The step. Its state argument is donated: use the returned one.

    Raises:
        ValueError: an unknown way to run; when called, a batch without a validation
            batch, or that does not divide by the number of devices and parts.
        TypeError: a method of another kind.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax import train
        >>> from mtl_jax.weighting import make
        >>> def losses_fn(shared, specific, batch):
        ...     return jnp.stack([jnp.mean((batch["x"] - shared) ** 2),
        ...                       jnp.mean((batch["x"] + shared) ** 2)])
        >>> method = make("auto_lambda", primary=[0], w_lr=0.05)
        >>> optimizer = optax.sgd(0.1)
        >>> step = make_bilevel_step(losses_fn, method, optimizer, parallel="jit")
        >>> state = train.create(jnp.array(0.0), {}, method=method,
        ...                      optimizer=optimizer, num_tasks=2)
        >>> batch = {"x": jnp.ones(4), "validation": {"x": jnp.ones(2)}}
        >>> state, output = step(state, batch)
        >>> [round(float(w), 3) for w in output.weights], round(float(state.shared), 3)
        ([0.15, 0.05], 0.02)
    """
    step = bilevel_step(
        losses_fn,
        method,
        optimizer,
        activations=Activations(accumulate, remat),
        steps_per_epoch=steps_per_epoch,
    )
    return many_steps.compile_step(step, steps_per_call, parallel, devices)


def bilevel_step(
    losses_fn: Callable[..., Any] | engine.SplitLosses,
    method: base.BilevelWeighting,
    optimizer: optax.GradientTransformation,
    *,
    activations: Activations = EVERYTHING,
    steps_per_epoch: int | None = None,
) -> compiled.Step:
    """The step of `make_bilevel_step`, not compiled."""
    compiled.check_kind(method, base.BilevelWeighting, "make_train_step")
    compiled.check_epochs(method, "make_bilevel_step", steps_per_epoch)

    def look(state: TrainState, batch: Batch, moment: compiled.Moment) -> compiled.Look:
        if VALIDATION not in batch:
            raise ValueError(
                f"the batch has no {VALIDATION!r}, from which this method learns its "
                f"weights; its keys are {sorted(batch)}. Put a second batch of the "
                f"same structure there"
            )
        training = {k: v for k, v in batch.items() if k != VALIDATION}
        train_losses, validation_losses = (
            bind(
                losses_fn,
                part,
                key=key,
                collections=state.collections,
                axis_name=moment.axis_name,
                activations=activations,
            )
            for part, key in (
                (training, moment.model_key),
                (batch[VALIDATION], jax.random.fold_in(moment.model_key, 1)),
            )
        )
        return compiled.Look(
            engine.bilevel_gradients(
                method,
                train_losses,
                validation_losses,
                state.shared,
                state.specific,
                state.weighting,
                optimizer=state.optimizer,
                descend=functools.partial(compiled.descend, optimizer),
                key=moment.method_key,
                axis_name=moment.axis_name,
                epoch=moment.epoch,
                step=state.step,
            )
        )

    return compiled.make_step(look, optimizer, steps_per_epoch)

"""The training step: one pure function, compiled."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from mtl_jax import engine, tree
from mtl_jax.train import compiled, many_steps
from mtl_jax.train.activations import Activations
from mtl_jax.train.binding import EVERYTHING
from mtl_jax.train.binding import bind as bind
from mtl_jax.train.compiled import StepOutput
from mtl_jax.train.state import TrainState
from mtl_jax.typing import Batch, PyTree
from mtl_jax.weighting import base


def make_train_step(
    losses_fn: Callable[..., Any] | engine.SplitLosses,
    method: base.Method,
    optimizer: optax.GradientTransformation,
    *,
    at: str = "parameters",
    gramian: str = "auto",
    task_chunk: int | None = None,
    accumulate: int = 1,
    remat: str = "none",
    steps_per_call: int = 1,
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
        gramian: how a Gramian is made: "materialise", "layerwise", "ghost",
            "jacobian_free", or "auto", the cheapest for each layer. All are exact.
        task_chunk: how many tasks pass backwards at once; default: by the backend.
        accumulate: parts of the batch that pass through the model one after the other,
            for the memory of one. Losses, Gramian and gradients are those of the whole
            batch. BatchNorm normalises each part, and dropout draws for each part.
        remat: "none"; "full": the forward pass of the trunk is computed again in the
            backward pass; or a policy of `jax.checkpoint_policies`.
        steps_per_call: k: the step does k steps in one program, of a batch whose leaves
            are `[k, B, ...]`, and its output is that of the last one.
        parallel: "auto", "jit" or "pmap"; see `mtl_jax.parallel.resolve`.
        devices: default: all local ones.
        steps_per_epoch: for methods that look at epochs; without it they get
            `epoch=None`.

    Returns:
        The step. Its state argument is donated: use the returned one.

    Raises:
        ValueError: an unknown place, way to run, Gramian or policy; when called, a
            batch that does not divide by the number of devices and parts, or what the
            loss function raises.
        TypeError: a bilevel method, which has a step of its own.

    Example:
        >>> import jax.numpy as jnp
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
    step = train_step(
        losses_fn,
        method,
        optimizer,
        at=at,
        gramian=gramian,
        task_chunk=task_chunk,
        activations=Activations(accumulate, remat),
        steps_per_epoch=steps_per_epoch,
    )
    return many_steps.compile_step(step, steps_per_call, parallel, devices)


def train_step(
    losses_fn: Callable[..., Any] | engine.SplitLosses,
    method: base.Method,
    optimizer: optax.GradientTransformation,
    *,
    at: str = "parameters",
    gramian: str = "auto",
    task_chunk: int | None = None,
    activations: Activations = EVERYTHING,
    steps_per_epoch: int | None = None,
) -> compiled.Step:
    """The step of `make_train_step`, not compiled."""
    compiled.check_kind(method, base.Method, "make_bilevel_step")
    compiled.check_epochs(method, "make_train_step", steps_per_epoch)
    engine.check_route(gramian, task_chunk)
    samples = getattr(method, "num_samples", 1)

    def look(state: TrainState, batch: Batch, moment: compiled.Moment) -> compiled.Look:
        model_key, axis_name = moment.model_key, moment.axis_name
        parts = [
            bind(
                losses_fn,
                part,
                key=model_key if samples == 1 else jax.random.fold_in(model_key, i),
                collections=state.collections,
                axis_name=axis_name,
                activations=activations,
            )
            for i, part in enumerate(cut(batch, samples))
        ]
        new = engine.gradients(
            method,
            parts,
            state.shared,
            state.specific,
            state.weighting,
            key=moment.method_key,
            at=at,
            gramian=gramian,
            task_chunk=task_chunk,
            axis_name=axis_name,
            epoch=moment.epoch,
            step=state.step,
        )

        if method.observe is None:
            return compiled.Look(new)
        told = method.observe

        def observe(shared: PyTree, specific: PyTree) -> Any:
            after = engine.evaluate_losses(parts, shared, specific, axis_name=axis_name)
            observed = told(new.losses, after, new.state, mask=new.present)
            return tree.select(tree.all_finite(after), observed, new.state)

        return compiled.Look(new, observe)

    return compiled.make_step(look, optimizer, steps_per_epoch)


def cut(batch: Batch, samples: int) -> list[Batch]:
    """The batch in parts, as equal as can be, one a sample.

    Raises:
        ValueError: fewer examples than samples.

    Example:
        >>> import jax.numpy as jnp
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

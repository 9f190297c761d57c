"""The training step: one pure function, compiled."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from mtl_jax import engine, tree
from mtl_jax.train import compiled
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
    compiled.check_kind(method, base.Method, "make_bilevel_step")
    compiled.check_epochs(method, "make_train_step", steps_per_epoch)
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

    return compiled.compile_step(look, optimizer, parallel, devices, steps_per_epoch)


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

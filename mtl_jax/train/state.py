"""The state of a training run: one pytree."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl_jax import tree
from mtl_jax.models.base import Model, Variables
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Totals:
    """Sums over the steps since they were last reset, for means without host syncs."""

    losses: Array  # [T] float32
    weights: Array  # [T] float32
    steps: Array  # [T] int32, steps in which the task had labels
    solver_iterations: Array  # [] int32
    solver_failures: Array  # [] int32, calls of a solver that did not converge
    solver_calls: Array  # [] int32


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and writes, and that a checkpoint holds."""

    step: Array  # [] int32, batches seen; also the position in the data
    shared: PyTree
    specific: PyTree
    collections: PyTree  # mutable state of the model
    optimizer: Any  # state of the optimizer of (shared, specific)
    weighting: Any  # state of the method
    key: Array  # PRNG key of the run; steps fold their number into it
    skipped: Array  # [] int32, steps whose gradients were not finite
    skipped_in_a_row: Array  # [] int32
    totals: Totals


def create(
    shared: PyTree,
    specific: PyTree,
    *,
    method: base.AnyMethod,
    optimizer: optax.GradientTransformation,
    num_tasks: int,
    key: Array | int = 0,
    collections: PyTree = (),
) -> TrainState:
    """The state before the first step.

    Args:
        shared: parameters that several tasks depend on.
        specific: parameters of one task each.
        method: the weighting method.
        optimizer: of the pair `(shared, specific)`.
        num_tasks: T.
        key: PRNG key, or a seed.
        collections: mutable state of the model.

    Returns:
        A state of copies: a step donates them, and the arguments live on.

    Raises:
        ValueError: a method that does not fit the number of tasks.

    Example:
        >>> from mtl_jax.weighting import make
        >>> state = create(jnp.ones(3), {"a": jnp.ones(1)}, method=make("equal"),
        ...                optimizer=optax.sgd(0.1), num_tasks=2)
        >>> int(state.step)
        0
    """
    shared, specific, collections = tree.copy((shared, specific, collections))
    key = jax.random.key(key) if isinstance(key, int) else jnp.copy(key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        shared=shared,
        specific=specific,
        collections=collections,
        optimizer=optimizer.init((shared, specific)),
        weighting=method.init(num_tasks, shared),
        key=key,
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_a_row=jnp.zeros((), jnp.int32),
        totals=empty_totals(num_tasks),
    )


def initial(
    model: Model,
    method: base.AnyMethod,
    optimizer: optax.GradientTransformation,
    example: PyTree,
    num_tasks: int,
    seed: int,
    start: Callable[[Variables], Variables] | None = None,
) -> TrainState:
    """The state before the first step of a model, all from one seed.

    Args:
        model: the model.
        method: the weighting method.
        optimizer: of all parameters.
        example: inputs `[1, ...]`, or their shape.
        num_tasks: T.
        seed: of the parameters and of the run's key.
        start: what is made of the initial variables, on the host.
    """
    init_key, run_key = jax.random.split(jax.random.key(seed))
    variables = jax.jit(model.init)(init_key, example)
    if start is not None:
        variables = start(variables)
    return create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=num_tasks,
        key=run_key,
        collections=variables.collections,
    )


def empty_totals(num_tasks: int) -> Totals:
    """Sums over no step."""
    return Totals(
        losses=jnp.zeros(num_tasks, base.state_dtype()),
        weights=jnp.zeros(num_tasks, base.state_dtype()),
        steps=jnp.zeros(num_tasks, jnp.int32),
        solver_iterations=jnp.zeros((), jnp.int32),
        solver_failures=jnp.zeros((), jnp.int32),
        solver_calls=jnp.zeros((), jnp.int32),
    )

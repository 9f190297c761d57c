"""The kinds of method, and the contract they share.

With `losses, vjp = jax.vjp(losses_fn, params)` and `losses [T]`, the task weights
are the cotangent of the loss vector: `grads = vjp(weights)`. Methods differ in the
statistic they look at to choose the weights, and that statistic is the type:

===================== ============================== ==========================
kind                  sees                           cost of a step
===================== ============================== ==========================
`LossWeighting`       the losses `[T]`               one backward pass
`GramianWeighting`    `G = J Jᵀ [T, T]`              T backward passes, or one at
                                                     the representation
`GradientAggregator`  the task gradients, a pytree   T backward passes and the
                      with a leading T               memory of T gradients
`BilevelWeighting`    losses on validation data      a step of the optimizer,
                      after a step of the            differentiated; a train step
                      optimizer                      of its own
===================== ============================== ==========================

Each is a `NamedTuple` of pure functions, and each method is a factory of one. Rules
for every `init` and `update`:

- the state is a `NamedTuple` of arrays with explicit dtypes, the same after every
  update;
- `update` takes the keywords it needs from the list below and swallows the rest;
- randomness comes from `key` alone; no host call, no collective, no Python branch on
  a value; numeric hyper-parameters may be tracers;
- a method with a solver keeps a `SolverReport` of its last call in its state, where
  the metrics find it.

Keywords that the engine passes to every `update`:

=========  ==========================================================
`losses`   `[T]` float32, for kinds that do not take them anyway
`kpi`      `[T]` float32 in [0, 1], larger is better (the accuracy of a
           classification task), or `None` where the loss function tells none
`key`      a PRNG key, the same on all devices
`mask`     `[T]` bool, false for a task without a label in this batch:
           its loss and gradient are zero and its weight must be zero
`epoch`    `[]` int32 or `None` where the caller counts no epochs
`step`     `[]` int32
`primal`   the representation where the gradients are with respect to
           it, else `None` (`GradientAggregator` only)
=========  ==========================================================
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array

HeadWeights: TypeAlias = bool | Callable[[Any], Array]
"""What the task-specific parameters of task t get beside the gradient of its loss:
`w_t` (true), 1 (false), or element t of a function of the state after `update`."""


class EmptyState(NamedTuple):
    """The state of a method without memory."""


class SolverReport(NamedTuple):
    """How the last call of a solver went."""

    iterations: Array  # [] int32
    converged: Array  # [] bool


class SolverState(NamedTuple):
    """The state of a method that remembers nothing but how its solver fared."""

    solver: SolverReport


class Held(NamedTuple):
    """What a method that does not look at every step has in hand."""

    due: Array  # [] bool, this step needs a new Gramian
    weights: Array  # [T], those to use where it does not
    state: Any  # the next state where the weights are used again


class LossWeighting(NamedTuple):
    """A method that chooses the task weights from the losses.

    Attributes:
        init: `(num_tasks, params=None) -> state`.
        update: `(losses [T], state, *, key=None, mask=None, **extra)
            -> (weights [T], state)`.
        observe: `(losses_before [T], losses_after [T], state, *, mask=None, **extra)
            -> state`, called with the losses of the same batch before and after
            the parameter update; `None` spares that second forward pass.
        needs_epoch: whether the method means nothing without the keyword `epoch`.
        weigh_heads: the weights of the task-specific parameters, see `HeadWeights`.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    observe: Callable[..., Any] | None = None
    needs_epoch: bool = False
    weigh_heads: HeadWeights = True


class GramianWeighting(NamedTuple):
    """A method that chooses the task weights from the Gramian.

    Attributes:
        init: `(num_tasks, params=None) -> state`.
        update: `(gramian [T, T], state, *, losses=None, key=None, mask=None, **extra)
            -> (weights [T], state)`.
        weigh_heads: the weights of the task-specific parameters, see `HeadWeights`.
        observe: as for `LossWeighting`.
        num_samples: S, independent parts of the batch. With `S > 1` the matrix is
            `J_1 J_2ᵀ` of the first two parts, not symmetric, and the weights are
            applied to the gradients of the last one.
        needs_epoch: as for `LossWeighting`.
        where: `(task_grads) -> task_grads`, the part of the shared parameters that
            the Gramian is taken over, a selection of leaves; `None` for all of them.
            The weights apply to all of them whatever it is.
        hold: `(state) -> Held`, for a method that does not look at every step; the
            engine then makes a Gramian on the steps that are due only.
        sketch: from how many random directions the engine estimates the Gramian of
            the parameters; `None` for the exact one.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    weigh_heads: HeadWeights = False
    observe: Callable[..., Any] | None = None
    num_samples: int = 1
    needs_epoch: bool = False
    where: Callable[[Any], Any] | None = None
    hold: Callable[[Any], Held] | None = None
    sketch: int | None = None


class GradientAggregator(NamedTuple):
    """A method that needs the task gradients themselves.

    Attributes:
        init: `(num_tasks, params=None) -> state`; `params` is like one task's
            gradient.
        update: `(task_grads, state, *, losses=None, key=None, mask=None, primal=None,
            **extra) -> (direction, head_weights [T], state)`; `task_grads` has
            leaves `[T, ...]`, `direction` the same leaves without T.
        observe: as for `LossWeighting`.
        needs_epoch: as for `LossWeighting`.
        at_representation: whether the method has a meaning where the gradients are
            those of the representation of one batch; one that remembers gradients
            from step to step has none.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    observe: Callable[..., Any] | None = None
    needs_epoch: bool = False
    at_representation: bool = True


class BilevelProblem(NamedTuple):
    """What a bilevel method may ask of the model, the data and the optimizer.

    Losses are of the whole batch, over all devices; their derivatives too, in forward
    and reverse mode and of any order. A task without labels has loss 0.
    """

    params: Any  # the pytree (shared, specific)
    optimizer: Any  # the present state of the run's optimizer
    losses: Array  # [T], training losses at `params`
    backward: Callable[[Array], Any]
    """`weights [T] -> grads` like `params`: the gradient of the weighted training loss
    at `params`, which costs a backward pass and no forward pass. Linear in the weights,
    and to be differentiated with respect to them."""
    train_losses: Callable[[Any], Array]  # params -> [T], on the training batch
    validation_losses: Callable[[Any], Array]  # params -> [T], on the validation batch
    validation_mask: Array  # [T] bool, the task has a label in the validation batch
    descend: Callable[[Any, Any, Any, Array], tuple[Any, Any]]
    """`(params, grads, optimizer, loss) -> (params, optimizer)`: one step of the run's
    optimizer, momentum and weight decay included; differentiable where it is."""


class BilevelWeighting(NamedTuple):
    """A method that learns the task weights from validation losses.

    Attributes:
        init: `(num_tasks, params=None) -> state`.
        update: `(problem, state, *, key=None, mask=None, **extra)
            -> (grads, weights [T], state)`; `grads` is like `problem.params` and goes
            to the optimizer. `mask` is of the training batch.
        needs_epoch: as for `LossWeighting`.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    needs_epoch: bool = False


Method: TypeAlias = LossWeighting | GramianWeighting | GradientAggregator
"""The kinds that the engine runs, in one train step."""

AnyMethod: TypeAlias = Method | BilevelWeighting


def no_state(num_tasks: int, params: Any = None) -> EmptyState:
    """The `init` of a method without memory."""
    del num_tasks, params
    return EmptyState()


def no_report() -> SolverReport:
    """The report of a solver that has not been called."""
    return SolverReport(jnp.zeros((), jnp.int32), jnp.ones((), bool))


def solver_state(num_tasks: int, params: Any = None) -> SolverState:
    """The `init` of a method that remembers nothing but how its solver fared."""
    del num_tasks, params
    return SolverState(no_report())


def solver_report(state: Any) -> SolverReport | None:
    """The reports in a state as one: most iterations, all converged; `None` if none.

    Example:
        >>> solver_report(EmptyState()) is None
        True
        >>> int(solver_report(solver_state(2)).iterations)
        0
    """
    found = [
        leaf
        for leaf in jax.tree.leaves(
            state, is_leaf=lambda node: isinstance(node, SolverReport)
        )
        if isinstance(leaf, SolverReport)
    ]
    if not found:
        return None
    return SolverReport(
        jnp.max(jnp.stack([jnp.max(r.iterations) for r in found])),
        jnp.all(jnp.stack([jnp.all(r.converged) for r in found])),
    )


def head_weights(rule: HeadWeights, weights: Array, state: Any) -> Array:
    """The weights of the task-specific parameters, `[T]`.

    Args:
        rule: `weigh_heads` of a method.
        weights: `[T]`, of the shared parameters.
        state: of the method, after its update.
    """
    if callable(rule):
        return rule(state)
    return weights if rule else jnp.ones_like(weights)


def state_dtype() -> jnp.dtype:
    """The dtype of floating state: float32, or float64 under `jax_enable_x64`."""
    return jnp.zeros(()).dtype


def keep_mask(mask: Array | None, num_tasks: int) -> Array:
    """`mask`, or all true where there is none; `[T]` bool."""
    return jnp.ones(num_tasks, bool) if mask is None else mask

"""The three kinds of method, and the contract they share.

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
===================== ============================== ==========================

Each is a `NamedTuple` of pure functions, and each method is a factory of one. Rules
for every `init` and `update`:

- the state is a `NamedTuple` of arrays with explicit dtypes, the same after every
  update;
- `update` takes the keywords it needs from the list below and swallows the rest;
- randomness comes from `key` alone; no host call, no collective, no Python branch on
  a value; numeric hyper-parameters may be tracers.

Keywords that the engine passes to every `update`:

=========  ==========================================================
`losses`   `[T]` float32, for kinds that do not take them anyway
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

import jax.numpy as jnp

from mtl_jax.typing import Array


class EmptyState(NamedTuple):
    """The state of a method without memory."""


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
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    observe: Callable[..., Any] | None = None
    needs_epoch: bool = False


class GramianWeighting(NamedTuple):
    """A method that chooses the task weights from the Gramian.

    Attributes:
        init: `(num_tasks, params=None) -> state`.
        update: `(gramian [T, T], state, *, losses=None, key=None, mask=None, **extra)
            -> (weights [T], state)`.
        weigh_heads: whether the task-specific parameters of task t get `w_t` (true)
            or 1 (false) times the gradient of its loss.
        observe: as for `LossWeighting`.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    weigh_heads: bool = False
    observe: Callable[..., Any] | None = None


class GradientAggregator(NamedTuple):
    """A method that needs the task gradients themselves.

    Attributes:
        init: `(num_tasks, params=None) -> state`.
        update: `(task_grads, state, *, losses=None, key=None, mask=None, primal=None,
            **extra) -> (direction, head_weights [T], state)`; `task_grads` has
            leaves `[T, ...]`, `direction` the same leaves without T.
        observe: as for `LossWeighting`.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]
    observe: Callable[..., Any] | None = None


Method: TypeAlias = LossWeighting | GramianWeighting | GradientAggregator


def no_state(num_tasks: int, params: Any = None) -> EmptyState:
    """The `init` of a method without memory."""
    del num_tasks, params
    return EmptyState()


def state_dtype() -> jnp.dtype:
    """The dtype of floating state: float32, or float64 under `jax_enable_x64`."""
    return jnp.zeros(()).dtype


def keep_mask(mask: Array | None, num_tasks: int) -> Array:
    """`mask`, or all true where there is none; `[T]` bool."""
    return jnp.ones(num_tasks, bool) if mask is None else mask

"""New weights every k steps."""

from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.algebra import wrapping

M = TypeVar("M", base.LossWeighting, base.GramianWeighting)


class EveryKState(NamedTuple):
    """The weights in hand."""

    # Updated every step
    step: Array  # [] int32, steps so far
    # Updated every k steps
    weights: Array  # [T] float32
    inner: Any  # of the method


def every_k(method: M, k: int) -> M:
    """Look at the gradients every k steps, and use the weights again in between.

    New weights at steps 0, k, 2k, …, counted from the first update. In between, a step
    costs one backward pass, the Gramian of the step is NaN and the method's state is
    left alone (but for what it observes after each step).

    A task without labels at a refresh keeps the weight that it had, as all memory of an
    absent task is kept, and has it where it is present until the next refresh; the
    weight of a task that no refresh has seen is 0. So k should be small against how
    rarely a task comes.

    Heads: the method's rule, of the weights in hand.
    State: the number of steps, the weights, and the state of the method.

    Args:
        method: a `LossWeighting` or a `GramianWeighting`.
        k: steps from one refresh to the next.

    Returns:
        A method of the same kind.

    Raises:
        TypeError: a `GradientAggregator`, which has no weights that could be used
            again.
        ValueError: k below 1.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> method = every_k(mgda(), 2)
        >>> state = method.init(2)
        >>> for scale in (1.0, 4.0, 4.0):
        ...     gramian = jnp.diag(jnp.array([1.0, scale]))
        ...     weights, state = method.update(gramian, state)
        ...     print([round(float(w), 3) for w in weights])
        [0.5, 0.5]
        [0.5, 0.5]
        [0.8, 0.2]
    """
    wrapping.check_kind(
        "every_k",
        method,
        base.LossWeighting,
        base.GramianWeighting,
        why="It makes a direction, and no weights that could be used again",
    )
    checks.integer("every_k", "k", k, at_least=1)

    def init(num_tasks: int, params: Any = None) -> EveryKState:
        return EveryKState(
            step=jnp.zeros((), jnp.int32),
            weights=jnp.zeros(num_tasks, base.state_dtype()),
            inner=method.init(num_tasks, params),
        )

    def hold(state: EveryKState) -> base.Held:
        due = state.step % k == 0
        return base.Held(due, state.weights, state._replace(step=state.step + 1))

    def refresh(
        gramian: Array | None, state: EveryKState, **extra: Any
    ) -> tuple[Array, EveryKState]:
        weights, inner = wrapping.weigh(method, gramian, state.inner, **extra)
        keep = base.keep_mask(extra.get("mask"), weights.shape[0])
        kept = jnp.where(keep, weights.astype(state.weights.dtype), state.weights)
        return weights, EveryKState(state.step + 1, kept, inner)

    observe = wrapping.observe(method)
    rule = wrapping.weigh_heads(method.weigh_heads)
    if isinstance(method, base.GramianWeighting):
        update = wrapping.honour(refresh, hold)
        return method._replace(
            init=init, update=update, observe=observe, weigh_heads=rule, hold=hold
        )

    def from_losses(
        losses: Array, state: EveryKState, **extra: Any
    ) -> tuple[Array, EveryKState]:
        def look(losses: Array, state: EveryKState, **extra: Any) -> Any:
            return refresh(None, state, losses=losses, **extra)

        return wrapping.honour(look, hold)(losses, state, **extra)

    return method._replace(
        init=init, update=from_losses, observe=observe, weigh_heads=rule
    )

"""One method first, then another."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.algebra import lifts, moments, wrapping


class SwitchState(NamedTuple):
    """The states of both methods; that of the one whose turn it is not stays."""

    # Updated every step
    second: Array  # [] bool, the step was the second method's
    heads: Array  # [T] float32, the weights of the heads
    first: Any  # of the first method
    then: Any  # of the second


def switch(
    method: base.Method,
    then: base.Method,
    after: int,
    unit: moments.Unit = "epochs",
) -> base.Method:
    """Weigh with one method first and with another from a moment on.

    Alternating training that goes on as joint training is
    `switch(alternate(), equal(), after=5)`; more phases are switches in a switch. The
    phase follows from the number of the step, so that a run that is resumed is in the
    right one. The second method begins with the state of its `init`; the optimizer goes
    on with its own.

    Methods of different kinds become one of the kind that sees more (`as_gramian`,
    `as_aggregator`): with a Gramian method in either phase, a Gramian is made in both.

    Heads: the rule of the method whose turn it is. State: both states, and the weights
    of the heads.

    Args:
        method: the first.
        then: the second.
        after: the epoch or the step, counted from 0, with which the second begins.
        unit: "epochs" or "steps".

    Returns:
        A method of the kind of the one that sees more.

    Raises:
        TypeError: a bilevel method, or what is not a method.
        ValueError: a number below 0, an unknown unit, or a method of several samples,
            of a part of the parameters, with a sketch, or that holds its weights.

    Example:
        >>> from mtl_jax.weighting import alternate, equal
        >>> method = switch(alternate(), equal(), after=2, unit="steps")
        >>> state = method.init(2)
        >>> for step in range(4):
        ...     weights, state = method.update(jnp.ones(2), state, step=step)
        ...     print(weights.tolist())
        [1.0, 0.0]
        [0.0, 1.0]
        [1.0, 1.0]
        [1.0, 1.0]
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    for one in (method, then):
        wrapping.check_kind("switch", one, *kinds)
        _check_plain(one)
    moments.check_unit("switch", unit)
    checks.integer("switch", "after", after, at_least=0)
    first, second = _of_one_kind(method, then)

    def init(num_tasks: int, params: Any = None) -> SwitchState:
        return SwitchState(
            second=jnp.zeros((), bool),
            heads=jnp.zeros(num_tasks, base.state_dtype()),
            first=first.init(num_tasks, params),
            then=second.init(num_tasks, params),
        )

    def choose(
        call: Callable[[base.Method, Any], tuple[PyTree, Array, Any]],
        state: SwitchState,
        extra: dict[str, Any],
    ) -> tuple[PyTree, Array, SwitchState]:
        late = moments.now("switch", unit, extra) >= after

        def early() -> tuple[PyTree, Array, SwitchState]:
            out, heads, new = call(first, state.first)
            heads = heads.astype(state.heads.dtype)
            return out, heads, SwitchState(late, heads, new, state.then)

        def later() -> tuple[PyTree, Array, SwitchState]:
            out, heads, new = call(second, state.then)
            heads = heads.astype(state.heads.dtype)
            return out, heads, SwitchState(late, heads, state.first, new)

        return jax.lax.cond(late, later, early)

    def observe(
        before: Array, after: Array, state: SwitchState, **extra: Any
    ) -> SwitchState:
        def seen(which: base.Method, inner: Any) -> Any:
            if which.observe is None:
                return inner
            return which.observe(before, after, inner, **extra)

        return jax.lax.cond(
            state.second,
            lambda: state._replace(then=seen(second, state.then)),
            lambda: state._replace(first=seen(first, state.first)),
        )

    watches = first.observe is not None or second.observe is not None
    parts: dict[str, Any] = {
        "init": init,
        "observe": observe if watches else None,
        "needs_epoch": first.needs_epoch or second.needs_epoch or unit == "epochs",
    }
    if isinstance(first, base.GradientAggregator):

        def from_rows(
            task_grads: PyTree, state: SwitchState, **extra: Any
        ) -> tuple[PyTree, Array, SwitchState]:
            return choose(lambda m, s: m.update(task_grads, s, **extra), state, extra)

        both = first.at_representation and second.at_representation
        return first._replace(update=from_rows, at_representation=both, **parts)

    def update(
        seen: Array, state: SwitchState, **extra: Any
    ) -> tuple[Array, SwitchState]:
        def call(which: Any, inner: Any) -> tuple[Array, Array, Any]:
            weights, new = which.update(seen, inner, **extra)
            heads = base.head_weights(which.weigh_heads, weights, new)
            return weights.astype(seen.dtype), heads, new

        weights, _, state = choose(call, state, extra)
        return weights, state

    rules = first.weigh_heads, second.weigh_heads
    same = isinstance(rules[0], bool) and rules[0] is rules[1]
    rule = rules[0] if same else lambda state: state.heads
    return first._replace(update=update, weigh_heads=rule, **parts)


def _of_one_kind(one: base.Method, other: base.Method) -> tuple[Any, Any]:
    both = (one, other)
    if any(isinstance(m, base.GradientAggregator) for m in both):
        return lifts.as_aggregator(one), lifts.as_aggregator(other)
    if any(isinstance(m, base.GramianWeighting) for m in both):
        return lifts.as_gramian(one), lifts.as_gramian(other)  # type: ignore[arg-type]
    return one, other


def _check_plain(method: base.Method) -> None:
    """Raise `ValueError` for what two methods cannot share."""
    if not isinstance(method, base.GramianWeighting):
        return
    wrapping.one_sample("switch", method, "both methods look at the same gradients")
    for name, what in (
        ("where", "looks at a part of the parameters (restrict)"),
        ("sketch", "estimates its Gramian (sketch)"),
        ("hold", "holds its weights between steps (every_k)"),
    ):
        if getattr(method, name) is not None:
            raise ValueError(
                f"switch was given a method that {what}, and the two methods have one "
                "Gramian between them; use the method without it"
            )

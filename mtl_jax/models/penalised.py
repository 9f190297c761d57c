"""Penalties: terms of a task's loss that a model computes beside its outputs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from mtl_jax.stacked import Stacked
from mtl_jax.typing import Array


class Penalised(NamedTuple):
    """The outputs of a task with a penalty.

    In training (`train=True`), a model may give this in place of the outputs of a task,
    and so may a head. The loss of the task is then the mean over its labelled examples
    of `loss + penalty`, times the weight of the task: that is what a weighting method
    sees, and what is differentiated. A penalty that reads the parameters of another
    task makes these shared. In evaluation there are outputs alone, and losses without
    penalty.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax import objective, tasks
        >>> outputs = {"y": Penalised(jnp.zeros((2, 1)), jnp.array([0.0, 3.0]))}
        >>> batch = {"labels": {"y": jnp.ones(2)}}
        >>> task_losses = objective.task_losses([tasks.regression("y")], outputs, batch)
        >>> print(task_losses.sums / task_losses.counts)
        [2.5]
    """

    outputs: Array  # [B, ...]
    penalty: Array  # [B]


def with_penalty(outputs: Array | Penalised, penalty: Array) -> Penalised:
    """Outputs with one more penalty, beside what their head declares by itself.

    Args:
        outputs: `[B, ...]`, or a `Penalised`.
        penalty: `[B]`, or `[]` for all examples.

    Example:
        >>> with_penalty(Penalised(jnp.zeros((2, 1)), jnp.ones(2)), 0.5).penalty
        Array([1.5, 1.5], dtype=float32)
    """
    if isinstance(outputs, Penalised):
        return Penalised(outputs.outputs, outputs.penalty + penalty)
    return Penalised(outputs, jnp.broadcast_to(penalty, outputs.shape[:1]))


def apart(
    outputs: Mapping[str, Any],
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Outputs and penalties, by task; both stacked where the outputs were.

    Args:
        outputs: `{task: [B, ...] or Penalised}`.

    Returns:
        `{task: [B, ...]}` of all tasks, and `{task: [B]}` of those with a penalty.

    Example:
        >>> apart({"a": 1.0, "b": Penalised(2.0, 0.5)})
        ({'a': 1.0, 'b': 2.0}, {'b': 0.5})
    """
    if not isinstance(outputs, Stacked):
        with_penalty = {t: o for t, o in outputs.items() if isinstance(o, Penalised)}
        plain = {**outputs, **{t: o.outputs for t, o in with_penalty.items()}}
        return plain, {t: o.penalty for t, o in with_penalty.items()}
    found = [
        (names, stack.penalty)
        for names, stack in zip(outputs.groups, outputs.stacks, strict=True)
        if isinstance(stack, Penalised)
    ]
    return (
        outputs.map_groups(lambda _, o: o.outputs if isinstance(o, Penalised) else o),
        Stacked([names for names, _ in found], [penalty for _, penalty in found]),
    )

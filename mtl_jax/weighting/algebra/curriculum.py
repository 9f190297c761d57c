"""Tasks that join one after the other."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.algebra import moments, wrapping


class CurriculumState(NamedTuple):
    """Who has joined, updated every step."""

    joined: Array  # [T] bool
    inner: Any  # of the method


def curriculum(
    method: base.Method, starts: Sequence[int], unit: moments.Unit = "epochs"
) -> base.Method:
    """Add each task to the training at its own moment.

    Before `starts[t]`, task t is to the method as if it had no labels: its loss and
    gradient are zero, and so is its weight, on the trunk and on its head. Some task
    begins at 0: in steps without any, weight decay and momentum would still move the
    parameters.

    Heads: the method's rule, and 0 for tasks that are yet to come.
    State: who has joined, and the method's.

    Args:
        method: of any kind but a bilevel one.
        starts: `[T]`, epochs or steps, counted from 0, in the order of the tasks.
        unit: "epochs" or "steps".

    Returns:
        A method of the same kind; its `init` raises `ValueError` where there is not one
        start a task.

    Raises:
        TypeError: a bilevel method, or what is not a method.
        ValueError: a start that is not a whole number from 0 on, none of them 0, an
            unknown unit, or a method that holds its weights between steps (put
            `every_k` around this).

    Example:
        >>> from mtl_jax.weighting import equal
        >>> method = curriculum(equal(), starts=[0, 2])
        >>> state = method.init(2)
        >>> for epoch in range(4):
        ...     weights, state = method.update(jnp.ones(2), state, epoch=epoch)
        ...     print(weights.tolist())
        [1.0, 0.0]
        [1.0, 0.0]
        [1.0, 1.0]
        [1.0, 1.0]

    References:
        Pentina, Sharmanska and Lampert, Curriculum Learning of Multiple Tasks, CVPR
        2015, is where tasks are learnt in an order; here earlier ones go on.
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    wrapping.check_kind("curriculum", method, *kinds)
    moments.check_unit("curriculum", unit)
    for start in starts:
        checks.integer("curriculum", "starts", start, at_least=0)
    if starts and min(starts) > 0:
        raise ValueError(
            f"curriculum was given starts={tuple(starts)}, so that there is no task to "
            f"train before {unit.removesuffix('s')} {min(starts)}: let the first one "
            "begin at 0"
        )
    if getattr(method, "hold", None) is not None:
        raise ValueError(
            "curriculum was given a method that holds its weights between steps, and "
            "so would not see when a task joins; wrap it the other way round: "
            "every_k(curriculum(method, …), k)"
        )
    begins = tuple(int(start) for start in starts)

    def init(num_tasks: int, params: Any = None) -> CurriculumState:
        checks.per_task("curriculum", "starts", begins, num_tasks)
        return CurriculumState(
            joined=jnp.zeros(num_tasks, bool), inner=method.init(num_tasks, params)
        )

    def joined(extra: dict[str, Any]) -> Array:
        return moments.now("curriculum", unit, extra) >= jnp.asarray(begins, jnp.int32)

    def inside(
        joined: Array, losses: Array | None, kpi: Array | None, extra: dict[str, Any]
    ) -> tuple[Array, dict[str, Any]]:
        """The mask and the keywords that the method gets."""
        keep = joined & base.keep_mask(extra.get("mask"), joined.shape[0])
        more = {**extra, "mask": keep}
        if losses is not None:
            more["losses"] = wrapping.masked(losses, keep)
        if kpi is not None:
            more["kpi"] = wrapping.masked(kpi, keep)
        return keep, more

    def observe(
        before: Array, after: Array, state: CurriculumState, **extra: Any
    ) -> CurriculumState:
        keep, more = inside(state.joined, None, None, extra)
        losses = wrapping.masked(before, keep), wrapping.masked(after, keep)
        assert method.observe is not None
        return state._replace(inner=method.observe(*losses, state.inner, **more))

    parts: dict[str, Any] = {
        "init": init,
        "observe": None if method.observe is None else observe,
        "needs_epoch": method.needs_epoch or unit == "epochs",
    }
    if isinstance(method, base.GradientAggregator):

        def from_rows(
            task_grads: PyTree,
            state: CurriculumState,
            *,
            losses: Array | None = None,
            kpi: Array | None = None,
            **extra: Any,
        ) -> tuple[PyTree, Array, CurriculumState]:
            now = joined(extra)
            keep, more = inside(now, losses, kpi, extra)
            rows = _rows(task_grads, keep)
            direction, heads, inner = method.update(rows, state.inner, **more)
            return direction, wrapping.masked(heads, keep), CurriculumState(now, inner)

        return method._replace(update=from_rows, **parts)

    def weigh(
        gramian: Array | None,
        state: CurriculumState,
        *,
        losses: Array | None = None,
        kpi: Array | None = None,
        **extra: Any,
    ) -> tuple[Array, CurriculumState]:
        now = joined(extra)
        keep, more = inside(now, losses, kpi, extra)
        if gramian is not None:
            gramian = jnp.where(keep[:, None] & keep[None, :], gramian, 0)
        weights, inner = wrapping.weigh(method, gramian, state.inner, **more)
        return weights, CurriculumState(now, inner)

    if isinstance(method, base.LossWeighting):

        def from_losses(
            losses: Array, state: CurriculumState, **extra: Any
        ) -> tuple[Array, CurriculumState]:
            return weigh(None, state, losses=losses, **extra)

        parts["update"] = from_losses
    else:
        parts["update"] = weigh
    return method._replace(weigh_heads=_heads(method.weigh_heads), **parts)


def _heads(rule: base.HeadWeights) -> base.HeadWeights:
    if rule is True:
        return True  # the weights of those to come are 0 as it is

    def heads(state: CurriculumState) -> Array:
        inner = rule(state.inner) if callable(rule) else jnp.ones(state.joined.shape)
        return jnp.where(state.joined, inner, 0)

    return heads


def _rows(task_grads: PyTree, keep: Array) -> PyTree:
    """Task gradients with zeros for the tasks that are left out."""

    def one(leaf: Array) -> Array:
        return jnp.where(keep.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)

    return jax.tree.map(one, task_grads)

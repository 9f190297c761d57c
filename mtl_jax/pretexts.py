"""Models on self-supervised tasks: views, and labels that come from the inputs."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import tasks
from mtl_jax.models.base import Model
from mtl_jax.models.penalised import Penalised
from mtl_jax.models.views import apply_to_views
from mtl_jax.stacked import Stacked
from mtl_jax.typing import Array, Batch, PyTree

NO_REPRESENTATION = (
    "self-supervised tasks with views of their own read other inputs than the rest, so "
    "that there is no representation that all tasks share"
)

_STREAM = 0x766965  # apart from whatever the model draws with its key


def have_views(task_list: Sequence[tasks.Task]) -> bool:
    """Whether a task reads other inputs than the rest."""
    return any(t.pretext is not None and t.pretext.num_views for t in task_list)


def look(
    task_list: Sequence[tasks.Task], batch: Batch, key: Array | None
) -> tuple[dict[str, tuple[PyTree, ...]], Batch]:
    """The views of self-supervised tasks, and the batch with their labels.

    Args:
        task_list: all tasks.
        batch: with inputs and labels.
        key: of the step; `None`: that of evaluation, always the same.

    Returns:
        `{task: views}` of those that have any, and the batch. Labels and masks of the
        data with the name of a self-supervised task are not its own, and are left out.

    Raises:
        ValueError: another number of views than the task has declared.

    Example:
        >>> import jax.numpy as jnp
        >>> batch = {"inputs": jnp.ones((1, 2)), "labels": {}}
        >>> views, batch = look([tasks.autoencoding("x", 2)], batch, None)
        >>> views, batch["labels"]["x"].tolist()
        ({}, [[1.0, 1.0]])
    """
    views: dict[str, tuple[PyTree, ...]] = {}
    made: dict[str, Array] = {}
    for task in task_list:
        if task.pretext is None:
            continue
        base = jax.random.key(0) if key is None else key
        own = jax.random.fold_in(base, _STREAM)
        own = jax.random.fold_in(own, zlib.crc32(task.name.encode()))
        examples = task.pretext.examples(own, batch["inputs"])
        made[task.label_name] = jax.lax.stop_gradient(examples.labels)
        if len(examples.views) != task.pretext.num_views:
            raise ValueError(
                f"task {task.name!r} was declared with num_views="
                f"{task.pretext.num_views}, and its examples have "
                f"{len(examples.views)}. Give the Pretext as many as they have"
            )
        if examples.views:
            views[task.name] = examples.views
    if not made:
        return views, batch
    batch = {**batch, "labels": _with(_without(batch["labels"], made), made)}
    if "masks" in batch:
        batch["masks"] = _without(batch["masks"], made)
    return views, batch


def outputs(
    model: Model,
    task_list: Sequence[tasks.Task],
    variables: tuple[PyTree, PyTree, PyTree],
    batch: Batch,
    *,
    train: bool = False,
    key: Array | None = None,
    axis_name: str | None = None,
) -> tuple[dict[str, Any], PyTree, Batch]:
    """The outputs of all tasks, and the batch with all labels.

    Args:
        model: the model.
        task_list: all tasks.
        variables: `(shared, specific, collections)`.
        batch: with inputs and labels.
        train: passed on.
        key: of the step; `None` in evaluation.
        axis_name: of data parallelism.

    Returns:
        `{task: outputs [B, ...]}`, the collections, and the batch.
    """
    views, batch = look(task_list, batch, key)
    names = [task.name for task in task_list]
    inputs = batch["inputs"]
    found, collections = apply_to_views(
        model,
        variables,
        inputs,
        views,
        names,
        train=train,
        key=key,
        axis_name=axis_name,
    )
    result: dict[str, Any] = {}
    for task in task_list:
        own = found[task.name]
        if task.name not in views:
            result[task.name] = own[0]
            continue
        assert task.pretext is not None
        plain = [o.outputs if isinstance(o, Penalised) else o for o in own]
        out: Any = task.pretext.outputs(plain, batch.get("valid"), axis_name)
        penalties = [o.penalty for o in own if isinstance(o, Penalised)]
        if penalties:
            out = Penalised(out, jnp.mean(jnp.stack(penalties), axis=0))
        result[task.name] = out
    return result, collections, batch


def _without(arrays: Mapping[str, Array], names: Mapping[str, Any]) -> Any:
    """Labels or masks by name, stacked or not, and none of these names."""
    if not isinstance(arrays, Stacked):
        return {name: array for name, array in arrays.items() if name not in names}
    groups, stacks = [], []
    for group, stack in zip(arrays.groups, arrays.stacks, strict=True):
        kept = [i for i, name in enumerate(group) if name not in names]
        if kept:
            groups.append([group[i] for i in kept])
            whole = len(kept) == len(group)
            stacks.append(stack if whole else stack.take(jnp.array(kept), arrays.axis))
    return Stacked(groups, stacks, arrays.axis)


def _with(labels: Mapping[str, Array], more: Mapping[str, Array]) -> Any:
    """Labels by name, stacked or not, and some more of them."""
    if not isinstance(labels, Stacked):
        return {**labels, **more}
    return Stacked(
        [*labels.groups, *((name,) for name in more)],
        [*labels.stacks, *(array[:, None] for array in more.values())],
        labels.axis,
    )

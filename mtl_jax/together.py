"""Tasks whose losses and metrics are computed together.

The outputs of heads that are stacked stay stacked: tasks of one group of heads with
the same loss and labels of the same shape are one `vmap`, and the program is no longer
for 138 of them than for two. Every other task is computed alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import losses, tasks
from mtl_jax.errors import unknown_name
from mtl_jax.stacked import Stacked, pick, rows
from mtl_jax.tasks import Task
from mtl_jax.typing import Array, Batch, PyTree


class Group(NamedTuple):
    """n tasks with one loss, and what it reads of a batch."""

    tasks: tuple[Task, ...]
    places: tuple[int, ...]  # of the tasks in the loss vector
    outputs: Array  # [n, B, ...]
    labels: Array  # [n, B, ...]; 0 where there is none
    mask: Array  # [n, B] bool, there is a label

    def each(self, function: Callable[..., PyTree], *more: Array) -> PyTree:
        """`function(outputs, labels, mask, *more)` of each task.

        What it returns, and what more it gets, has leaves `[n, ...]`.
        """
        arrays = (self.outputs, self.labels, self.mask, *more)
        if len(self.tasks) > 1:
            return jax.vmap(function)(*arrays)
        out = function(*(array[0] for array in arrays))
        return jax.tree.map(lambda leaf: leaf[None], out)

    def part(self, rows: Sequence[int]) -> "Group":
        """Some of the tasks."""
        outputs, labels, mask = pick(self[2:], rows, len(self.tasks))
        return Group(
            tuple(self.tasks[i] for i in rows),
            tuple(self.places[i] for i in rows),
            outputs,
            labels,
            mask,
        )


def groups(
    task_list: Sequence[Task], outputs: Mapping[str, Array], batch: Batch
) -> list[Group]:
    """The tasks in groups that are computed together.

    Args:
        task_list: the tasks.
        outputs: `{task: [B, ...]}`; a `Stacked` where heads are computed together.
        batch: with `labels`, and `masks` and `valid` where labels are missing.

    Raises:
        ValueError: a task without outputs, or outputs that do not fit the loss.
    """
    labels = batch["labels"]
    shapes = _shapes(labels)
    heads = _places(outputs)
    found: dict[Any, list[int]] = {}
    for t, task in enumerate(task_list):
        if task.name not in heads:
            unknown = unknown_name("head", task.name, heads)
            raise ValueError(
                f"task {task.name!r} has no head in the model: {unknown} Name heads "
                "and tasks alike."
            )
        place, output = heads[task.name]
        label = shapes[task.label_name]
        tasks.check_outputs(task, output.shape, label.shape)
        # By identity: a function of the user's may have no hash.
        loss = tuple(id(function) for function in task.loss[1:])
        how = task.distillation
        taught = None if how is None else (how.weight, how.temperature)
        found.setdefault((place, loss, taught, *label), []).append(t)
    return [
        _group([task_list[t] for t in places], places, outputs, batch)
        for places in found.values()
    ]


def _group(
    members: Sequence[Task],
    places: Sequence[int],
    outputs: Mapping[str, Array],
    batch: Batch,
) -> Group:
    labels = rows(batch["labels"], [task.label_name for task in members])
    mask = _present(members, labels, batch)
    group = Group(
        tuple(members),
        tuple(places),
        rows(outputs, [task.name for task in members]),
        labels,
        mask,
    )
    safe = group.each(lambda _, labels, mask: losses.safe_labels(labels, mask))
    return group._replace(labels=safe)


def _present(members: Sequence[Task], labels: Array, batch: Batch) -> Array:
    """Where each task has a label, `[n, B]` bool."""
    mask = present(labels, [task.label_name for task in members], batch)
    own = [task.mask for task in members]
    if own[0] is not None and all(function is own[0] for function in own):
        return mask & jax.vmap(own[0])(labels)
    for i, function in enumerate(own):
        if function is not None:
            mask = mask.at[i].set(mask[i] & function(labels[i]))
    return mask


def present(labels: Array, names: Sequence[str], batch: Batch) -> Array:
    """Where the labels of these names are there, as far as the batch says.

    Args:
        labels: `[n, B, ...]`.
        names: of them.
        batch: with `masks` and `valid` where there are any.

    Returns:
        `[n, B]` bool.
    """
    mask = jnp.ones(labels.shape[:2], bool)
    if "valid" in batch:
        mask = mask & batch["valid"]
    given = batch.get("masks", {})
    if all(name in given for name in names):
        return mask & rows(given, names)
    if any(name in given for name in names):
        every = jnp.ones(labels.shape[1], bool)
        mask = mask & jnp.stack([given.get(n, every) for n in names])
    return mask


class _Form(NamedTuple):
    shape: tuple[int, ...]
    dtype: Any


def _places(trees: Mapping[str, Array]) -> dict[str, tuple[int, _Form]]:
    """The group that each array is stacked in, and its shape without the stack."""
    if not isinstance(trees, Stacked):
        return {n: (i, _form(a)) for i, (n, a) in enumerate(trees.items())}
    found = {}
    for i, (names, array) in enumerate(zip(trees.groups, trees.stacks, strict=True)):
        form = _form(array)
        shape = (*form.shape[: trees.axis], *form.shape[trees.axis + 1 :])
        found.update(dict.fromkeys(names, (i, form._replace(shape=shape))))
    return found


def _shapes(trees: Mapping[str, Array]) -> dict[str, _Form]:
    return {name: form for name, (_, form) in _places(trees).items()}


def _form(array: Any) -> _Form:
    if not hasattr(array, "shape"):
        array = jnp.asarray(array)
    return _Form(tuple(array.shape), jnp.result_type(array))

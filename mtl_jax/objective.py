"""A model and its tasks as the loss function of the engine."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from mtl_jax import losses, tasks
from mtl_jax.engine import Encoded, SplitLosses, TaskLosses
from mtl_jax.errors import unknown_name
from mtl_jax.models.base import Model
from mtl_jax.typing import Array, Batch, PyTree


def make_losses(model: Model, task_list: Sequence[tasks.Task]) -> Any:
    """The loss function of a model on its tasks.

    Args:
        model: the model.
        task_list: the tasks; their order is the order of the loss vector `[T]`.

    Returns:
        A `SplitLosses` where the model has a representation, else a function; to be
        called with `batch` and the keywords of `make_train_step`.

    Raises:
        ValueError: when called: a task without outputs or labels, or a head whose
            outputs do not fit its loss.
    """
    tasks.check_names(task_list)
    names = [t.name for t in task_list]

    if model.encode is None or model.decode is None:

        def whole(
            shared: PyTree,
            specific: PyTree,
            batch: Batch,
            *,
            key: Array | None,
            collections: PyTree,
            axis_name: str | None,
        ) -> TaskLosses:
            outputs, changed = model.apply(
                shared,
                specific,
                collections,
                batch["inputs"],
                train=True,
                key=key,
                axis_name=axis_name,
            )
            return task_losses(task_list, outputs, batch)._replace(collections=changed)

        return whole

    def encode(
        shared: PyTree,
        batch: Batch,
        *,
        key: Array | None,
        collections: PyTree,
        axis_name: str | None,
    ) -> Encoded:
        return Encoded(
            *model.encode(  # type: ignore[misc]
                shared,
                collections,
                batch["inputs"],
                train=True,
                key=key,
                axis_name=axis_name,
            )
        )

    def decode_losses(
        specific: PyTree,
        representations: tuple[PyTree, ...],
        batch: Batch,
        *,
        key: Array | None,
        collections: PyTree,
        axis_name: str | None,
    ) -> TaskLosses:
        outputs, changed = model.decode(  # type: ignore[misc]
            specific,
            collections,
            dict(zip(names, representations, strict=True)),
            train=True,
            key=key,
            axis_name=axis_name,
        )
        return task_losses(task_list, outputs, batch)._replace(collections=changed)

    return SplitLosses(encode, decode_losses, len(task_list))


def task_losses(
    task_list: Sequence[tasks.Task], outputs: Mapping[str, Array], batch: Batch
) -> TaskLosses:
    """Sums and counts of the losses of all tasks over one batch.

    Args:
        task_list: the tasks.
        outputs: `{task: [B, ...]}`.
        batch: with `labels`, and `masks` and `valid` where labels are missing.

    Returns:
        The sums, scaled by the weights of the tasks, and the counts; both `[T]`.

    Raises:
        ValueError: a task without outputs, or outputs that do not fit the loss.
    """
    sums, counts, kpis = [], [], []
    for task in task_list:
        if task.name not in outputs:
            found = unknown_name("head", task.name, outputs)
            raise ValueError(
                f"task {task.name!r} has no head in the model: {found} Name heads and "
                "tasks alike."
            )
        labels = jnp.asarray(batch["labels"][task.label_name])
        output = outputs[task.name]
        tasks.check_outputs(task, output.shape, labels.shape)
        mask = tasks.present(task, labels, batch)
        labels = losses.safe_labels(labels, mask)
        values, weights = task.loss.per_example(output, labels)
        kpi = losses.kpi_per_example(task.loss, output, labels, values)
        sums.append(task.weight * jnp.sum(jnp.where(mask, values, 0)))
        counts.append(jnp.sum(jnp.where(mask, weights, 0)))
        kpis.append(jnp.sum(jnp.where(mask, weights * kpi, 0)))
    return TaskLosses(jnp.stack(sums), jnp.stack(counts), kpi=jnp.stack(kpis))

"""A model and its tasks as the loss function of the engine."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import losses, pretexts, tasks
from mtl_jax.engine import Encoded, SplitLosses, StackedLosses, TaskLosses
from mtl_jax.models.base import Model, StackedHeads
from mtl_jax.models.penalised import apart
from mtl_jax.stacked import columns, in_order, rows, scale_rows
from mtl_jax.together import Group, groups, present
from mtl_jax.typing import Array, Batch, PyTree


def make_losses(model: Model, task_list: Sequence[tasks.Task]) -> Any:
    """The loss function of a model on its tasks.

    Args:
        model: the model.
        task_list: the tasks; their order is the order of the loss vector `[T]`.

    Returns:
        A `SplitLosses` where the model has a representation that all tasks read, else a
        function; to be called with `batch` and the keywords of `make_train_step`.

    Raises:
        ValueError: when called: a task without outputs or labels, or a head whose
            outputs do not fit its loss.
    """
    tasks.check_names(task_list)
    names = [t.name for t in task_list]

    viewed = pretexts.have_views(task_list)
    if viewed or model.encode is None or model.decode is None:

        def whole(
            shared: PyTree,
            specific: PyTree,
            batch: Batch,
            *,
            key: Array | None,
            collections: PyTree,
            axis_name: str | None,
        ) -> TaskLosses:
            how: Any = {"train": True, "key": key, "axis_name": axis_name}
            if viewed:
                variables = shared, specific, collections
                outputs, changed, batch = pretexts.outputs(
                    model, task_list, variables, batch, **how
                )
            else:
                _, batch = pretexts.look(task_list, batch, key)
                outputs, changed = model.apply(
                    shared, specific, collections, batch["inputs"], **how
                )
            return task_losses(task_list, outputs, batch)._replace(collections=changed)

        reason = pretexts.NO_REPRESENTATION if viewed else model.no_representation
        whole.no_representation = reason  # type: ignore[attr-defined]
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
        _, batch = pretexts.look(task_list, batch, key)
        return task_losses(task_list, outputs, batch)._replace(collections=changed)

    stacked = None if model.stacked is None else _stacked(model.stacked, task_list)
    return SplitLosses(encode, decode_losses, len(task_list), stacked)


def _stacked(heads: StackedHeads, task_list: Sequence[tasks.Task]) -> StackedLosses:
    """The losses of heads that are computed together."""
    names = [t.name for t in task_list]
    place = {name: t for t, name in enumerate(names)}

    def together(
        specific: PyTree, representation: PyTree, batch: Batch, **keywords: Any
    ) -> TaskLosses:
        collections = keywords.pop("collections")
        outputs, changed = heads.apply(
            specific, collections, representation, train=True, **keywords
        )
        _, batch = pretexts.look(task_list, batch, keywords.get("key"))
        return task_losses(task_list, outputs, batch)._replace(collections=changed)

    def pull(
        specific: PyTree, representation: PyTree, batch: Batch, **keywords: Any
    ) -> tuple[TaskLosses, Any]:
        given = specific, keywords.pop("collections"), representation
        outputs, changed = heads.apply(*given, train=True, **keywords)
        _, batch = pretexts.look(task_list, batch, keywords.get("key"))

        def sums(outputs: PyTree) -> tuple[Array, TaskLosses]:
            out = task_losses(task_list, outputs, batch)
            return out.sums, out

        _, vjp, out = jax.vjp(sums, outputs, has_aux=True)

        def back(scale: Array) -> tuple[Any, PyTree]:
            (cotangents,) = vjp(scale.astype(out.sums.dtype))
            grads, at_z = heads.pull(*given, cotangents, train=True, **keywords)

            def weighted(weights: Array) -> PyTree:
                # Each row is of one task; those of no task are zero.
                weights = jnp.append(weights, 0)

                def scaled(names: tuple[str, ...], stack: PyTree) -> PyTree:
                    index = [place.get(heads.task_of(n), -1) for n in names]
                    return scale_rows(weights[np.array(index)], stack)

                return grads.map_groups(scaled)

            return weighted, rows(at_z, names)

        return out._replace(collections=changed), back

    return StackedLosses(together, pull)


def task_losses(
    task_list: Sequence[tasks.Task], outputs: Mapping[str, Array], batch: Batch
) -> TaskLosses:
    """Sums and counts of the losses of all tasks over one batch.

    Args:
        task_list: the tasks.
        outputs: `{task: [B, ...]}`, or a `models.Penalised`.
        batch: with `labels`, and `masks` and `valid` where labels are missing.

    Returns:
        The sums, penalties and the distances to teachers included and scaled by the
        weights of the tasks, and the counts; both `[T]`.

    Raises:
        ValueError: a task without outputs, or outputs that do not fit the loss.
    """
    outputs, penalties = apart(outputs)
    return losses_of(groups(task_list, outputs, batch), penalties, batch)


def losses_of(
    found: Sequence[Group],
    penalties: Mapping[str, Array] | None = None,
    batch: Batch | None = None,
) -> TaskLosses:
    """Sums and counts of the losses of all tasks, in the order of the tasks.

    Args:
        found: the tasks in groups.
        penalties: of the model, in training.
        batch: in training, where tasks may have teachers.
    """
    parts = [_group_losses(group, penalties or {}, batch) for group in found]
    order = [t for group in found for t in group.places]
    return in_order(parts, order)


def _group_losses(
    group: Group, penalties: Mapping[str, Array], batch: Batch | None
) -> TaskLosses:
    loss = group.tasks[0].loss
    # The heads of a group are alike, so that all of its tasks have one or none.
    names = [task.name for task in group.tasks if task.name in penalties]
    more = {"penalty": rows(penalties, names)} if names else {}
    how = group.tasks[0].distillation
    if how is not None and batch is not None:
        more |= _teachers(group, batch)

    def one(output: Array, labels: Array, mask: Array, *more_of_one: Any) -> TaskLosses:
        given = dict(zip(more, more_of_one, strict=True))
        values, weights = loss.per_example(output, labels)
        kpi = losses.kpi_per_example(loss, output, labels, values, weights)
        if "teacher" in given:
            assert how is not None
            answered = given["answered"]
            distance = losses.distance(loss, how.temperature, group.tasks[0].members)
            apart = distance(output, given["teacher"])
            term = jnp.where(answered, how.weight * apart, 0)
            # An example whose labels are all missing by value has the weight 0.
            labelled = mask & (weights > 0)
            values = jnp.where(labelled, values, 0) + term
            kpi = jnp.where(labelled, kpi, jnp.exp(-term))
            # Class weights and missing positions are of the loss alone.
            weights = jnp.where(answered, 1, weights)
            mask = labelled | answered
        if "penalty" in given:
            values += weights * given["penalty"]
        return TaskLosses(
            jnp.sum(jnp.where(mask, values, 0)),
            jnp.sum(jnp.where(mask, weights, 0)),
            kpi=jnp.sum(jnp.where(mask, weights * kpi, 0)),
        )

    out = group.each(one, *more.values())
    # A NumPy array would widen sums in half precision.
    weights = np.array([task.weight for task in group.tasks])
    return out._replace(sums=out.sums * weights.astype(out.sums.dtype))


def _teachers(group: Group, batch: Batch) -> dict[str, Array]:
    """What the teachers of the tasks say, `[n, B, ...]`, and where, `[n, B]`."""
    names = [t.distillation.label for t in group.tasks if t.distillation is not None]
    missing = [name for name in names if name not in batch["labels"]]
    if missing:
        raise ValueError(
            f"the data have no outputs of a teacher {missing[0]!r}, which a task is "
            "distilled from. Add them to the labels of every split"
        )
    answers = rows(batch["labels"], names)
    return {"teacher": answers, "answered": present(answers, names, batch)}


def pack(batch: Batch) -> Batch:
    """A batch whose labels of equal shape are one array; of the masks likewise.

    What a compiled step computes is the same. It has one argument for all labels that
    are alike, and for any number of tasks it compiles and starts as fast as for two.

    Args:
        batch: of NumPy arrays, on the host; or a whole split of them.

    Returns:
        The batch, with mappings by name that hold `[B, n, ...]` arrays.

    Example:
        >>> labels = {"a": np.zeros(4), "b": np.ones(4)}
        >>> packed = pack({"inputs": np.ones((4, 2)), "labels": labels})
        >>> len(jax.tree.leaves(packed)), packed["labels"]["b"].tolist()
        (2, [1.0, 1.0, 1.0, 1.0])
    """
    return {
        key: columns(value) if key in ("labels", "masks") else value
        for key, value in batch.items()
    }

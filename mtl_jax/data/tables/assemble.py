"""From the columns of a table to a data set: inputs, labels, splits, tasks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.per_task import per_task
from mtl_jax.data.tables import encode, read
from mtl_jax.data.tables import labels as labels_lib
from mtl_jax.data.tables import rows as rows_lib

RARE = 2
"""A category that train has less often is 0, "unknown": it would teach nothing, and so
the vector of what is unknown is learned too."""


def assemble(
    name: str,
    columns: read.Columns,
    kinds: Mapping[str, str],
    labels: Mapping[str, labels_lib.Labels],
    rows: rows_lib.Rows,
) -> source.Dataset:
    """A data set whose rows have all labels, some of them missing.

    Args:
        name: of the set.
        columns: of the table.
        kinds: the inputs, "numeric" or "categorical"; see `columns.kinds`.
        labels: of each task.
        rows: of each split; the encoder is fitted on those of train.

    Returns:
        A `Dataset` with inputs `{"numeric": float32 [N, D], "categories": int32
        [N, C]}`, masks of the labels that are missing somewhere, and facts.

    Example:
        >>> columns = {"age": np.array([30.0, 50.0]), "fee": np.array([1.0, 2.0])}
        >>> fee = labels_lib.make(columns["fee"], np.array([True, True]), name="fee")
        >>> rows = {"train": np.arange(2)}
        >>> made = assemble("tiny", columns, {"age": "numeric"}, {"fee": fee}, rows)
        >>> made.train.inputs["numeric"].tolist(), made.facts["tasks"]["fee"]["kind"]
        ([[-1.0], [1.0]], 'binary')
    """
    encoder = _encoder(columns, kinds, rows["train"])
    masked = [task for task, made in labels.items() if not made.present.all()]
    splits = {
        split: source.ArraySource(
            encoder.encode(taken(columns, part)),
            {task: made.values[part] for task, made in labels.items()},
            {task: labels[task].present[part] for task in masked},
        )
        for split, part in rows.items()
    }
    facts = _facts(encoder, {task: made.facts for task, made in labels.items()})
    return _dataset(name, splits, facts)


def assemble_tasks(
    name: str,
    columns: read.Columns,
    kinds: Mapping[str, str],
    labels: Mapping[str, labels_lib.Labels],
    rows: Mapping[str, rows_lib.Rows],
    policy: str,
) -> source.Dataset:
    """A data set of tasks that have rows of their own.

    Args:
        name: of the set.
        columns: of the table.
        kinds: as for `assemble`.
        labels: of each target.
        rows: for each task the rows of each split; one encoder is fitted on the rows of
            train of all tasks.
        policy: how an epoch goes through tasks of different lengths; see `per_task`.

    Returns:
        A `Dataset` with a label for each task (`TASK`; of several targets,
        `TARGET_TASK`), masked in the rows of others.
    """
    train = np.concatenate([parts["train"] for parts in rows.values()])
    encoder = _encoder(columns, kinds, train)
    sets: dict[str, source.Dataset] = {}
    tasks: dict[str, Any] = {}
    for task, parts in rows.items():
        named = {
            task if len(labels) == 1 else f"{target}_{task}": made
            for target, made in labels.items()
        }
        splits = {
            split: source.ArraySource(
                encoder.encode(taken(columns, part)),
                {label: made.values[part] for label, made in named.items()},
                {label: made.present[part] for label, made in named.items()},
            )
            for split, part in parts.items()
        }
        sets[task] = _dataset(task, splits, {})
        tasks |= {label: made.facts for label, made in named.items()}
    joined = per_task(sets, policy=policy, name=name)
    return dataclasses.replace(joined, facts=_facts(encoder, tasks))


def taken(
    columns: Mapping[str, np.ndarray | list[Any]], rows: Sequence[int] | np.ndarray
) -> read.Columns:
    """Some rows of all columns.

    Example:
        >>> taken({"job": ["clerk", "cook"]}, [1])
        {'job': ['cook']}
    """
    return {
        name: column[rows]
        if isinstance(column, np.ndarray)
        else [column[row] for row in rows]
        for name, column in columns.items()
    }


def _encoder(
    columns: read.Columns, kinds: Mapping[str, str], train: np.ndarray
) -> encode.Encoder:
    inputs = {name: columns[name] for name in kinds}
    return encode.fit(taken(inputs, train), kinds, min_count=RARE)


def _facts(encoder: encode.Encoder, tasks: Mapping[str, Any]) -> dict[str, Any]:
    known = encoder.facts()
    cardinalities = known.pop("cardinalities")
    return {"tasks": dict(tasks), "model": {"cardinalities": cardinalities}, **known}


def _dataset(
    name: str, splits: Mapping[str, source.ArraySource], facts: dict[str, Any]
) -> source.Dataset:
    return source.Dataset(
        name, splits["train"], splits.get("validation"), splits.get("test"), facts
    )

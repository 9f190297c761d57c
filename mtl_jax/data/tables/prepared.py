"""One of our prepared sets as a table, and what its spec says must not be an input."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax.data import columns as columns_lib
from mtl_jax.data import registry
from mtl_jax.data import spec as spec_lib
from mtl_jax.data.tables import read

SCALARS = ("string", "int64", "float32")


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns, and what is known of them beforehand; of a file that is nothing.

    Attributes:
        columns: by name, all of one length.
        tasks: of a prepared set its tasks, as in `Spec.tasks`.
        hidden: columns that no task of the set may see.
        categorical: columns of numbers that are names.
        test: the rows of the official test split, if there is one beside train.
    """

    columns: read.Columns
    tasks: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()
    test: np.ndarray | None = None  # bool [N]


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Table:
    """One of our sets of rows and columns.

    Hidden are the columns of its tasks, those that give an answer away (`hides`), and
    those with a role: weights, row numbers, groups.

    Args:
        name: of the set.
        data_dir: where it is prepared.

    Returns:
        A `Table`; classes by their names, and a missing integer as NaN.

    Raises:
        FileNotFoundError: it is not prepared; the text holds the command.
        ValueError: a set of images or texts.
    """
    spec = registry.get(name)
    for feature, described in spec.features.items():
        if described["shape"] != () or described["dtype"] not in SCALARS:
            raise ValueError(
                f"data set {name!r} is no table: its feature {feature!r} has shape "
                f"{described['shape']} and dtype {described['dtype']}."
            )
    order = [part for part in ("train", "test") if part in spec.splits]
    parts = [columns_lib.read_columns(name, part, data_dir=data_dir) for part in order]
    columns: read.Columns = {}
    for feature, described in spec.features.items():
        values = [part[feature] for part in parts]
        columns[feature] = _column(values, described)
    test = None
    if len(order) == 2:
        lengths = [len(part[next(iter(spec.features))]) for part in parts]
        test = np.arange(sum(lengths)) >= lengths[0]
    return Table(
        columns,
        spec.tasks,
        frozenset(_hidden(spec)),
        frozenset(
            n
            for n, f in spec.features.items()
            if f.get("categorical") or "classes" in f
        ),
        test,
    )


def _column(parts: list[Any], described: Mapping[str, Any]) -> np.ndarray | list[Any]:
    if described["dtype"] == "string":
        return [value for part in parts for value in part]
    values = np.concatenate(parts)
    if "classes" in described:
        return [described["classes"][number] for number in values]
    if described["dtype"] == "int64" and (values == -1).any():
        return np.where(values == -1, np.nan, values)
    return values


def _hidden(spec: spec_lib.Spec) -> set[str]:
    found = {name for name, feature in spec.features.items() if "role" in feature}
    for task, described in spec.tasks.items():
        found |= {described.get("column", task), *described.get("hides", ())}
    return found

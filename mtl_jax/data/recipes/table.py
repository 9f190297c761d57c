"""Your own table: any CSV, Parquet or NPZ file with named columns."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax import errors
from mtl_jax.data import registry, source
from mtl_jax.data.tables import assemble, columns, labels, prepared, read, split
from mtl_jax.data.tables import rows as rows_lib


def table(
    *,
    path: str | None = None,
    targets: Sequence[str] = (),
    kinds: Mapping[str, str] | None = None,
    positive: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    group: Sequence[str] = (),
    task_column: str | None = None,
    policy: str = "proportional",
    fractions: Sequence[float] = split.FRACTIONS,
    standardise: bool = True,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Columns of a table that are predicted from the others.

    Every column that is no target, is not dropped and does not say how rows belong
    together is an input, numeric if all of its values are numbers. Inputs are encoded
    with the statistics and categories of train alone; missing labels are masked.

    Args:
        path: a file that `tables.read` reads (`.csv` and other delimited text, zipped
            or not; `.parquet`; `.npz`), or the name of a prepared set of ours. Of such
            a set the columns of all its tasks, what gives them away, weights and
            identifiers are never inputs, and an official test split stays what it is.
        targets: columns, each of them a task; of a prepared set its tasks, by default
            all.
        kinds: for some of the targets "classification", "binary", "ordinal", "count"
            or "regression"; default: what `labels.infer` finds.
        positive: for some of the targets the value that is 1 in a binary task.
        drop: columns that are left out.
        categorical: columns of numbers that are names: a month, a post code.
        group: rows with equal values here belong together (a patient, a day) and are
            put in one split. A single column is taken for an identifier and is no
            input; several columns describe, and stay inputs.
        task_column: each value of this column is a task with its own rows, which are
            split by themselves. Tasks are called `COLUMN_VALUE`; of several targets,
            `TARGET_COLUMN_VALUE`. Rows without a value are left out.
        policy: with `task_column`, how an epoch goes through tasks of different
            lengths; see `data.per_task`.
        fractions: of train, validation and test; of an official train split, of train
            and validation.
        standardise: regression labels have mean 0 and deviation 1 in train, over all
            tasks. Their metrics and predictions are of the values as they were
            (`Task.units`).
        seed: of the split.
        data_dir: where prepared sets are.

    Returns:
        A `Dataset`; see `tables.assemble`.

    Raises:
        FileNotFoundError: no such file or prepared set.
        ValueError: no path or targets, a column that there is not, a target that does
            not fit its kind, or a split that would be empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "shops.csv")
        ...     rows = [f"{i},{'ab'[i % 2]},{3 * i}" for i in range(40)]
        ...     _ = file.write_text("\\n".join(["size,kind,sales", *rows]))
        ...     made = table(path=str(file), targets=("sales", "kind"))
        >>> {name: task["kind"] for name, task in made.facts["tasks"].items()}
        {'sales': 'regression', 'kind': 'binary'}
    """
    found = _read(path, data_dir)
    targets = _several(targets) or tuple(found.tasks)
    if not targets:
        raise ValueError(
            f"no targets: say which columns of {path} are predicted, as in --set "
            f"data.targets=COLUMN,COLUMN. Its columns: {', '.join(found.columns)}."
        )
    group, drop = _several(group), _several(drop)
    described = {name: dict(found.tasks.get(name, {})) for name in targets}
    sources = {name: task.get("column", name) for name, task in described.items()}
    _check(found.columns, sources, kinds or {}, positive or {}, group, task_column)
    count = len(next(iter(found.columns.values())))
    rows = rows_lib.divide(
        count,
        tasks=None if task_column is None else found.columns[task_column],
        groups=[found.columns[name] for name in group],
        test=found.test,
        fractions=fractions,
        seed=seed,
    )
    train = rows_lib.within(rows, "train", count)
    made = {
        name: labels.make(
            found.columns[sources[name]],
            train,
            name=name,
            kind=(kinds or {}).get(name, described[name].get("kind")),
            positive=(positive or {}).get(name, described[name].get("positive")),
            standardise=standardise,
        )
        for name in targets
    }
    hidden = {*sources.values(), *found.hidden, task_column}
    hidden |= set(group) if len(group) == 1 else set()
    inputs = _inputs(found, hidden, drop, _several(categorical))
    title = Path(str(path)).name.partition(".")[0]
    if task_column is None:
        return assemble.assemble(title, found.columns, inputs, made, rows[""])
    named = {f"{task_column}_{value}": parts for value, parts in rows.items()}
    return assemble.assemble_tasks(title, found.columns, inputs, made, named, policy)


def _read(path: str | None, data_dir: str | os.PathLike[str] | None) -> prepared.Table:
    if not path:
        raise ValueError(
            "a table needs a file: say which and what it predicts, as in --set "
            "data.path=FILE.csv data.targets=COLUMN,COLUMN (a CSV, Parquet or NPZ "
            "file, or the name of a prepared set)."
        )
    if Path(path).is_file():
        return prepared.Table(read.read(path))
    if path in registry.DATASETS:
        return prepared.load(path, data_dir)
    known = errors.unknown_name("prepared set", path, registry.DATASETS)
    raise FileNotFoundError(f"there is no file {path}, and it is an {known}")


def _several(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _check(
    table: read.Columns,
    sources: Mapping[str, str],
    kinds: Mapping[str, str],
    positive: Mapping[str, str],
    group: Sequence[str],
    task_column: str | None,
) -> None:
    keys = [*group, task_column] if task_column else group
    for name in (*sources.values(), *keys):
        if name not in table:
            raise errors.unknown_name("column of the table", name, table)
    for name in (*kinds, *positive):
        if name not in sources:
            raise errors.unknown_name("target", name, sources)
    for name in keys:
        if name in sources.values():
            raise ValueError(
                f"column {name!r} is a target; rows cannot be grouped by what is "
                "predicted. Name another group or task_column."
            )


def _inputs(
    found: prepared.Table,
    hidden: set[Any],
    drop: Sequence[str],
    categorical: Sequence[str],
) -> dict[str, str]:
    """The columns that are inputs, and what they are."""
    for name in (*drop, *categorical):
        if name not in found.columns:
            raise errors.unknown_name("column of the table", name, found.columns)
    left = {n: c for n, c in found.columns.items() if n not in {*hidden, *drop}}
    if not left:
        raise ValueError(
            f"no column is left as an input: of {', '.join(found.columns)} all are "
            "targets, groups, dropped or hidden."
        )
    names = {*found.categorical, *categorical} & set(left)
    return columns.kinds(left, categorical=names)

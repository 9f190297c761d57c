"""From the columns of a table to the arrays that models take, fitted on train alone."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data.tables import columns as columns_lib

UNKNOWN = 0
"""The identifier of a category that is missing, or that train does not have."""


@dataclasses.dataclass(frozen=True)
class Encoder:
    """How columns become arrays; `fit` makes one.

    Numeric column j becomes `(x - mean[j]) / deviation[j]`, and 0 where it is missing,
    which is the mean; a column of `indicators` adds 1 where it is missing, else 0.
    """

    numeric: tuple[str, ...]
    mean: np.ndarray  # float64 [len(numeric)]
    deviation: np.ndarray  # float64 [len(numeric)]
    indicators: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    """For each categorical column its values, in the order of identifiers from 1."""

    def encode(
        self, columns: Mapping[str, Sequence[Any] | np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The inputs of any split.

        Args:
            columns: by name; those that were not fitted are passed over.

        Returns:
            `"numeric"`, float32 `[N, D]`, the numeric columns and then the indicators;
            `"categories"`, int32 `[N, C]`. Either is absent if the table has none.

        Raises:
            ValueError: a column is not there or has other than numbers.
        """
        for name in (*self.numeric, *self.categories):
            if name not in columns:
                raise errors.unknown_name("column of the table", name, columns)
        inputs: dict[str, np.ndarray] = {}
        if self.numeric:
            values = [columns_lib.numbers(columns[name], name) for name in self.numeric]
            table = np.stack(values, axis=1)
            absent = np.isnan(table)
            table = np.where(absent, 0.0, (table - self.mean) / self.deviation)
            places = [self.numeric.index(name) for name in self.indicators]
            whole = np.concatenate([table, absent[:, places]], axis=1)
            inputs["numeric"] = whole.astype(np.float32)
        if self.categories:
            ids = [
                _ids(columns[name], values) for name, values in self.categories.items()
            ]
            inputs["categories"] = np.stack(ids, axis=1).astype(np.int32)
        return inputs

    def facts(self) -> dict[str, Any]:
        """What a model has to know of these inputs.

        Returns:
            `numeric_names` (D of them) and `category_names` (C), `cardinalities`: how
            many identifiers each categorical column has, 0 included.
        """
        return {
            "numeric_names": (
                *self.numeric,
                *(f"{name} is missing" for name in self.indicators),
            ),
            "category_names": tuple(self.categories),
            "cardinalities": tuple(1 + len(v) for v in self.categories.values()),
        }


def fit(
    columns: Mapping[str, Sequence[Any] | np.ndarray],
    kinds: Mapping[str, str] | None = None,
    *,
    indicators: bool = True,
    min_count: int = 1,
) -> Encoder:
    """An encoder from the training split.

    Args:
        columns: the inputs by name, all of one length; no label among them.
        kinds: as `columns.kinds` gives them (the default); only the columns named here
            are encoded.
        indicators: for each numeric column with missing values in train, a further
            one that says where; else they are the mean and nothing more.
        min_count: categories that are rarer in train are 0, as unknown ones are.

    Returns:
        An `Encoder`. Categories are numbered in sorted order of their text.

    Raises:
        ValueError: no columns, unequal lengths, an unknown kind, or a column declared
            numeric that has other values.

    Example:
        >>> encoder = fit({"age": [20.0, 40.0, np.nan], "job": ["clerk", "?", "cook"]})
        >>> encoder.encode({"age": [60.0], "job": ["baker"]})["numeric"].tolist()
        [[3.0, 0.0]]
        >>> encoder.facts()["cardinalities"]
        (3,)
    """
    kinds = dict(columns_lib.kinds(columns) if kinds is None else kinds)
    for name, kind in kinds.items():
        if name not in columns:
            raise errors.unknown_name("column", name, columns)
        if kind not in (columns_lib.NUMERIC, columns_lib.CATEGORICAL):
            known = (columns_lib.NUMERIC, columns_lib.CATEGORICAL)
            raise errors.unknown_name(f"kind of column {name!r}", kind, known)
    lengths = {name: len(columns[name]) for name in kinds}
    if not lengths or len(set(lengths.values())) > 1 or 0 in lengths.values():
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            "expected columns of one length, at least one and with at least one row; "
            f"found {listed or 'none'}."
        )
    numeric = tuple(n for n, kind in kinds.items() if kind == columns_lib.NUMERIC)
    values = [columns_lib.numbers(columns[name], name) for name in numeric]
    absent = [bool(np.isnan(column).any()) for column in values]
    mean = [_or(column, np.mean, 0.0) for column in values]
    deviation = [_or(column, np.std, 1.0) or 1.0 for column in values]
    return Encoder(
        numeric=numeric,
        mean=np.array(mean, np.float64),
        deviation=np.array(deviation, np.float64),
        indicators=tuple(
            name for name, some in zip(numeric, absent, strict=True) if some
        )
        if indicators
        else (),
        categories={
            name: _values(columns[name], min_count)
            for name, kind in kinds.items()
            if kind == columns_lib.CATEGORICAL
        },
    )


def name_of(value: Any) -> str:
    """A category as a text; 4.0, as a column with missing values has it, is "4".

    Example:
        >>> name_of(4.0), name_of(" clerk ")
        ('4', 'clerk')
    """
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _or(column: np.ndarray, statistic: Any, default: float) -> float:
    present = column[~np.isnan(column)]
    return float(statistic(present)) if len(present) else default


def _values(column: Sequence[Any] | np.ndarray, min_count: int) -> tuple[str, ...]:
    counts: collections.Counter[str] = collections.Counter()
    for value, count in collections.Counter(_plain(column)).items():
        if not columns_lib.is_missing([value])[0]:
            counts[name_of(value)] += count
    return tuple(sorted(v for v, count in counts.items() if count >= min_count))


def _ids(column: Sequence[Any] | np.ndarray, values: Sequence[str]) -> np.ndarray:
    numbers = {value: number for number, value in enumerate(values, start=1)}
    plain = _plain(column)
    # Once for each different value: columns have few of them and many rows.
    known = {
        value: UNKNOWN
        if columns_lib.is_missing([value])[0]
        else numbers.get(name_of(value), UNKNOWN)
        for value in set(plain)
    }
    return np.array([known[value] for value in plain], np.int32)


def _plain(column: Sequence[Any] | np.ndarray) -> Sequence[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else column

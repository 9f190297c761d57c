"""All features of a prepared split as columns, texts and ragged ones too."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data import records, registry, resolve

PathLike = str | os.PathLike[str]
Column = np.ndarray | list[Any]


def read_columns(
    name_or_dir: PathLike,
    split: str = "train",
    *,
    columns: Sequence[str] | None = None,
    data_dir: PathLike | None = None,
) -> dict[str, Column]:
    """A split of a prepared set, feature by feature, as it is stored.

    What to make of it (ids of words, standardised numbers) is up to `text.encode` and
    `tables.encode`.

    Args:
        name_or_dir: as for `load`.
        split: a split, or a slice of one such as `"train[:90%]"`.
        columns: the features wanted, nested ones as `"group/name"`; default all.
        data_dir: default `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    Returns:
        For each feature (in the order of the original table, else of the names; the
        examples in that of the records): numbers, classes and images of
        one shape as an array `[N, ...]`; texts as a list of `str`; sequences as a
        list of lists of `str` or of arrays.

    Raises:
        FileNotFoundError: not on disk; the text holds the command that prepares it.
        ValueError: a format that needs TensorFlow, a split or feature that is not
            there, or damaged files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     found = read_columns("digits", "test", data_dir=root)
        >>> found["image"].shape, found["label"].dtype
        ((270, 8, 8, 1), dtype('int64'))
    """
    builder = resolve.builder(name_or_dir, data_dir)
    present = list(builder.info.splits)
    if "+" not in split and split.partition("[")[0] not in present:
        raise errors.unknown_name(f"split of {builder.name!r}", split, present)
    flat = records.flatten(builder.info.features)
    for name in columns or ():
        if name not in flat:
            raise errors.unknown_name(f"feature of {builder.name!r}", name, flat)
    ours = registry.DATASETS.get(builder.name)
    if ours is not None and set(ours.features) == set(flat):
        flat = {name: flat[name] for name in ours.features}
    wanted = list(flat if columns is None else columns)
    source = records.RecordSource(builder, split, wanted[0], wanted[1:])
    values: dict[str, list[Any]] = {name: [] for name in wanted}
    for start in range(0, len(source), records.CHUNK):
        rows = range(start, min(start + records.CHUNK, len(source)))
        for name, part in source.decode(rows).items():
            values[name] += part
    return {name: _column(values[name], flat[name]) for name in wanted}


def _column(values: list[Any], feature: Any) -> Column:
    described = feature.get_tensor_info()
    if hasattr(described, "shape"):  # not a sequence of several features
        dtype = np.dtype(described.np_dtype)
        if dtype.kind in "biuf" and None in described.shape:
            return [np.asarray(value, dtype) for value in values]
        if dtype.kind in "biuf":
            return np.stack(values)
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A value as TFDS decodes it, its texts as `str`."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist()) if value.dtype.kind in "OSU" else value
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.decode() if isinstance(value, bytes) else value

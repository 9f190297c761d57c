"""Sets that TFDS prepared on disk, by name or by directory; never the network."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data import arrays, cache, records, resolve
from mtl_jax.data import source as source_lib

CACHE_AFTER_SECONDS = 5.0
ALIASES = {"validation": ("validation", "valid", "val", "dev")}

PathLike = str | os.PathLike[str]


def load(
    name_or_dir: PathLike,
    *,
    input_key: str = "image",
    label_keys: Sequence[str] | None = None,
    splits: Mapping[str, str] | None = None,
    data_dir: PathLike | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
) -> source_lib.Dataset:
    """Read a prepared set into memory.

    `digits` is prepared on first use. A set that takes long to decode is kept decoded
    beside its files, so that the next run starts at once.

    Args:
        name_or_dir: one of our sets (`DATASETS`), any `name[/config][:version]` that
            TFDS prepared under `data_dir`, or the directory of a prepared set.
        input_key: the feature that is the input.
        label_keys: the features that become labels; nested ones as `"group/name"`.
            Default: every other feature of numbers with a fixed shape.
        splits: for train, validation and test, the TFDS split or slice, such as
            `{"train": "train[:90%]", "validation": "train[90%:]", "test": "test"}`.
        data_dir: default `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
        validation_fraction: share of train to use for validation where the set has
            no such split.
        seed: which examples those are.

    Returns:
        A `Dataset` in the dtypes of the features: images stay uint8.

    Raises:
        FileNotFoundError: not on disk; the text holds the command that prepares it.
        ValueError: a format that needs TensorFlow, a feature or split that is not
            there, shapes that differ between examples, or damaged files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     data = load("digits", data_dir=root)
        >>> data.train.inputs.shape, sorted(data.train.labels)
        ((1258, 8, 8, 1), ['above_five', 'label'])
    """
    builder = resolve.builder(name_or_dir, data_dir)
    chosen = _chosen_splits(builder, splits)
    parts: dict[str, source_lib.ArraySource] = {}
    for role, split in chosen.items():
        source = _record_source(builder, split, input_key, label_keys)
        batch = _read(source, Path(builder.data_dir))
        parts[role] = source_lib.ArraySource(batch["inputs"], batch["labels"])
    if validation_fraction and "validation" not in parts:
        parts["train"], parts["validation"] = arrays.carve(
            parts["train"], validation_fraction, seed
        )
    return source_lib.Dataset(
        builder.name,
        parts["train"],
        parts.get("validation"),
        parts.get("test"),
        {"tasks": _classes(builder, parts["train"].labels)},
    )


def _classes(builder: Any, labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What TFDS says of the labels that are classes."""
    features = records.flatten(builder.info.features)
    return {
        name: {"kind": "classification", "num_classes": features[name].num_classes}
        for name in labels
        if getattr(features[name], "num_classes", None)
    }


def open_source(
    name_or_dir: PathLike,
    split: str = "train",
    *,
    input_key: str = "image",
    label_keys: Sequence[str] | None = None,
    data_dir: PathLike | None = None,
) -> records.RecordSource:
    """One split of a prepared set, left on disk and decoded batch by batch.

    For sets that do not fit in memory; give it to `GrainBatches`. Arguments and
    errors are those of `load`.

    Returns:
        A source with `len(source)` and `source.take(indices)`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     source = open_source("digits", "test", data_dir=root)
        ...     source.take([3, 1])["inputs"].shape
        (2, 8, 8, 1)
    """
    builder = resolve.builder(name_or_dir, data_dir)
    return _record_source(builder, split, input_key, label_keys)


def _chosen_splits(builder: Any, splits: Mapping[str, str] | None) -> dict[str, str]:
    present = list(builder.info.splits)
    chosen: dict[str, str] = {}
    if splits is None:
        for role in source_lib.SPLITS:
            names = [n for n in ALIASES.get(role, (role,)) if n in present]
            if names:
                chosen[role] = names[0]
    else:
        for role in splits:
            if role not in source_lib.SPLITS:
                raise errors.unknown_name("split", role, source_lib.SPLITS)
        chosen = dict(splits)
    if "train" not in chosen:
        raise ValueError(
            f"dataset {builder.name!r} has the splits {', '.join(present)}: none is "
            "train. Say which is, as in "
            f"splits={{'train': '{present[0] if present else 'all'}[:90%]'}}."
        )
    for role, split in chosen.items():
        base = split.partition("[")[0]
        if "+" not in split and base not in present:
            raise ValueError(
                f"split {split!r}, asked for as {role}, is not in dataset "
                f"{builder.name!r}. Present: {', '.join(present)}."
            )
    return chosen


def _record_source(
    builder: Any, split: str, input_key: str, label_keys: Sequence[str] | None
) -> records.RecordSource:
    flat = records.flatten(builder.info.features)
    for key in (input_key, *(label_keys or ())):
        if key not in flat:
            raise errors.unknown_name(f"feature of {builder.name!r}", key, flat)
        if _shape_of_numbers(flat[key]) is None:
            usable = sorted(
                k for k, f in flat.items() if _shape_of_numbers(f) is not None
            )
            raise ValueError(
                f"feature {key!r} ({type(flat[key]).__name__}) holds no numbers. "
                f"Features of numbers: {', '.join(usable)}."
            )
    if label_keys is None:
        label_keys = [k for k, f in flat.items() if k != input_key and _is_label(f)]
    if not label_keys:
        raise ValueError(
            f"dataset {builder.name!r} has no feature of numbers with a fixed shape "
            f"beside {input_key!r}. Features: {', '.join(flat)}."
        )
    return records.RecordSource(builder, split, input_key, label_keys)


def _shape_of_numbers(feature: Any) -> tuple[int | None, ...] | None:
    """The shape of a feature of numbers, None along a free axis; else None."""
    described = feature.get_tensor_info()
    if not hasattr(described, "np_dtype"):  # a sequence of several features
        return None
    if np.dtype(described.np_dtype).kind not in "biuf":
        return None
    return tuple(described.shape)


def _is_label(feature: Any) -> bool:
    shape = _shape_of_numbers(feature)
    return shape is not None and None not in shape


def _read(source: records.RecordSource, path: Path) -> dict[str, Any]:
    query = {
        "split": source.split,
        "input": source.input_key,
        "labels": source.label_keys,
    }
    name = cache.key(path, query)
    batch = cache.read(path, name)
    if batch is None:
        start = time.monotonic()
        batch = source.read_all()
        if time.monotonic() - start > CACHE_AFTER_SECONDS:
            cache.write(path, name, batch)
    return batch

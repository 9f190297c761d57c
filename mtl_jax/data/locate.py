"""Where prepared sets lie on disk; read from their JSON, without importing TFDS."""

import json
import os
from pathlib import Path
from typing import Any

from mtl_jax.data import registry

INFO, FEATURES = "dataset_info.json", "features.json"
FORMAT = "array_record"
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def data_root(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """`data_dir`, else `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    Example:
        >>> data_root("/data").as_posix()
        '/data'
    """
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(data_dir if data_dir is not None else default).expanduser()


def is_set(directory: Path) -> bool:
    """Whether TFDS finished writing a set into `directory`."""
    return (directory / INFO).is_file() and (directory / FEATURES).is_file()


def read_info(directory: Path) -> dict[str, Any]:
    """The `dataset_info.json` of a prepared set."""
    path = directory / INFO
    try:
        info: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}). Remove {directory} and prepare the set "
            "again."
        ) from error
    return info


def formats(info: dict[str, Any]) -> list[str]:
    """The file formats in which a set lies on disk, its main one first."""
    return [info.get("fileFormat", "tfrecord"), *info.get("alternativeFileFormats", [])]


def missing_shards(directory: Path, info: dict[str, Any]) -> list[str]:
    """Names of the array_record files that the set should hold and does not."""
    missing = []
    for split in info.get("splits", []):
        lengths = split.get("shardLengths", [])
        template = split.get("filepathTemplate", TEMPLATE)
        for shard in range(len(lengths)):
            name = template.format(
                DATASET=info.get("name", ""),
                SPLIT=split["name"],
                FILEFORMAT=FORMAT,
                SHARD_X_OF_Y=f"{shard:05d}-of-{len(lengths):05d}",
            )
            if not (directory / name).is_file():
                missing.append(name)
    return missing


def find(name: str, root: Path) -> Path | None:
    """The directory of the set `name[/config][:version]` under `root`, or None.

    Without a version it is the newest one.

    Raises:
        ValueError: the set has several configs and `name` says none.
    """
    path, _, version = name.partition(":")
    base = root / path
    direct = _newest(base, version)
    if direct is not None or not base.is_dir():
        return direct
    configs = {
        child.name: found
        for child in sorted(base.iterdir())
        if child.is_dir() and (found := _newest(child, version)) is not None
    }
    if len(configs) > 1:
        raise ValueError(
            f"dataset {path!r} under {root} has several configs: "
            f"{', '.join(configs)}. Name one, as in '{path}/{next(iter(configs))}'."
        )
    return next(iter(configs.values()), None)


def inside(directory: Path) -> Path | None:
    """`directory` if it is a prepared set, else the newest version below it."""
    if is_set(directory):
        return directory
    if not directory.is_dir():
        return None
    return find(directory.name, directory.parent)


def spec_dir(spec: registry.Spec, root: Path) -> Path:
    """Where the prepared files of one of our sets lie."""
    return root / spec.name / spec.version


def _newest(base: Path, version: str) -> Path | None:
    if not base.is_dir():
        return None
    found = [
        (tuple(map(int, child.name.split("."))), child)
        for child in base.iterdir()
        if child.name.replace(".", "").isdigit()
        and child.name.count(".") == 2
        and version in ("", child.name)
        and is_set(child)
    ]
    return max(found)[1] if found else None

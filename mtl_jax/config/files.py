"""Python config files and the record of a run."""

import dataclasses
import json
import re
import runpy
import traceback
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtl_jax.config import parse, schema
from mtl_jax.errors import unknown_name

SHAPE = "shape of an array"
"""The key of a record that stands for an array."""


def load(path: str | Path) -> schema.Config:
    """The settings of a Python config file.

    Args:
        path: a file that defines `get_config() -> Config`.

    Returns:
        What `get_config` returns.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file without `get_config`, or one that returns something else or
            raises an error; the text has the line of the file.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(str(p) for p in Path("configs").glob("*.py"))
        there = f" There are: {', '.join(near)}." if near else ""
        raise FileNotFoundError(f"there is no config file {path}.{there}")
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise _in_file(path, error) from error
    if not callable(names.get("get_config")):
        raise ValueError(
            f"{path} is no config file: it must define get_config() that returns a "
            "mtl_jax.config.Config"
        )
    try:
        config = names["get_config"]()
    except Exception as error:
        raise _in_file(path, error) from error
    if not isinstance(config, schema.Config):
        raise ValueError(
            f"get_config() of {path} returned {type(config).__name__}; it must return "
            "a mtl_jax.config.Config"
        )
    try:
        return parse.from_plain(schema.Config, to_plain(config))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _in_file(path: Path, error: Exception) -> ValueError:
    """An error of the code in a config file, with its line and the nearest key."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return ValueError(f"{path}, line {error.lineno}: {error.msg}")
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == str(path)]
    where = f"{path}, line {lines[-1]}" if lines else f"{path}"
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected .*? '(\w+)'", str(error))
    kind = getattr(schema, found[1], None) if found else None
    if found and dataclasses.is_dataclass(kind):
        known = [f.name for f in dataclasses.fields(kind)]
        return ValueError(
            f"{where}: {unknown_name(f'key of {found[1]}', found[2], known)}"
        )
    return ValueError(f"{where}: {type(error).__name__}: {error}")


def to_plain(config: schema.Config) -> dict[str, Any]:
    """The settings as dictionaries, lists and numbers, as JSON has them.

    Raises:
        TypeError: settings that JSON has not, such as functions.
    """
    return json.loads(json.dumps(dataclasses.asdict(config)))


def read_record(workdir: str | Path) -> dict[str, Any]:
    """What `config.json` of a work dir holds.

    Raises:
        FileNotFoundError: no work dir, or none of ours.
        ValueError: a damaged `config.json`.
    """
    path = Path(workdir) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} is not the work dir of a run: there is no {path}. Work dirs "
            "are made by: mtl-jax train CONFIG --workdir DIR"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["config"], example(record["inputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}). Put back a copy of "
            "it; where the same config and --set are known, move it away and start "
            "mtl-jax train again, which writes it anew"
        ) from error
    return record


def example(inputs: dict[str, Any]) -> Any:
    """The shapes of one example `[1, ...]`, from what a record says of the inputs.

    Example:
        >>> example({"shape": [28, 28], "dtype": "uint8"})
        ShapeDtypeStruct(shape=(1, 28, 28), dtype=uint8)
    """
    if isinstance(inputs.get("shape"), list):
        return jax.ShapeDtypeStruct((1, *inputs["shape"]), inputs["dtype"])
    return {name: example(array) for name, array in inputs.items()}


def facts(plain: Any) -> Any:
    """What a record says of the data; zeros stand for arrays, which it does not have.

    Example:
        >>> facts({"vectors": {"shape of an array": [2, 3]}})["vectors"].shape
        (2, 3)
    """
    if not isinstance(plain, dict):
        return plain
    if list(plain) == [SHAPE]:
        return np.zeros(plain[SHAPE], np.float32)
    return {name: facts(value) for name, value in plain.items()}


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """`key: before -> now` for every setting that differs.

    Example:
        >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
        ['a.b: 1 -> 2']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        lines = []
        for key in sorted({*before, *now}):
            where = f"{path}.{key}" if path else key
            lines += differences(before.get(key), now.get(key), where)
        return lines
    if _names(before) and _names(before) == _names(now):
        tables = [{item["name"]: item for item in table} for table in (before, now)]
        return differences(tables[0], tables[1], path)
    return [] if before == now else [f"{path}: {before!r} -> {now!r}"]


def _names(table: Any) -> list[str]:
    """The names of a list of named tables, such as the tasks."""
    named = isinstance(table, list) and all(
        isinstance(item, dict) and "name" in item for item in table
    )
    return [item["name"] for item in table] if named else []

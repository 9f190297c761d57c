"""Python config files and the record of a run."""

import dataclasses
import json
import runpy
from pathlib import Path
from typing import Any

from mtl_jax.config import parse, schema


def load(path: str | Path) -> schema.Config:
    """The settings of a Python config file.

    Args:
        path: a file that defines `get_config() -> Config`.

    Returns:
        What `get_config` returns.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file without `get_config`, or one that returns something else.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(str(p) for p in Path("configs").glob("*.py"))
        there = f" There are: {', '.join(near)}." if near else ""
        raise FileNotFoundError(f"there is no config file {path}.{there}")
    names = runpy.run_path(str(path))
    if not callable(names.get("get_config")):
        raise ValueError(
            f"{path} is no config file: it must define get_config() that returns a "
            "mtl_jax.config.Config"
        )
    config = names["get_config"]()
    if not isinstance(config, schema.Config):
        raise ValueError(
            f"get_config() of {path} returned {type(config).__name__}; it must return "
            "a mtl_jax.config.Config"
        )
    return parse.from_plain(schema.Config, to_plain(config))


def to_plain(config: schema.Config) -> dict[str, Any]:
    """The settings as dictionaries, lists and numbers, as JSON has them."""
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
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


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
    return [] if before == now else [f"{path}: {before!r} -> {now!r}"]

"""Plain values into typed settings, strictly."""

import ast
import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from mtl_jax.errors import unknown_name

T = TypeVar("T")


def from_plain(kind: type[T], plain: Mapping[str, Any], path: str = "") -> T:
    """Build a settings dataclass from dictionaries, lists and numbers.

    Args:
        kind: the dataclass.
        plain: its fields; nested dataclasses are dictionaries.
        path: where it is, for errors.

    Returns:
        The dataclass.

    Raises:
        ValueError: an unknown or missing key, or a value of the wrong type or out of
            range; the text has the whole path and the nearest right key.

    Example:
        >>> from mtl_jax.config.schema import TrainConfig
        >>> from_plain(TrainConfig, {"epochs": 3}).epochs
        3
        >>> from_plain(TrainConfig, {"epcohs": 3}, "train")
        Traceback (most recent call last):
        ...
        ValueError: unknown config key 'train.epcohs'. Did you mean 'train.epochs'?...
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in plain:
        if key not in fields:
            known = [_join(path, name) for name in fields]
            raise unknown_name("config key", _join(path, key), known)
    missing = [
        _join(path, f.name)
        for f in fields.values()
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in plain
    ]
    if missing:
        raise ValueError(f"config key {', '.join(map(repr, missing))} is not set")
    values = {k: coerce(v, hints[k], _join(path, k)) for k, v in plain.items()}
    for key, value in values.items():
        least = fields[key].metadata.get("least")
        if least is not None and value is not None and value < least:
            raise ValueError(
                f"config key {_join(path, key)!r} must be at least {least}; found "
                f"{value}"
            )
    return kind(**values)


def coerce(value: Any, hint: Any, path: str) -> Any:
    """A value as the type of its field, without guessing.

    A text for a list of texts is cut at its commas.

    Raises:
        ValueError: it is of another type.

    Example:
        >>> coerce("casual, registered", tuple[str, ...], "data.targets")
        ('casual', 'registered')
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = [a for a in arguments if a is not type(None)]
        return coerce(value, inner[0], path)
    if origin is Literal:
        if value not in arguments:
            raise unknown_name(f"value of {path}", str(value), map(str, arguments))
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(path, value, "a table of keys")
        return from_plain(typing.cast(type, hint), value, path)
    if origin in (tuple, Sequence):
        if arguments[0] is str and isinstance(value, str):
            value = _listed(value)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _wrong(path, value, f"a list of {_name(arguments[0])}")
        return tuple(
            coerce(v, arguments[0], f"{path}[{i}]") for i, v in enumerate(value)
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _wrong(path, value, "a table of keys")
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        raise _wrong(path, value, "int")
    if not isinstance(value, hint):
        raise _wrong(path, value, _name(hint))
    return value


def override(config: T, assignments: Sequence[str]) -> T:
    """A copy with some keys set, from texts such as `train.epochs=3`.

    Tasks are reached by name: `tasks.digit.weight=2`. Values are Python literals;
    anything else is text. Texts for a list are separated by commas,
    `data.targets=casual,registered`. `none` unsets an optional key.

    Args:
        config: the settings.
        assignments: `key=value` texts.

    Returns:
        The new settings.

    Raises:
        ValueError: a text without "=", an unknown key, or a value of the wrong type.

    Example:
        >>> from mtl_jax.config.schema import TrainConfig
        >>> override(TrainConfig(), ["epochs=3", "best=digit/accuracy"]).best
        'digit/accuracy'
    """
    plain = dataclasses.asdict(config)  # type: ignore[call-overload]
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(
                f"--set takes key=value, e.g. train.epochs=3; found {assignment!r}"
            )
        _assign(plain, type(config), key.strip().split("."), text.strip(), "")
    return from_plain(type(config), plain)


def _assign(
    plain: dict[str, Any], kind: Any, keys: list[str], text: str, path: str
) -> None:
    """Set one key in the plain form, following the types."""
    key, rest = keys[0], keys[1:]
    here = _join(path, key)
    hints = typing.get_type_hints(kind)
    if key not in hints:
        known = [_join(path, name) for name in hints]
        raise unknown_name("config key", here, known)
    hint = hints[key]
    if not rest:
        plain[key] = _value(text, hint)
        return
    if dataclasses.is_dataclass(hint):
        _assign(plain[key], hint, rest, text, here)
    elif typing.get_origin(hint) is dict:
        plain[key] = {**plain[key], ".".join(rest): _literal(text)}
    elif _tasks(plain[key]) and len(rest) > 1:
        names = {item["name"]: item for item in plain[key]}
        if rest[0] not in names:
            raise unknown_name("task", rest[0], names)
        inner = typing.get_args(hint)[0]
        _assign(names[rest[0]], inner, rest[1:], text, f"{here}.{rest[0]}")
    elif _tasks(plain[key]):
        there = [item["name"] for item in plain[key]]
        name = rest[0] if rest[0] in there else there[0]
        raise ValueError(
            f"{here}.{rest[0]} cannot be set as a whole; set one of its keys, e.g. "
            f"{here}.{name}.weight=2"
        )
    else:
        raise ValueError(f"config key {here!r} has no part {'.'.join(rest)!r}")


def _tasks(value: Any) -> bool:
    """Whether a value is a list of tables with names."""
    return isinstance(value, tuple | list) and any("name" in item for item in value)


def _value(text: str, hint: Any) -> Any:
    """What a text on the command line means for a field."""
    value = _literal(text)
    if value is None:
        return None
    if hint in (str, str | None):
        return str(value)
    if hint in (tuple[str, ...], tuple[str, ...] | None):
        # Names may look like numbers: 2024,2025 are two columns.
        return value if text.startswith(("[", "(")) else text
    return value


def _listed(text: str) -> tuple[str, ...]:
    """The parts of a text between commas, without spaces around them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _literal(text: str) -> Any:
    words = {"none": None, "null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


def _wrong(path: str, value: Any, wanted: str) -> ValueError:
    return ValueError(
        f"config key {path!r} takes {wanted}; found {value!r} ({type(value).__name__})"
    )

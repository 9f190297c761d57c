"""Building things by name: methods, losses, metrics."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mtl_jax.errors import unknown_name

T = TypeVar("T")


def make(
    kind: str,
    table: Mapping[str, Callable[..., T]],
    name: str,
    arguments: Mapping[str, Any],
) -> T:
    """Call the factory of that name.

    Args:
        kind: what the table holds, in the singular: "method", "loss".
        table: name to factory.
        name: a key of the table.
        arguments: hyper-parameters of the factory.

    Returns:
        What the factory returns.

    Raises:
        ValueError: an unknown name, an unknown hyper-parameter, or one that is
            missing; the text has the known ones and the nearest match.

    Example:
        >>> make("number", {"int": lambda text: int(text)}, "int", {"text": "3"})
        3
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    known = inspect.signature(table[name]).parameters
    for key in arguments:
        if key not in known:
            raise unknown_name(f"hyper-parameter of {kind} {name!r}", key, known)
    missing = [
        p.name
        for p in known.values()
        if p.default is p.empty and p.name not in arguments
    ]
    if missing:
        hint = f"e.g. make({name!r}, {missing[0]}=…)"
        if kind == "method":
            hint += f" or, on the command line, --set method.args.{missing[0]}=…"
        if kind == "wrapper":
            hint = f'in settings {{"name": "{name}", "{missing[0]}": …}}'
        raise ValueError(
            f"{kind} {name!r} needs the hyper-parameter{'s' * (len(missing) > 1)} "
            f"{', '.join(missing)}, {hint}"
        )
    return table[name](**arguments)

"""From the cells of a table to its columns, as the features of a set say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MISSING = ("", "?")


def columns(
    rows: Iterable[Sequence[str]], features: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[Any]]:
    """The columns of a table.

    Args:
        rows: cells in the order of `features`, without the header.
        features: `Spec.features`, of texts and scalars.

    Returns:
        Texts, integers and numbers; a missing text is "", a missing number NaN, a
        missing integer -1.

    Example:
        >>> features = {"job": {"dtype": "string"}, "age": {"dtype": "int64"}}
        >>> columns([["?", "30"], ["clerk", "41"]], features)
        {'job': ['', 'clerk'], 'age': [30, 41]}
    """
    converters = {"string": str, "int64": int, "float32": float}
    absent = {"string": "", "int64": -1, "float32": float("nan")}
    result: dict[str, list[Any]] = {}
    cells = zip(*rows, strict=True)
    for (name, feature), values in zip(features.items(), cells, strict=True):
        convert, default = converters[feature["dtype"]], absent[feature["dtype"]]
        result[name] = [default if v in MISSING else convert(v) for v in values]
    return result

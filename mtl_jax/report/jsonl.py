"""Metrics rows in a file, one JSON object a line."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mtl_jax.report import atomic, reading


def plain(value: Any) -> Any:
    """`value` as JSON can hold it.

    Args:
        value: numbers, text, None, arrays of them, and mappings and sequences of
            those. Whatever else becomes its text.

    Returns:
        The same built of dict, list, str, int, float, bool and None. JSON knows no
        NaN and no infinity: both become None.

    Example:
        >>> plain({"loss": float("nan"), "shape": (2, 3)})
        {'loss': None, 'shape': [2, 3]}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if hasattr(value, "tolist"):  # numpy and JAX, scalars and arrays
        return plain(value.tolist())
    return str(value)


class JsonlWriter:
    """Appends metrics rows to a file; what is written survives the process.

    Args:
        path: the file. Its folder is made if it is not there.
        resume_from: None for a new run, which replaces an older file; or the step of
            the checkpoint that the run goes on from. Rows with a greater step will be
            computed again, so they are dropped, and so is a last line that a crash
            left half-written. The rest is kept by writing a new file and renaming it:
            nothing is lost in between. A row that was kept is not written again: a
            finished run that is started once more evaluates, and adds nothing.

    Raises:
        ValueError: on resuming, where a line other than the last is not a row.

    Example:
        >>> path = getfixture("tmp_path") / "metrics.jsonl"
        >>> with JsonlWriter(path, resume_from=None) as writer:
        ...     writer.write({"step": 1, "epoch": 1, "split": "train"})
        >>> with JsonlWriter(path, resume_from=1) as writer:
        ...     writer.write({"step": 2, "epoch": 1, "split": "train"})
        >>> [row["step"] for row in read(path)]
        [1, 2]
    """

    def __init__(self, path: str | os.PathLike[str], *, resume_from: int | None):
        self.path = Path(path)
        kept: list[dict[str, Any]] = []
        if resume_from is not None and self.path.exists():
            kept = [row for row in read(self.path) if _is_done(row, resume_from)]
        self._kept = {_place(row) for row in kept}
        with atomic.replacing(self.path) as temporary:
            temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, row: reading.Row) -> None:
        """Append one row and hand it to the operating system at once."""
        if _place(row) not in self._kept:
            self._file.write(_line(row))
            self._file.flush()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> "JsonlWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a file that `JsonlWriter` wrote, also while a run writes it.

    Args:
        path: the file.

    Returns:
        The rows in the order of the file, without a half-written last line.

    Raises:
        ValueError: where a line other than the last is not a JSON object.
        FileNotFoundError: where there is no such file.

    Example:
        >>> path = getfixture("tmp_path") / "metrics.jsonl"
        >>> _ = path.write_text('{"step": 1}\\n{"step": 2, "dig')
        >>> read(path)
        [{'step': 1}]
    """
    # Binary, and split at the newline only: a crash may leave any bytes at the end.
    lines = Path(path).read_bytes().split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    found = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if index == len(lines) - 1:
                break
            raise ValueError(
                f"{path}, line {index + 1}, is not a metrics row ({error}). Only the "
                "last line may be half-written; remove or repair this one."
            ) from error
        found.append(row)
    return found


def _line(row: reading.Row) -> str:
    return json.dumps(plain(row), allow_nan=False) + "\n"


def _place(row: reading.Row) -> tuple[Any, Any]:
    return row.get("step"), row.get("split")


def _is_done(row: reading.Row, resume_from: int) -> bool:
    """Whether the checkpoint at `resume_from` has this row behind it."""
    step = reading.number(row, "step")
    return step is None or step <= resume_from

"""Tables from files: delimited text, Parquet, or NumPy's .npz."""

import collections
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.data import files

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_LINES = 50

Columns = dict[str, np.ndarray | list[Any]]


def read(
    path: str | Path,
    *,
    delimiter: str | None = None,
    names: Sequence[str] | None = None,
    skip_lines: int = 0,
) -> Columns:
    """The columns of a table.

    Args:
        path: ends in `.npz` (one array a column), `.parquet` (needs pyarrow), or
            anything else for delimited text, zipped by gzip or not.
        delimiter: of a text; default the one of comma, semicolon, tab and bar that
            cuts its first lines into the most columns.
        names: of the columns of a text without a header.
        skip_lines: lines of a text before the header or the first row.

    Returns:
        Columns of one length: of a text lists of `str` without surrounding spaces (what
        they are is up to `columns.kinds`); else arrays, or lists of `str`.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: Parquet without pyarrow.
        ValueError: rows of different lengths (the text names the file and the line),
            names that come twice, no rows, or a damaged file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "tiny.csv")
        ...     _ = path.write_text('age;job\\n30;"clerk"\\n41;?\\n')
        ...     read(path)
        {'age': ['30', '41'], 'job': ['clerk', '?']}
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".npz", ".parquet", ".pq"):
        if delimiter is not None or names is not None or skip_lines:
            raise ValueError(
                f"{path} is no delimited text: delimiter, names and skip_lines do not "
                "apply."
            )
        return _npz(path) if suffix == ".npz" else _parquet(path)
    return _delimited(path, delimiter, names, skip_lines)


def _delimited(
    path: Path, delimiter: str | None, names: Sequence[str] | None, skip_lines: int
) -> Columns:
    # Not splitlines: cells may hold other separators than line ends.
    lines = list(io.StringIO(files.text(path), newline=""))[skip_lines:]
    if delimiter is None:
        delimiter = _sniffed(lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    header = None if names is None else [str(name) for name in names]
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if header is None:
                header = [cell or f"column_{i}" for i, cell in enumerate(cells)]
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"{path}, line {skip_lines + reader.line_num} has {len(cells)} "
                    f"columns, expected {len(header)}: {delimiter.join(row)[:60]!r}. "
                    f"Correct the line, or name the delimiter ({delimiter!r} was "
                    "taken)."
                )
            rows.append(cells)
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {skip_lines + reader.line_num}: {error}. Correct the quotes "
            "of this line."
        ) from error
    if header is None or not rows:
        raise ValueError(f"{path} has no rows below its header.")
    counts = collections.Counter(header)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise ValueError(
            f"{path}: columns named twice: {', '.join(twice)}. Rename them; if the "
            "first row is no header, give names=[...]."
        )
    return {
        name: list(cells)
        for name, cells in zip(header, zip(*rows, strict=True), strict=True)
    }


def _sniffed(lines: Sequence[str]) -> str:
    """The delimiter that cuts the first lines into the most equally long rows."""
    first = "".join([line for line in lines if line.strip()][:SNIFFED_LINES])
    widths = {}
    for delimiter in DELIMITERS:
        rows = csv.reader(io.StringIO(first), delimiter=delimiter)
        counts = collections.Counter(len(row) for row in rows)
        width, agreeing = counts.most_common(1)[0] if counts else (1, 0)
        widths[delimiter] = (agreeing if width > 1 else 0, width)
    return max(DELIMITERS, key=widths.__getitem__)


def _npz(path: Path) -> Columns:
    columns = files.arrays(path)
    shapes = {name: array.shape for name, array in columns.items()}
    if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"{path}: expected one array [N] a column, all of one length; found "
            f"{listed or 'none'}."
        )
    return {name: _column(array) for name, array in columns.items()}


def _parquet(path: Path) -> Columns:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            f"{path}: Parquet needs pyarrow. Install it: pip install 'mtl-jax[parquet]'"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        table = parquet.read_table(path)
    except (ValueError, OSError) as error:
        raise files.damaged(path, "Parquet", error) from error
    if table.num_rows == 0:
        raise ValueError(f"{path} has no rows.")
    columns: Columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.to_pylist()
        kinds = {type(value) for value in values} - {type(None)}
        if kinds <= {bool, int, float}:
            absent = float("nan")
            numbers = [absent if value is None else value for value in values]
            columns[name] = np.array(numbers)
        else:
            columns[name] = ["" if value is None else str(value) for value in values]
    return columns


def _column(array: np.ndarray) -> np.ndarray | list[Any]:
    return array if array.dtype.kind in "biuf" else [str(v) for v in array.tolist()]

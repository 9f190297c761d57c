"""Files by path, zipped by gzip or not: their bytes, lines, text, arrays."""

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

MAGIC = b"\x1f\x8b"


def unzipped(path: Path) -> bytes:
    """The content of a file, unzipped if it starts as gzip does.

    Raises:
        ValueError: the gzip stream is cut short or damaged.
    """
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, "gzip", error) from error


def lines(path: Path) -> Iterator[bytes]:
    """The lines of such a file, one after the other; errors are those of `unzipped`."""
    with path.open("rb") as file:
        zipped = file.read(len(MAGIC)) == MAGIC
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            yield from stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, "gzip", error) from error


def text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark; line ends stay.

    Raises:
        ValueError: the gzip stream is damaged, or the bytes are not UTF-8.
    """
    content = unzipped(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: not UTF-8 ({error.reason}). Convert the file, as in "
            "iconv -f LATIN1 -t UTF-8."
        ) from error


def arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays `names` (default all) of a .npz file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or lacks an array.
    """
    # An open file: numpy leaves one that it opens itself open if it cannot read it.
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as found:
                return {name: found[name] for name in (names or found)}
        except (
            *(ValueError, KeyError, OSError, EOFError, AttributeError),
            *(zipfile.BadZipFile, zlib.error),
        ) as error:
            raise damaged(path, ".npz", error) from error


def damaged(path: Path, kind: str, error: Exception) -> ValueError:
    """The error for a file that cannot be unpacked."""
    return ValueError(
        f"{path} ({path.stat().st_size} bytes) is a damaged or incomplete {kind} file "
        f"({error}). Copy or download this file again."
    )

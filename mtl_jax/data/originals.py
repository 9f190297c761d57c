"""Original files of a set: found in a folder, unzipped, and checked.

The checksum is of what a file says, not of how it is packed: zipped or not, an
archive or its folder, and of a table its cells, whatever the line ends, quotes,
delimiter and order of the rows.
"""

import csv
import dataclasses
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from mtl_jax.data import files

DEPTH = 3
"""How many folders below `--from DIR` are searched."""

Content = TypeVar("Content")


@dataclasses.dataclass(frozen=True)
class File:
    """One original file: its name, the sha256 of its content, an array's shape."""

    name: str
    sha256: str
    shape: tuple[int, ...] = ()


def candidates(folder: Path, name: str) -> list[Path]:
    """Where `name` lies in `folder`, zipped or not; otherwise in its subfolders.

    An archive `name.zip` may be a folder `name`. Sets may share file names (those of
    MNIST are also those of Fashion-MNIST), hence several candidates.
    """
    names = [name, name.removesuffix(".gz")]
    if name.endswith(".zip"):
        names = [name, name.removesuffix(".zip")]
    elif not name.endswith(".gz"):
        names = [name, f"{name}.gz"]
    found = _inside(folder, names)
    if found:
        return found[:1]
    for here, folders, _ in os.walk(folder):
        depth = len(Path(here).relative_to(folder).parts)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if depth == DEPTH:
            folders.clear()
        if depth:
            found += _inside(Path(here), names)[:1]
    return found


def read_bytes(
    folder: Path,
    file: File,
    set_name: str,
    inspect: Callable[[bytes, str], object] | None = None,
) -> bytes:
    """The unzipped content of an original file.

    Args:
        folder: holds the file, itself or in a subfolder.
        file: its name and checksum.
        set_name: for the error texts.
        inspect: called with the content and the file's name before the checksum is
            looked at, to refuse it in more telling words.

    Returns:
        The bytes.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is cut short, damaged, or another file; it is named.
    """

    def load(path: Path) -> bytes:
        content = files.unzipped(path)
        if inspect is not None:
            inspect(content, str(path))
        return content

    return _checked(folder, file, set_name, load, digest_of_bytes)


def read_text(folder: Path, file: File, set_name: str) -> str:
    """The same of a UTF-8 text; line ends stay what they are."""
    return read_bytes(folder, file, set_name).decode("utf-8")


def read_table(
    folder: Path, file: File, set_name: str, delimiter: str = ","
) -> list[list[str]]:
    """The rows of a delimited text as stripped cells; blank lines are left out.

    Args:
        folder: holds the file, itself or in a subfolder.
        file: its name, and `digest_of_table` of its rows.
        set_name: for the error texts.
        delimiter: what most cells are separated by; `;` and tabs are found too.

    Returns:
        The rows in the order of the file, its header (if any) first.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is cut short, damaged, or another file; it is named.
    """

    def load(path: Path) -> list[list[str]]:
        text = files.unzipped(path).decode("utf-8", errors="replace")
        first = text.lstrip().partition("\n")[0]
        separator = max((delimiter, ";", "\t"), key=first.count)
        lines = csv.reader(
            io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True
        )
        rows = ([cell.strip() for cell in row] for row in lines)
        return [row for row in rows if any(row)]

    return _checked(folder, file, set_name, load, digest_of_table)


def read_archive(folder: Path, file: File, set_name: str) -> dict[str, bytes]:
    """The files in a .zip, or in the folder that it unpacks to, by their path.

    Paths begin below the folder of the archive's name. Errors are those of
    `read_bytes`.
    """
    root = file.name.removesuffix(".zip")

    def load(path: Path) -> dict[str, bytes]:
        if path.is_dir():
            files = (found for found in path.rglob("*") if found.is_file())
            content = {
                found.relative_to(path).as_posix(): found.read_bytes()
                for found in files
            }
        else:
            content = _unpacked(path, f"{root}/")
        return {
            name: content[name]
            for name in sorted(content)
            if not name.rpartition("/")[2].startswith(".")
        }

    return _checked(folder, file, set_name, load, digest_of_files)


def read_arrays(
    folder: Path, file: File, set_name: str, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """The arrays `names` in a .npz file. Errors are those of `read_bytes`."""

    def load(path: Path) -> dict[str, np.ndarray]:
        return files.arrays(path, names)

    def digest(arrays: Mapping[str, np.ndarray]) -> str:
        described = {
            name: f"{array.dtype.str}{array.shape}".encode() + array.tobytes()
            for name, array in arrays.items()
        }
        return digest_of_files(described)

    return _checked(folder, file, set_name, load, digest)


def digest_of_bytes(content: bytes) -> str:
    """The sha256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_of_table(rows: Iterable[Iterable[str]]) -> str:
    """The sha256 of the cells of a table, in sorted order of its rows.

    Example:
        >>> first = digest_of_table([["a", "b"], ["1", "2"]])
        >>> first == digest_of_table([["1", "2"], ["a", "b"]])
        True
    """
    lines = sorted("\x1f".join(row) for row in rows)
    return digest_of_bytes("\x1e".join(lines).encode())


def digest_of_files(files: Mapping[str, bytes]) -> str:
    """The sha256 over names and contents, in the order of the names."""
    parts = (
        f"{name}\x1f{digest_of_bytes(files[name])}\x1e".encode()
        for name in sorted(files)
    )
    return digest_of_bytes(b"".join(parts))


def _inside(folder: Path, names: Iterable[str]) -> list[Path]:
    paths = [folder / name for name in names]
    return [
        path
        for path in paths
        if path.is_file() or (path.is_dir() and f"{path.name}.zip" in names)
    ]


def _checked(
    folder: Path,
    file: File,
    set_name: str,
    load: Callable[[Path], Content],
    digest: Callable[[Content], str],
) -> Content:
    refused: list[ValueError] = []
    for path in candidates(folder, file.name):
        try:
            content = load(path)
        except ValueError as error:
            refused.append(error)
            continue
        found = digest(content)
        if found == file.sha256:
            return content
        refused.append(
            ValueError(
                f"{path} is not the published file of {set_name}: the sha256 of its "
                f"unpacked content is {found}, expected {file.sha256}. Its bytes are "
                "damaged or cut short, or it is another version or set with the same "
                "file names (as MNIST and Fashion-MNIST). Copy or download this file "
                "again."
            )
        )
    if refused:
        raise refused[0]
    raise FileNotFoundError(f"{folder} holds no {file.name}, zipped or not.")


def _unpacked(path: Path, root: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removeprefix(root): archive.read(name)
                for name in archive.namelist()
                if name.startswith(root) and not name.endswith("/")
            }
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise files.damaged(path, "zip", error) from error

"""The idx format of MNIST: a big-endian header, then the array."""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np

DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def find(folder: Path, name: str) -> Path:
    """The file `name` in `folder`, or its unzipped form.

    Raises:
        FileNotFoundError: neither is there.
    """
    for path in (folder / name, folder / name.removesuffix(".gz")):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder} holds neither {name} nor its unzipped form.")


def read_bytes(path: Path) -> bytes:
    """The content of a file, unzipped if it starts as gzip does.

    Raises:
        ValueError: the gzip stream is cut short or damaged.
    """
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} ({len(content)} bytes) is a damaged or incomplete gzip file "
            f"({error}). Copy or download this file again."
        ) from error


def parse(content: bytes, shape: tuple[int, ...], origin: str) -> np.ndarray:
    """The array in an idx file.

    Args:
        content: the unzipped bytes of the file.
        shape: the shape that the file must hold.
        origin: the file's name, for the error texts.

    Returns:
        The array, read-only, in the file's dtype and the machine's byte order.

    Raises:
        ValueError: not an idx file, another shape, or missing or surplus bytes.

    Example:
        >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7]), (3,), "labels")
        array([5, 6, 7], dtype=uint8)
    """
    known = content[:2] == b"\x00\x00" and len(content) >= 4 and content[2] in DTYPES
    if not known or len(content) < 4 + 4 * content[3]:
        raise ValueError(
            f"{origin} is not an idx file: it starts with the bytes "
            f"{content[:4].hex(' ') or '(empty)'}, an idx file with 00 00, its dtype "
            "and its number of axes. Copy or download this file again."
        )
    dtype, rank = np.dtype(DTYPES[content[2]]), content[3]
    found = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    if found != shape:
        raise ValueError(
            f"{origin} holds an array of shape {found}, expected {shape}. Are two "
            "of the files swapped, or is it of another set?"
        )
    body = len(content) - 4 - 4 * rank
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if body != expected:
        raise ValueError(
            f"{origin} holds {body} bytes of data, its header promises {expected}: "
            "the file is cut short or damaged. Copy or download this file again."
        )
    array = np.frombuffer(content, dtype, offset=4 + 4 * rank).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def check_sha256(content: bytes, expected: str, origin: str, set_name: str) -> None:
    """Raise a `ValueError` unless `content` has the published checksum."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"{origin} is not the published file of {set_name}: the sha256 of its "
            f"unzipped content is {found}, expected {expected}. Its bytes are "
            "damaged, or it is of another set with the same file names (such as "
            "Fashion-MNIST). Copy or download this file again."
        )

"""The idx format of MNIST: a big-endian header, then the array."""

import struct
from pathlib import Path

import numpy as np

from mtl_jax.data import originals

DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read(folder: Path, file: originals.File, set_name: str) -> np.ndarray:
    """The array of an original idx file, every byte checked.

    Args:
        folder: holds the file, itself or in a subfolder, zipped or not.
        file: its name, checksum and shape.
        set_name: for the error texts.

    Returns:
        The array, as `parse` gives it.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is damaged, or another file.
    """

    def inspect(content: bytes, origin: str) -> None:
        parse(content, file.shape, origin)

    content = originals.read_bytes(folder, file, set_name, inspect)
    return parse(content, file.shape, file.name)


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

"""Leaves of a pytree on the host: names, copies, checksums."""

import dataclasses
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from mtl_jax import stacked
from mtl_jax.checkpoint.record import CheckpointError, LeafRecord
from mtl_jax.typing import PyTree

_PYTHON: dict[type, Any] = {
    bool: np.bool_,
    int: np.int64,
    float: np.float64,
    complex: np.complex128,
}


class HostLeaf(NamedTuple):
    """One leaf, copied to the host."""

    record: LeafRecord
    data: np.ndarray


class Form(NamedTuple):
    """What two leaves must have in common to stand for each other."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def named_leaves(tree: PyTree) -> tuple[dict[str, Any], Any]:
    """The leaves of a tree by their path.

    Args:
        tree: any pytree.

    Returns:
        The leaves by name, in the order of the tree, and its treedef.

    Example:
        >>> named_leaves({"head": {"bias": 1, "none": None}})[0]
        {'head/bias': 1}
    """
    pairs, treedef = jax.tree_util.tree_flatten_with_path(tree)
    simple = [
        jax.tree_util.keystr(path, simple=True, separator="/") or "(root)"
        for path, _ in pairs
    ]
    if len(set(simple)) < len(simple):  # {"a/b": 1, "a": {"b": 2}}
        simple = [f"{i}:{jax.tree_util.keystr(p)}" for i, (p, _) in enumerate(pairs)]
    return {name: x for name, (_, x) in zip(simple, pairs, strict=True)}, treedef


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed PRNG key."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def form_of(leaf: Any) -> Form:
    """Shape and dtype of a leaf; that of a Python number is "python int" or so."""
    if type(leaf) in _PYTHON:
        return Form((), f"python {type(leaf).__name__}")
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return Form((), f"<{type(leaf).__name__}>")
    name = str(leaf.dtype) if is_key(leaf) else np.dtype(leaf.dtype).name
    return Form(tuple(leaf.shape), name)


def checksum(name: str, data: np.ndarray) -> int:
    """CRC-32 of name, dtype, shape and bytes of an array."""
    head = zlib.crc32(f"{name} {data.dtype.name} {data.shape}".encode())
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return zlib.crc32(flat.data, head)


def _on_host(name: str, leaf: Any) -> np.ndarray:
    """A copy that neither donation nor an assignment in place can change."""
    if type(leaf) in _PYTHON:
        try:
            return np.array(leaf, _PYTHON[type(leaf)])
        except OverflowError:
            raise CheckpointError(
                f"the leaf {name} = {leaf} does not fit 64 bits and cannot be saved. "
                "Keep it in `meta` instead."
            ) from None
    if isinstance(leaf, jax.Array):
        if leaf.is_deleted():
            raise CheckpointError(
                f"the leaf {name} was deleted (donated to a jitted step) before it "
                "was saved. Save the state that the step returned."
            )
        if is_key(leaf):
            leaf = jax.random.key_data(leaf)
        if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            return np.array(multihost_utils.process_allgather(leaf, tiled=True))
        return np.array(leaf)
    if isinstance(leaf, np.ndarray | np.generic):
        data = np.array(leaf)
        if data.dtype.kind in "biufc":
            return data.astype(data.dtype.newbyteorder("="), copy=False)
        if data.dtype.kind == "V" and data.dtype.names is None:
            return data
    what = getattr(leaf, "dtype", None) or type(leaf).__name__
    raise CheckpointError(
        f"the leaf {name} is a {what} and cannot be saved; leaves are jax and numpy "
        "arrays, PRNG keys and Python numbers. Make it a static field, or keep it in "
        "`meta`."
    )


@dataclasses.dataclass(frozen=True)
class _Copy:
    """A leaf on the host; no pytree, but what stands in one for the leaf."""

    form: Form
    data: np.ndarray
    impl: str | None  # of a PRNG key

    def named(self, name: str) -> HostLeaf:
        record = LeafRecord(
            shape=self.form.shape,
            dtype=self.form.dtype,
            data_shape=self.data.shape,
            data_dtype=self.data.dtype.name,
            impl=self.impl,
            crc=checksum(name, self.data),
        )
        return HostLeaf(record, self.data)


def _copy(name: str, leaf: Any) -> _Copy:
    impl = str(jax.random.key_impl(leaf)) if is_key(leaf) else None
    return _Copy(form_of(leaf), _on_host(name, leaf), impl)


def _row(leaf: _Copy, row: int, axis: int) -> _Copy:
    shape = leaf.form.shape[:axis] + leaf.form.shape[axis + 1 :]
    data = stacked.take_row(leaf.data, row, axis)
    return _Copy(leaf.form._replace(shape=shape), data, leaf.impl)


def to_host(tree: PyTree) -> dict[str, HostLeaf]:
    """Copies every leaf to the host; each leaf of a stack under its own name.

    Args:
        tree: any pytree. Arrays sharded over several processes are gathered, so
            every process must call this.

    Returns:
        The leaves by name. They share no memory with `tree`.

    Raises:
        CheckpointError: a leaf is neither array, key nor number, or was donated.
    """
    leaves, treedef = named_leaves(tree)
    for leaf in leaves.values():  # start all transfers before waiting for one
        if isinstance(leaf, jax.Array) and leaf.is_fully_addressable:
            if is_key(leaf) or leaf.is_deleted():
                continue
            leaf.copy_to_host_async()
    # Stacks are taken apart here and not on the device: one transfer, not one a row.
    copies = treedef.unflatten([_copy(name, leaf) for name, leaf in leaves.items()])
    apart, _ = named_leaves(stacked.named(copies, _row))
    return {name: leaf.named(name) for name, leaf in apart.items()}

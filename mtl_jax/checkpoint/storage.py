"""The form in which Orbax stores the leaves: a flat dict of arrays it can store."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax.checkpoint.leaves import HostLeaf, checksum
from mtl_jax.checkpoint.record import Damaged, LeafRecord

_NATIVE = re.compile(r"bool|u?int(8|16|32|64)|b?float(16|32|64)|complex(64|128)")
"""Types that Orbax stores; others are stored as their bytes."""


def _name(index: int, name: str) -> str:
    return f"{index:04d}." + re.sub(r"[^a-zA-Z0-9_-]+", ".", name)[:100]


def stored(leaves: Mapping[str, HostLeaf]) -> dict[str, np.ndarray]:
    """The arrays for Orbax, which refuses those without elements."""
    arrays = {}
    for i, (name, leaf) in enumerate(leaves.items()):
        data = leaf.data
        if data.size:
            if not _NATIVE.fullmatch(data.dtype.name):
                data = data.reshape(-1).view(np.uint8)
            arrays[_name(i, name)] = data
    return arrays or {"none": np.zeros(1, np.uint8)}


def blank(records: Mapping[str, LeafRecord]) -> dict[str, np.ndarray]:
    """Arrays without memory that tell Orbax what to expect."""
    return stored(
        {
            name: HostLeaf(x, np.broadcast_to(np.empty((), x.data_dtype), x.data_shape))
            for name, x in records.items()
        }
    )


def verified(
    found: Mapping[str, Any], records: Mapping[str, LeafRecord]
) -> dict[str, np.ndarray]:
    """The leaves of what Orbax read; raises `Damaged` where one is not as saved."""
    result = {}
    for i, (name, x) in enumerate(records.items()):
        if 0 in x.data_shape:
            data = np.empty(x.data_shape, x.data_dtype)
        else:
            data = np.asarray(found[_name(i, name)])
            if not _NATIVE.fullmatch(x.data_dtype):
                data = data.view(x.data_dtype).reshape(x.data_shape)
        if checksum(name, data) != x.crc:
            raise Damaged(f"the leaf {name} fails its checksum")
        result[name] = data
    return result

"""Axis legend and type aliases.

One letter an axis, used in names, comments and docstrings everywhere:

====  =======================================
`T`   tasks
`B`   examples of a batch (of one device, under `pmap`)
`D`   features of a representation
`P`   parameters, flattened
`C`   classes
`N`   devices
====  =======================================

A shape is written behind the name: `losses [T]`, `gramian [T, T]`.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Batch: TypeAlias = Mapping[str, Any]
"""`{"inputs": [B, ...], "labels": {task: [B, ...]}, "masks": {task: [B]},
"valid": [B]}`; the last two are optional."""

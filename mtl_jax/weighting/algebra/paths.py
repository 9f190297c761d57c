"""Names of parameters: `trunk/Dense_0/kernel`."""

import re
from typing import Any

import jax

from mtl_jax.typing import PyTree


def names(params: PyTree) -> list[str]:
    """The path of each leaf, its parts joined by "/"; "" for a bare array.

    Example:
        >>> names({"Dense_0": {"bias": 0.0, "kernel": 1.0}})
        ['Dense_0/bias', 'Dense_0/kernel']
    """
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in flat]


def by_layer(path: str) -> str:
    """A path without its last part: the layer that the parameter belongs to.

    Example:
        >>> by_layer("trunk/Dense_0/kernel")
        'trunk/Dense_0'
    """
    return path.rpartition("/")[0]


def by_leaf(path: str) -> str:
    """The path as it is: every parameter array for itself."""
    return path


def natural(path: str) -> list[Any]:
    """The key of the natural order, in which 10 comes after 9.

    Example:
        >>> sorted(["Dense_10", "Dense_9"], key=natural)
        ['Dense_9', 'Dense_10']
    """
    # Text and numbers alternate, so that no text is ever compared with a number.
    parts = [re.split(r"(\d+)", part) for part in path.split("/")]
    return [[int(x) if x.isdecimal() else x for x in part] for part in parts]

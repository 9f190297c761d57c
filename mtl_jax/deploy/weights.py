"""Weights as a file holds them: float32, bfloat16, or int8 with a scale a channel."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array

WEIGHTS = ("float32", "bfloat16", "int8")
"""What matrices and kernels may be stored as."""
NARROWED = ("kernel", "embedding", "matrices", "positions")
"""The last part of their names: layers, tables of vectors, routes of sub-networks."""
BITS, LEVELS, SCALE = ":bfloat16", ":int8", ":scale"


def packed(name: str, array: np.ndarray, weights: str) -> dict[str, np.ndarray]:
    """A leaf as it is stored.

    Floating leaves with a name in `NARROWED` and two axes or more are narrowed; biases,
    norms and statistics, which are few, integers and what has another name are kept as
    they are. Int8 is symmetric, with one scale for each channel of the last axis c,

        s_c = max |w_c| / 127,    q_c = round(w_c / s_c),    w_c ≈ s_c q_c

    so that an entry is off by at most s_c / 2. With three axes or more there is one for
    each entry of the first axis too, where the copies of a layer lie (experts, columns
    of tasks), unless that is the width that attention projects; each matrix of a route
    has its own. Bfloat16 is stored as its bits, which NumPy reads by itself; so are
    parameters that are bfloat16, whatever their name.

    Args:
        name: of the leaf, as in checkpoints.
        array: of its values.
        weights: one of `WEIGHTS`.

    Returns:
        One array, or for int8 the levels and the scales, by name.

    Raises:
        ValueError: an unknown way.

    Example:
        >>> array = np.array([[1.0, -0.5], [0.2, 2.0]], np.float32)
        >>> stored = packed("kernel", array, "int8")
        >>> stored["kernel:int8"].tolist(), stored["kernel:scale"].round(4)
        ([[127, -32], [25, 127]], array([0.0079, 0.0157], dtype=float32))
    """
    if weights not in WEIGHTS:
        raise unknown_name("kind of weights", weights, WEIGHTS)
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    matrix = name.rpartition("/")[2] in NARROWED and array.ndim > 1
    if weights == "float32" or not floating or not matrix:
        weights = "bfloat16" if array.dtype == jnp.bfloat16 else "float32"
    if weights == "bfloat16":
        return {name + BITS: array.astype(jnp.bfloat16).view(np.uint16)}
    if weights == "float32":
        return {name: array}
    array = array.astype(np.float32)
    scale = np.abs(array).max(_of_one_scale(name, array.shape), keepdims=True) / 127
    if scale.size == array.shape[-1]:
        scale = scale.ravel()
    levels = np.rint(array / np.where(scale > 0, scale, 1))
    return {name + LEVELS: levels.astype(np.int8), name + SCALE: scale}


def _of_one_scale(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes over which entries have the same scale."""
    *above, last = name.split("/")
    if last == "matrices":
        return (-2,)
    others = tuple(range(len(shape) - 1))
    projects = bool(above) and above[-1] in _PROJECTIONS and len(shape) == 3
    return others if projects or len(shape) == 2 else others[1:]


_PROJECTIONS = ("query", "key", "value")
"""Of flax's attention: kernels `[width, heads, width of a head]`."""


def unpacked(name: str, stored: Mapping[str, Any]) -> Array:
    """The leaf, within a program: float32 where it was narrowed.

    Example:
        >>> array = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
        >>> back = unpacked("kernel", packed("kernel", array, "int8"))
        >>> bool(np.abs(back - array).max() <= 0.5 / 127 + 1e-6)
        True
    """
    if name in stored:
        return jnp.asarray(stored[name])
    if name + BITS in stored:
        bits = jnp.asarray(stored[name + BITS])
        return jax.lax.bitcast_convert_type(bits, jnp.bfloat16).astype(jnp.float32)
    levels = jnp.asarray(stored[name + LEVELS]).astype(jnp.float32)
    return levels * jnp.asarray(stored[name + SCALE])


def relative_error(name: str, array: np.ndarray, stored: Mapping[str, Any]) -> float:
    """The norm of what storing a leaf has changed, relative to that of the leaf."""
    wide = np.asarray(array, np.float64)
    change = np.asarray(unpacked(name, stored), np.float64) - wide
    norm = np.linalg.norm(wide)
    return float(np.linalg.norm(change) / norm) if norm else 0.0

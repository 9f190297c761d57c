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
BITS, LEVELS, SCALE = ":bfloat16", ":int8", ":scale"


def packed(name: str, array: np.ndarray, weights: str) -> dict[str, np.ndarray]:
    """A leaf as it is stored.

    Floating leaves with two axes or more, matrices and kernels, are narrowed; biases,
    norms and statistics, which are few, and integers are kept as they are. Int8 is
    symmetric, with one scale for each channel of the last axis c,

        s_c = max |w_c| / 127,    q_c = round(w_c / s_c),    w_c ≈ s_c q_c

    so that an entry is off by at most s_c / 2. Bfloat16 is stored as its bits, which
    NumPy reads by itself.

    Args:
        name: of the leaf.
        array: of its values.
        weights: one of `WEIGHTS`.

    Returns:
        One array, or for int8 the levels and the scales, by name.

    Raises:
        ValueError: an unknown way.

    Example:
        >>> array = np.array([[1.0, -0.5], [0.2, 2.0]], np.float32)
        >>> stored = packed("w", array, "int8")
        >>> stored["w:int8"].tolist(), stored["w:scale"].round(4)
        ([[127, -32], [25, 127]], array([0.0079, 0.0157], dtype=float32))
    """
    if weights not in WEIGHTS:
        raise unknown_name("kind of weights", weights, WEIGHTS)
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    if weights == "float32" or not floating or array.ndim < 2:
        return {name: array}
    if weights == "bfloat16":
        return {name + BITS: array.astype(jnp.bfloat16).view(np.uint16)}
    scale = np.abs(array).max(tuple(range(array.ndim - 1))).astype(np.float32) / 127
    levels = np.rint(array / np.where(scale > 0, scale, 1))
    return {name + LEVELS: levels.astype(np.int8), name + SCALE: scale}


def unpacked(name: str, stored: Mapping[str, Any]) -> Array:
    """The leaf, within a program: float32 where it was narrowed.

    Example:
        >>> array = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
        >>> back = unpacked("w", packed("w", array, "int8"))
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
    change = np.asarray(unpacked(name, stored), np.float64) - array
    norm = np.linalg.norm(np.asarray(array, np.float64))
    return float(np.linalg.norm(change) / norm) if norm else 0.0

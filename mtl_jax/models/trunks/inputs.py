"""What trunks accept, and the errors for what they do not."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree


def images(inputs: PyTree, trunk: str, scale: float = 1.0, dtype: Any = None) -> Array:
    """Images as floating numbers.

    Args:
        inputs: `[B, H, W, C]`, of integers or floating numbers.
        trunk: name of the trunk, for the error.
        scale: the images are multiplied by it.
        dtype: of the result; default: that of floating inputs, else float32.

    Raises:
        ValueError: inputs that are no images.

    Example:
        >>> images(jnp.full((1, 2, 2, 1), 255, jnp.uint8), "CNN", 1 / 255).max()
        Array(1., dtype=float32)
        >>> images(jnp.ones((5, 28, 28)), "CNN")
        Traceback (most recent call last):
        ...
        ValueError: CNN reads images [B, H, W, C]; found an array of shape (5, 28, 28)
        and dtype float32. Give images of one channel their last axis:
        images[..., None].
    """
    if isinstance(inputs, Mapping) or jnp.ndim(inputs) != 4:
        if isinstance(inputs, Mapping):
            fix = "Use a trunk for text or tables, or give the images alone."
        elif jnp.ndim(inputs) == 3:
            fix = "Give images of one channel their last axis: images[..., None]."
        else:
            fix = "Reshape them, or use the trunk MLP, which reads any array."
        raise ValueError(
            f"{trunk} reads images [B, H, W, C]; found {found(inputs)}. {fix}"
        )
    x = jnp.asarray(inputs)
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    x = x.astype(dtype or (x.dtype if floating else jnp.float32))
    return x if scale == 1 else x * jnp.asarray(scale, x.dtype)


def entry(inputs: PyTree, name: str, trunk: str, *, integer: bool) -> Array:
    """One array `[B, n]` of a dict of inputs.

    Args:
        inputs: the dict.
        name: of the array.
        trunk: name of the trunk, for the error.
        integer: whether the array holds ids; else any numbers do.

    Raises:
        ValueError: no dict, no such entry, or one of another rank or dtype.

    Example:
        >>> entry(jnp.ones((2, 3)), "tokens", "BiLSTM", integer=True)
        Traceback (most recent call last):
        ...
        ValueError: BiLSTM reads {'tokens': [B, n] integers}; found an array of shape
        (2, 3) and dtype float32. Give a dict with 'tokens'.
    """
    kind = "integers" if integer else "numbers"
    asked = f"{trunk} reads {{{name!r}: [B, n] {kind}}}; found {found(inputs)}."
    if not isinstance(inputs, Mapping) or name not in inputs:
        raise ValueError(f"{asked} Give a dict with {name!r}.")
    array = jnp.asarray(inputs[name])
    if array.ndim != 2:
        raise ValueError(
            f"{asked} Give {name!r} two axes, the examples and the entries of each."
        )
    if integer and not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"{asked} Give {name!r} as int32 ids.")
    return array


def found(inputs: PyTree) -> str:
    """What was found, in words."""
    if not isinstance(inputs, Mapping):
        return f"an array of shape {jnp.shape(inputs)} and dtype {_dtype(inputs)}"
    listed = [f"{k!r}: {list(jnp.shape(v))} {_dtype(v)}" for k, v in inputs.items()]
    return f"{{{', '.join(listed)}}}"


def _dtype(array: Any) -> str:
    return str(jnp.result_type(array))

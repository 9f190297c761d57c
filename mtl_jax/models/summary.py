"""One vector an example, of what any trunk gives."""

from collections.abc import Mapping

import jax.numpy as jnp

from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.typing import Array, PyTree


def summary(z: PyTree, reader: str) -> Array:
    """One vector an example, of a representation of any kind.

    Args:
        z: `[B, D]`; `[B, ..., D]`, of which it is the mean over positions; or parts of
            a text, of which it is the one called "pooled".
        reader: name of the module that asks, for the error.

    Returns:
        `[B, D]`.

    Raises:
        ValueError: parts without one that is pooled, or one number an example.

    Example:
        >>> summary(jnp.ones((2, 8, 8, 3)), "SharedPrivate").shape
        (2, 3)
    """
    x = z.get("pooled") if isinstance(z, Mapping) else z
    if x is None or jnp.ndim(x) < 2:
        raise ValueError(
            f"{reader} reads one vector an example; its trunk gives "
            f"{accepted.found(z)}. Take a trunk that gives [B, ..., D], or one of text "
            "with a part 'pooled'"
        )
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x

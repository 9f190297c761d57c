"""Rows of numbers whose inner products are those of the gradients of one weight.

With `AᵀD_t = dW_t` and `Aᵀ = Q R`, `<dW_t, dW_s> = <R D_t, R D_s>`: the gradient up to
a rotation, in as many rows as there are sites. A row is made while the cotangents of
its task are at hand (in the cache of a CPU), and they need not be kept. For one device
and one sample: more of them would each need the others' inputs first.
"""

import jax
import jax.numpy as jnp

from mtl_jax.engine.gramian import products
from mtl_jax.engine.gramian.factors import Outer
from mtl_jax.typing import Array


def basis(way: str, inputs: Array) -> Array | None:
    """What cotangents are multiplied with.

    Args:
        way: "ghost" or "layerwise".
        inputs: A `[H, N, I]`.

    Returns:
        `[H, M, N]`: R, or Aᵀ; `None` where that would make more of the cotangents.

    Example:
        >>> basis("ghost", jnp.ones((1, 2, 5))).shape
        (1, 2, 2)
        >>> basis("layerwise", jnp.ones((1, 2, 5))) is None
        True
    """
    _, sites, fan_in = inputs.shape
    if way == "layerwise":
        return jnp.swapaxes(inputs, 1, 2) if fan_in <= sites else None
    wide = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
    return jnp.linalg.qr(jnp.swapaxes(wide, 1, 2), mode="r")


def of(factor: Outer, basis: Array) -> Array:
    """The rows `[n, H · M · O]` of n tasks, from their cotangents `[n, H, N, O]`."""
    own = factor.cotangents
    # A product for each task: as one of a matrix with all of them, XLA would have the
    # cotangents in another order, and bring the rows back into this one.
    each = jnp.broadcast_to(basis, (own.shape[0], *basis.shape))
    made = jnp.einsum(
        "thmn,thno->thmo",
        jax.lax.optimization_barrier(each),
        own,
        precision=products.HIGHEST,
        preferred_element_type=jnp.promote_types(own.dtype, jnp.float32),
    )
    return made.reshape(own.shape[0], -1)


def inner(rows: Array) -> Array:
    """`[T, T]`, of rows `[T, F]`."""
    return jnp.einsum("tf,sf->ts", rows, rows, precision=products.HIGHEST)

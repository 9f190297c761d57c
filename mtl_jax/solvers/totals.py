"""Sums and counts over the last axis, as products with ones.

XLA on the CPU sets memory aside, in every run of a program, for every reduction that
the program contains, whether it is executed or not. That takes 1 µs each, as long as
a product of a vector with a `[40, 40]` matrix, and a solver has dozens of them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.typing import Array


def total(x: Array) -> Array:
    """The sum of `x [..., T]` over its last axis.

    Example:
        >>> float(total(jnp.array([1.0, 2.0])))
        3.0
    """
    return _product(x, 1.0)


def count(where: Array) -> Array:
    """How many entries of `where [..., T]` are true, int32."""
    return total(where.astype(jnp.float32)).astype(jnp.int32)


def some(where: Array) -> Array:
    """Whether an entry of `where [..., T]` is true."""
    return total(where.astype(jnp.float32)) > 0


def every(where: Array) -> Array:
    """Whether all entries of `where [..., T]` are true."""
    return ~some(~where)


def finite(x: Array) -> Array:
    """Whether all entries of `x [T]` are finite."""
    return every(jnp.isfinite(x))


def finite_matrix(x: Array) -> Array:
    """Whether all entries of `x [T, T]` are finite."""
    # The mean of a row is finite only where its entries are.
    return finite(_product(x, 1 / x.shape[-1]))


def greatest(x: Array) -> Array:
    """The greatest entry of `x [T]`, one after the other: for what is seldom run."""
    return jax.lax.fori_loop(1, x.shape[0], lambda i, top: jnp.maximum(top, x[i]), x[0])


def index_of_first(where: Array) -> Array:
    """The index of the first true entry of `where [T]`, int32; T where there is none.

    (An argmax is a reduction, and would bring in int64.)
    """
    t = where.shape[0]
    return jax.lax.while_loop(
        lambda i: (i < t) & ~where[jnp.minimum(i, t - 1)],
        lambda i: i + 1,
        jnp.int32(0),
    )


def first(where: Array) -> Array:
    """`[T]` bool: the first true entry alone.

    Example:
        >>> first(jnp.array([False, True, True])).tolist()
        [False, True, False]
    """
    return jnp.arange(where.shape[0], dtype=jnp.int32) == index_of_first(where)


def _product(x: Array, weight: float) -> Array:
    """The product with a vector that has the same entry everywhere."""
    # Two columns, as of a product of vectors XLA makes a reduction; different ones, as
    # equal ones are filled in every run.
    columns = np.full((x.shape[-1], 2), [weight, 0], x.dtype)
    return jnp.matmul(x, columns, precision="highest")[..., 0]

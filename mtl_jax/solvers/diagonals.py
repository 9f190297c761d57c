"""The diagonal of a matrix, read and written without a gather."""

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.typing import Array


def diagonal(matrix: Array) -> Array:
    """The diagonal of a `[T, T]` matrix.

    Example:
        >>> diagonal(jnp.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [1.0, 4.0]
    """
    t = matrix.shape[0]
    return jax.lax.slice(matrix.reshape(-1), (0,), (t * t,), (t + 1,))


def shifted(matrix: Array, present: Array, shift: Array | float) -> Array:
    """Add a shift to the diagonal where `present [T]` is true, put 1 there elsewhere.

    The transpose comes back: LAPACK goes down the columns, and so does reading it.

    Example:
        >>> matrix = jnp.array([[1.0, 2.0], [3.0, 0.0]])
        >>> shifted(matrix, jnp.array([True, False]), 0.5).tolist()
        [[1.5, 3.0], [2.0, 1.0]]
    """
    identity = np.eye(matrix.shape[0], dtype=bool)
    rows = matrix.T
    return jnp.where(identity, jnp.where(present, rows + shift, 1), rows)

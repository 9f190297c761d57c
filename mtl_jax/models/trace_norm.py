"""The trace norm of a matrix, with a gradient wherever it is."""

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array

_RANK = 1e-5
"""Singular values below this part of the largest count as 0 in the gradient: of what
rounding leaves of them in float32, the directions are noise."""


@jax.custom_jvp
def trace_norm(matrix: Array) -> Array:
    """The sum of the singular values of a matrix, also called its nuclear norm.

    The gradient at `U diag(s) Vᵀ` is `U_r V_rᵀ`, of the singular vectors whose singular
    value is not 0: the subgradient of least norm. It is finite and continuous wherever
    the rank does not change, at repeated singular values too, and 0 at the zero matrix.
    A second derivative is taken as 0.

    Args:
        matrix: `[m, n]` float32 or wider.

    Returns:
        `[]`.

    Example:
        >>> equal_rows = jnp.array([[3.0, 4.0], [3.0, 4.0]])
        >>> print(f"{trace_norm(equal_rows):.4f}")
        7.0711
        >>> print(jax.grad(trace_norm)(equal_rows).round(4))
        [[0.4243 0.5657]
         [0.4243 0.5657]]
    """
    return jnp.sum(jnp.linalg.svd(matrix, compute_uv=False))


@trace_norm.defjvp
def _derivative(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    left, values, right = jnp.linalg.svd(
        jax.lax.stop_gradient(primals[0]), full_matrices=False
    )
    kept = values > _RANK * values[0]
    direction = (left * kept) @ right
    return jnp.sum(values), jnp.sum(direction * tangents[0])

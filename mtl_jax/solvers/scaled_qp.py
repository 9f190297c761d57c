"""A quadratic program scaled to a matrix with a unit diagonal, and its tolerances."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.solvers import diagonals, totals
from mtl_jax.typing import Array


class ScaledMatrix(NamedTuple):
    """A matrix with ones (or zeros) on its diagonal, and how well one can solve it."""

    h: Array  # [T, T]
    scale: Array  # [T], of its rows and columns over those of the matrix it comes from
    ridge: Array  # [], added to the diagonal it makes H positive definite
    regular: Array  # [] bool, H is well enough conditioned to do without
    rough: Array  # [T, T], the Cholesky factor of almost H where it is


class ScaledQP(NamedTuple):
    """`min ½ xᵀ H x − qᵀ x` over `x ≥ 0`, H with ones (or zeros) on the diagonal."""

    h: Array  # [T, T]
    q: Array  # [T]
    ridge: Array  # []
    regular: Array  # [] bool

    def noise(self, x: Array) -> Array:
        """`[T]`: how far the rounding of H and q may move the gradient at x."""
        return 4 * _eps(x) * (jnp.abs(self.h) @ jnp.abs(x) + jnp.abs(self.q))

    def is_optimal(self, x: Array) -> Array:
        """Whether `x ≥ 0` is optimal as far as the rounding of H and q can tell."""
        gradient = self.h @ x - self.q
        # The ridge is T times that, or the uncertainty of an H that is indefinite.
        slack = self.ridge / (2 * _eps(x)) * self.noise(x)
        return totals.every((gradient >= -slack) & ((x == 0) | (gradient <= slack)))

    def factor(self, passive: Array, ridge: Array) -> Array:
        """The Cholesky factor of `H_PP + ridge`, with the identity outside P."""
        both = passive[:, None] & passive[None, :]
        return _shifted(jnp.where(both, self.h, 0), passive, ridge)

    def on(self, passive: Array) -> Array:
        """`[T]`: the solution of `H_PP x_P = q_P`, 0 outside P, of a regular H."""
        factor = self.factor(passive, jnp.zeros_like(self.ridge))
        q = jnp.where(passive, self.q, 0)
        return jax.scipy.linalg.cho_solve((factor, True), q)

    def refined(self, passive: Array, x: Array, steps: int = 3) -> Array:
        """Take x, zero outside P, to the solution of `H_PP x_P = q_P`.

        Each step shrinks the error along an eigenvector with eigenvalue λ by
        `ridge / (λ + ridge)`: to nothing, unless H_PP is singular to rounding.
        """
        factor = self.factor(passive, self.ridge)
        return jax.lax.fori_loop(
            jnp.int32(0),
            jnp.int32(steps),
            lambda _, x: x + solve(factor, passive, self.q - self.h @ x),
            x,
        )


def scaled_matrix(h: Array) -> ScaledMatrix:
    """Scale a matrix to a unit diagonal.

    Args:
        h: `[T, T]`, symmetric, positive semi-definite up to rounding.

    Returns:
        The scaled matrix. The scale is 0 where h has a 0 (or less) on its diagonal.

    Example:
        >>> found = scaled_matrix(jnp.diag(jnp.array([4.0, 0.0])))
        >>> found.h.tolist(), found.scale.tolist()
        ([[1.0, 0.0], [0.0, 0.0]], [0.5, 0.0])
    """
    diagonal = diagonals.diagonal(h)
    scale = jnp.where(
        diagonal > 0, 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)), 0
    )
    h = h * scale[:, None] * scale[None, :]
    # Positive definite with so much off its diagonal, so are all its principal
    # submatrices; their condition is below `T / (8 √eps)`, and Cholesky's method
    # solves them without further care.
    rough = _shifted(h, scale > 0, -8 * _eps(h) ** 0.5)
    # All of a factor is NaN where there is none.
    regular = jnp.isfinite(rough[-1, -1])
    return ScaledMatrix(h, scale, _ridge(h, scale > 0, regular), regular, rough)


def program(matrix: ScaledMatrix, q: Array) -> ScaledQP:
    """The scaled program for `min ½ xᵀ h x − qᵀ x`; `scale · x` is the solution of it.

    Args:
        matrix: made of h.
        q: `[T]`.

    Example:
        >>> matrix = scaled_matrix(jnp.diag(jnp.array([4.0, 1.0])))
        >>> program(matrix, jnp.ones(2)).q.tolist()
        [0.5, 1.0]
    """
    return ScaledQP(matrix.h, q * matrix.scale, matrix.ridge, matrix.regular)


def scaled(h: Array, q: Array) -> tuple[ScaledQP, Array]:
    """Scale `min ½ xᵀ h x − qᵀ x` to a unit diagonal.

    Args:
        h: `[T, T]`, symmetric, positive semi-definite up to rounding.
        q: `[T]`.

    Returns:
        The scaled problem and the `scale [T]` that takes its solution to that of the
        given one. The scale, and with it the solution, is 0 where h has a 0 (or less)
        on its diagonal.

    Example:
        >>> problem, scale = scaled(jnp.diag(jnp.array([4.0, 0.0])), jnp.ones(2))
        >>> problem.q.tolist(), scale.tolist()
        ([0.5, 0.0], [0.5, 0.0])
    """
    matrix = scaled_matrix(h)
    return program(matrix, q), matrix.scale


def solve(factor: Array, passive: Array, q: Array) -> Array:
    """`[T]`: the solution on P for a factor of `ScaledQP.factor`, 0 outside."""
    x = jax.scipy.linalg.cho_solve((factor, True), jnp.where(passive, q, 0))
    return jnp.where(totals.finite(x), x, 0)


def _ridge(h: Array, present: Array, regular: Array) -> Array:
    """The smallest of `16 eps T 10ᵏ` that makes H positive definite, with a margin."""
    t = h.shape[0]

    least = 16 * t * _eps(h)

    def larger(s: tuple[Array, Array]) -> tuple[Array, Array]:
        ridge = jnp.maximum(10 * s[0], least)
        definite = jnp.isfinite(_shifted(h, present, ridge / 2)[-1, -1])
        # A matrix with entries in [-1, 1] has no eigenvalue below -T.
        return ridge, definite | (ridge >= 2 * t)

    start = (jnp.asarray(least / 10, h.dtype), regular)
    return jnp.maximum(jax.lax.while_loop(lambda s: ~s[1], larger, start)[0], least)


def _shifted(h: Array, present: Array, shift: Array | float) -> Array:
    """The Cholesky factor of H with a shifted diagonal, 1 where nothing is present."""
    matrix = diagonals.shifted(h, present, shift)
    return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


def _eps(x: Array) -> float:
    return float(jnp.finfo(x.dtype).eps)

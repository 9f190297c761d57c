"""A non-negative quadratic program with a unit diagonal, and its tolerances."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array


class ScaledQP(NamedTuple):
    """`min ½ xᵀ H x − qᵀ x` over `x ≥ 0`, H with ones (or zeros) on the diagonal."""

    h: Array  # [T, T]
    q: Array  # [T]
    ridge: Array  # [], added to the diagonal it makes H positive definite

    def noise(self, x: Array) -> Array:
        """`[T]`: how far the rounding of H and q may move the gradient at x."""
        return 4 * _eps(x) * (jnp.abs(self.h) @ jnp.abs(x) + jnp.abs(self.q))

    def is_optimal(self, x: Array) -> Array:
        """Whether `x ≥ 0` is optimal as far as the rounding of H and q can tell."""
        gradient = self.h @ x - self.q
        # The ridge is T times that, or the uncertainty of an H that is indefinite.
        slack = self.ridge / (2 * _eps(x)) * self.noise(x)
        return jnp.all((gradient >= -slack) & ((x == 0) | (gradient <= slack)))

    def factor(self, passive: Array, ridge: Array) -> Array:
        """The Cholesky factor of `H_PP + ridge`, with the identity outside P."""
        both = passive[:, None] & passive[None, :]
        diagonal = jnp.where(passive, ridge, 1)
        return jax.lax.linalg.cholesky(
            jnp.where(both, self.h, 0) + jnp.diag(diagonal), symmetrize_input=False
        )

    def refined(self, passive: Array, x: Array, steps: int = 3) -> Array:
        """Take x, zero outside P, to the solution of `H_PP x_P = q_P`.

        Each step shrinks the error along an eigenvector with eigenvalue λ by
        `ridge / (λ + ridge)`: to nothing, unless H_PP is singular to rounding.
        """
        factor = self.factor(passive, self.ridge)
        for _ in range(steps):
            x = x + solve(factor, passive, self.q - self.h @ x)
        return x


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
    diagonal = jnp.diagonal(h)
    scale = jnp.where(
        diagonal > 0, 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)), 0
    )
    h = h * scale[:, None] * scale[None, :]
    return ScaledQP(h, q * scale, _ridge(h)), scale


def solve(factor: Array, passive: Array, q: Array) -> Array:
    """`[T]`: the solution on P for a factor of `ScaledQP.factor`, 0 outside."""
    x = jax.scipy.linalg.cho_solve((factor, True), jnp.where(passive, q, 0))
    return jnp.where(jnp.all(jnp.isfinite(x)), x, 0)


def first(where: Array) -> Array:
    """`[T]` bool: the first true entry alone. (An argmax would bring in int64.)"""
    return where & (jnp.cumsum(where, dtype=jnp.int32) == 1)


def _ridge(h: Array) -> Array:
    """The smallest of `16 eps T 10ᵏ` that makes H positive definite, with a margin."""
    t = h.shape[0]

    def indefinite(ridge: Array) -> Array:
        half = h + ridge / 2 * jnp.eye(t, dtype=h.dtype)
        return ~jnp.all(jnp.isfinite(jax.lax.linalg.cholesky(half)))

    # A matrix with entries in [-1, 1] has no eigenvalue below -T.
    return jax.lax.while_loop(
        lambda ridge: indefinite(ridge) & (ridge < 2 * t),
        lambda ridge: 10 * ridge,
        jnp.asarray(16 * t * _eps(h), h.dtype),
    )


def _eps(x: Array) -> float:
    return float(jnp.finfo(x.dtype).eps)

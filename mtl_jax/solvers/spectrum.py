"""Eigenvalues and pseudo-inverses of Gramians, with a rank that scaling cannot hide."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve

from mtl_jax.solvers import diagonals, fallback, totals
from mtl_jax.typing import Array


class Spectrum(NamedTuple):
    """The non-zero part of an eigendecomposition `G = V diag(values) Vᵀ`."""

    values: Array  # [T], ascending, zero where not kept
    vectors: Array  # [T, T], one a column, zero where not kept
    keep: Array  # [T] bool, the last `rank(G)` entries


def correlation(gramian: Array, mask: Array | None = None) -> tuple[Array, Array]:
    """Split a Gramian into the cosines between the gradients and their norms.

    Args:
        gramian: `[T, T]`, positive semi-definite.
        mask: `[T]` bool; false leaves a task out. Default: all are in.

    Returns:
        `C [T, T]` with unit diagonal and `n [T]`, `G_ij = n_i C_ij n_j`. Rows and
        columns of zero gradients and of tasks that are left out are zero in both.

    Example:
        >>> c, n = correlation(jnp.array([[4.0, 1.0], [1.0, 1.0]]))
        >>> c.tolist(), n.tolist()
        ([[1.0, 0.5], [0.5, 1.0]], [2.0, 1.0])
    """
    squares = diagonals.diagonal(gramian)
    present = squares > 0 if mask is None else (squares > 0) & mask
    n = jnp.sqrt(jnp.where(present, squares, 1))
    both = present[:, None] & present[None, :]
    c = jnp.where(both, gramian, 0) / n[:, None] / n[None, :]
    c = jnp.where(np.eye(n.shape[0], dtype=bool) & present, 1, c)
    return c, jnp.where(present, n, 0)


def eigen(gramian: Array, eps: float, mask: Array | None = None) -> Spectrum:
    """Find the non-zero eigenvalues of a Gramian and their vectors.

    The decomposition `C = U diag(m) Uᵀ` of the correlation matrix tells the rank: the
    number of `m > T eps max(m)`. (With the norms left in, a short gradient among long
    ones is lost below that threshold.) Then `G = F Fᵀ` with `F = diag(n) U √m`, whose
    singular values are the roots of the eigenvalues: relative to the largest one, F
    knows them to the square root of what G itself does.

    Args:
        gramian: `[T, T]`, positive semi-definite, any rank and scale. Entries that a
            narrower dtype has rounded may make it slightly indefinite.
        eps: rounding unit of the dtype in which the Gramian was formed, not of its
            present one.
        mask: `[T]` bool; false leaves a task out, as if G were smaller: it counts
            neither for T nor as an eigenvalue. Default: all are in.

    Returns:
        The spectrum; NaN where the Gramian is not finite.

    Example:
        Two equal gradients have rank one.

        >>> found = eigen(jnp.ones((2, 2)), 1e-7)
        >>> [round(float(v), 6) for v in found.values], found.keep.tolist()
        ([0.0, 2.0], [False, True])

    References:
        Demmel and Veselić, Jacobi's method is more accurate than QR, 1992, on the
        eigenvalues of a scaled matrix.
    """
    c, n, finite = _clean(gramian, mask)
    present = n > 0
    top = _or_one(jnp.max(n, initial=0))
    g = c * (n / top)[:, None] * (n / top)
    # Where all gradients count, and what the arithmetic adds is nothing beside what
    # forming the Gramian did, its own decomposition will do.
    unit = float(jnp.finfo(gramian.dtype).eps)
    shift = 100 * unit / eps * totals.total(diagonals.diagonal(g))
    plain = _definite(c, present, _clear(c, eps)) & _definite(g, present, shift)

    def directly() -> Spectrum:
        values, vectors = _eigh(g)
        keep = _last(present)
        return Spectrum(
            values=jnp.where(keep, values * top**2, 0),
            vectors=jnp.where(keep & present[:, None], vectors, 0),
            keep=keep,
        )

    found = jax.lax.cond(plain, directly, lambda: _of_parts(n, *_roots(c, eps)))
    return found._replace(
        values=jnp.where(finite, found.values, jnp.nan),
        vectors=jnp.where(finite, found.vectors, jnp.nan),
    )


def pinv_solve(
    gramian: Array, b: Array, eps: float, mask: Array | None = None
) -> Array:
    """Compute `G⁺ b` with the Moore-Penrose inverse.

    Where the gradients are independent that is `D⁻¹ C⁻¹ D⁻¹ b`, D the norms, which
    knows nothing of their ratios; otherwise it is summed over `eigen(gramian)`.

    Args:
        gramian: `[T, T]`, positive semi-definite, any rank and scale.
        b: `[T]`.
        eps: rounding unit of the dtype in which the Gramian was formed.
        mask: `[T]` bool; false leaves a task out. Default: all are in.

    Returns:
        `[T]`, zero for tasks that are left out and for zero gradients; NaN where the
        Gramian is not finite.

    Example:
        >>> gramian = jnp.array([[2.0, 2.0], [2.0, 2.0]])
        >>> x = pinv_solve(gramian, jnp.array([1.0, 1.0]), 1e-7)
        >>> [round(float(v), 6) for v in x]
        [0.25, 0.25]
    """
    return solve_or_cancel(gramian, b, eps, mask)[0]


def solve_or_cancel(
    gramian: Array, b: Array, eps: float, mask: Array | None = None
) -> tuple[Array, Array, Array]:
    """`pinv_solve`, and the weights with which gradients cancel out.

    Args:
        gramian: `[T, T]`, positive semi-definite, any rank and scale.
        b: `[T]`.
        eps: rounding unit of the dtype in which the Gramian was formed.
        mask: `[T]` bool; false leaves a task out. Default: all are in.

    Returns:
        That of `pinv_solve`; `w [T]`, positive with sum 1 and `Jᵀ w = 0`, and whether
        there is just one dependency among the gradients, with positive weights for all;
        w means nothing where there is not.

    Example:
        >>> gramian = jnp.array([[1.0, -2.0], [-2.0, 4.0]])
        >>> _, w, found = solve_or_cancel(gramian, jnp.ones(2), 1e-7)
        >>> [round(float(x), 4) for x in w], bool(found)
        ([0.6667, 0.3333], True)
    """
    c, n, finite = _clean(gramian, mask)
    present = n > 0
    inverse = jnp.where(present, 1 / jnp.where(present, n, 1), 0)
    side = inverse * b
    factor = _factor(c, present, 0.0)
    x = cho_solve((factor, True), side)
    x = x + cho_solve((factor, True), side - c @ x)
    easy = _definite(c, present, _clear(c, eps))

    def carefully(_: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        m, u, keep = _roots(c, eps)
        independent = inverse * _apply_inverse(m, u, keep, side)
        g = _of_parts(n, m, u, keep)
        # A value may be lost to underflow next to a much larger one.
        dependent = _apply_inverse(g.values, g.vectors, g.values > 0, b)
        lost = totals.count(present) - totals.count(keep)
        # Left out tasks and zero gradients have eigenvectors of their own.
        null = jnp.where(keep, 0, u) * present[:, None]
        y = null @ totals.total(null.T)
        w = inverse * y
        one_sign = totals.every(jnp.where(present, y, 1) > 1e-4)
        x = jnp.where(lost == 0, independent, dependent)
        return x, w, (lost == 1) & one_sign

    start = (inverse * x, jnp.zeros_like(x), jnp.array(False))
    x, w, cancels = fallback.unless(easy, start, carefully)
    found = finite & cancels
    x = jnp.where(finite, x, jnp.nan)
    return x, w / jnp.where(found, totals.total(w), 1), found


def _clean(gramian: Array, mask: Array | None) -> tuple[Array, Array, Array]:
    """The correlation matrix, the norms, and whether what counts is finite."""
    keep = jnp.ones(gramian.shape[0], bool) if mask is None else mask
    both = keep[:, None] & keep[None, :]
    finite = totals.finite_matrix(jnp.where(both, gramian, 0))
    c, n = correlation(jnp.where(both & finite, gramian, 0), keep)
    return c, n, finite


def _roots(c: Array, eps: float) -> tuple[Array, Array, Array]:
    """`m`, `U` of `C = U diag(m) Uᵀ`, and which of them are above rounding."""
    m, u = _eigh(c)
    # Ascending. The diagonal is 1 for the tasks that are there.
    return m, u, m > totals.total(diagonals.diagonal(c)) * eps * jnp.maximum(m[-1], 0)


def _of_parts(n: Array, m: Array, u: Array, keep: Array) -> Spectrum:
    """The spectrum of `D U diag(m) Uᵀ D`, D the norms, from its square root."""
    top = _or_one(jnp.max(n, initial=0))
    root = (n / top)[:, None] * u * jnp.sqrt(jnp.where(keep, m, 0))
    vectors, values, _ = jnp.linalg.svd(root, full_matrices=False)
    # Descending here, ascending there: the kept ones are the last in both.
    return Spectrum(
        values=jnp.where(keep, jnp.square(values[::-1] * top), 0),
        vectors=jnp.where(keep & (n > 0)[:, None], vectors[:, ::-1], 0),
        keep=keep,
    )


def _eigh(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and vectors; the lower triangle is read."""
    vectors, values = jax.lax.linalg.eigh(matrix, symmetrize_input=False)
    return values, vectors


def _factor(matrix: Array, present: Array, shift: Array | float) -> Array:
    """The Cholesky factor of a matrix with a shift off its diagonal, or NaN."""
    matrix = diagonals.shifted(matrix, present, -shift)
    return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


def _definite(matrix: Array, present: Array, shift: Array | float) -> Array:
    """Whether no eigenvalue of the tasks that are there is below the shift."""
    return jnp.isfinite(_factor(matrix, present, shift)[-1, -1])


def _clear(c: Array, eps: float) -> Array:
    """A bound above which an eigenvalue of C is surely not rounding."""
    number = totals.total(diagonals.diagonal(c))  # no eigenvalue is larger
    return jnp.maximum(2 * number**2 * eps, 8 * float(jnp.finfo(c.dtype).eps) ** 0.5)


def _last(present: Array) -> Array:
    """As many true entries as `present [T]` has, at the end."""
    t = present.shape[0]
    return jnp.arange(t, dtype=jnp.int32) >= t - totals.count(present)


def _or_one(x: Array) -> Array:
    return jnp.where(x > 0, x, 1)


def _apply_inverse(values: Array, vectors: Array, keep: Array, b: Array) -> Array:
    inverse = jnp.where(keep, 1 / jnp.where(keep, values, 1), 0)
    return vectors @ (inverse * (vectors.T @ b))

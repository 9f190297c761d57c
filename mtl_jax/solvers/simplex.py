"""Euclidean projections on the probability simplex."""

import jax.numpy as jnp

from mtl_jax.typing import Array


def project_simplex(x: Array, mask: Array | None = None) -> Array:
    """The nearest point to x in `{w ≥ 0, Σ_t w_t = 1}`.

    It is `w = max(x − θ, 0)`. With x sorted, `θ_k = (x_1 + … + x_k − 1) / k` is the
    shift that leaves the k largest entries, and the right one is the largest of them.

    Args:
        x: `[T]`, floating.
        mask: `[T]` bool; false leaves an entry out, its weight is 0. Default: all in.

    Returns:
        `w [T]`, in the dtype of x; all zero where every entry is masked, NaN where an
        entry that counts is not finite.

    Example:
        >>> project_simplex(jnp.array([1.0, 0.5, -2.0])).tolist()
        [0.75, 0.25, 0.0]

    References:
        Held, Wolfe and Crowder, Validation of subgradient optimization, 1974.
    """
    keep, x, finite = _centred(x, mask)
    ordered = -jnp.sort(jnp.where(keep, -x, jnp.inf))
    k = 1 + jnp.arange(x.shape[0], dtype=x.dtype)
    theta = jnp.max((jnp.cumsum(ordered) - 1) / k)
    w = jnp.where(keep, jnp.maximum(x - theta, 0), 0)
    return jnp.where(finite, w, jnp.nan)


def project_capped_simplex(
    x: Array, cap: Array | float, mask: Array | None = None
) -> Array:
    """The nearest point to x in `{0 ≤ w ≤ cap, Σ_t w_t = 1}`.

    It is `w = clip(x − θ, 0, cap)`, whose sum falls in θ, linearly between the
    breakpoints `x_t` and `x_t − cap`. The last of them where the sum is 1 or more says
    which entries are at the cap and which are free, and so θ.

    Args:
        x: `[T]`, floating.
        cap: [] in `[1/n, ∞)` for n entries; one below 1/n counts as 1/n, where all
            weights are equal. May be traced.
        mask: `[T]` bool; false leaves an entry out, its weight is 0. Default: all in.

    Returns:
        `w [T]`, in the dtype of x; all zero where every entry is masked, NaN where an
        entry that counts, or the cap, is not finite.

    Example:
        >>> project_capped_simplex(jnp.array([2.0, 0.5, 0.0]), 0.5).tolist()
        [0.5, 0.5, 0.0]

    References:
        Wang and Lu, Projection onto the capped simplex, 2015, for the breakpoints.
    """
    keep, x, finite = _centred(x, mask)
    cap = jnp.asarray(cap, x.dtype)
    n = jnp.sum(keep, dtype=x.dtype)
    cap = jnp.maximum(cap, 1 / jnp.maximum(n, 1))
    points = jnp.concatenate([x, x - cap])
    parts = jnp.clip(x[None, :] - points[:, None], 0, cap)
    sums = jnp.sum(jnp.where(keep[None, :], parts, 0), axis=1)
    # n times 1/n may round to less than 1.
    enough = sums >= 1 - 4 * x.shape[0] * float(jnp.finfo(x.dtype).eps)
    enough = enough & jnp.concatenate([keep, keep])
    last = jnp.max(jnp.where(enough, points, -jnp.inf))
    full = keep & (x - cap > last)
    free = keep & (x > last) & ~full
    count = jnp.sum(free, dtype=x.dtype)
    excess = jnp.sum(jnp.where(free, x, 0)) + cap * jnp.sum(full, dtype=x.dtype) - 1
    theta = jnp.where(count > 0, excess / jnp.maximum(count, 1), last)
    w = jnp.where(keep, jnp.clip(x - theta, 0, cap), 0)
    return jnp.where(finite & jnp.isfinite(cap), w, jnp.nan)


def _centred(x: Array, mask: Array | None) -> tuple[Array, Array, Array]:
    """The mask, x with its largest entry at 0 (for its digits), and if it is finite."""
    keep = jnp.ones(x.shape, bool) if mask is None else mask
    x = jnp.where(keep, x, 0)
    finite = jnp.all(jnp.isfinite(x))
    largest = jnp.max(jnp.where(keep & finite, x, -jnp.inf))
    x = jnp.where(keep & finite, x - jnp.where(jnp.any(keep), largest, 0), 0)
    return keep, x, finite

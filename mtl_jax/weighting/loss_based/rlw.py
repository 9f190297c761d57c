"""Random loss weighting (RLW)."""

from typing import Literal

import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array
from mtl_jax.weighting import base


def rlw(
    dist: Literal["normal", "dirichlet", "bernoulli"] = "normal",
) -> base.LossWeighting:
    """Draw new random weights at every step.

    The weights sum to 1: `softmax(z)` with `z_t ~ N(0, 1)` ("normal"), a draw from the
    flat Dirichlet distribution ("dirichlet"), or the indicator of a non-empty random
    set of tasks divided by its size ("bernoulli", each task in with probability ½).
    Heads get the same weights. No state.

    Args:
        dist: the distribution of the weights.

    Returns:
        A `LossWeighting` that needs the keyword `key` of `update`.

    Raises:
        ValueError: unknown distribution; no key.

    Example:
        >>> method = rlw()
        >>> key = jax.random.key(0)
        >>> weights, _ = method.update(jnp.ones(3), method.init(3), key=key)
        >>> round(float(weights.sum()), 6)
        1.0

    References:
        Lin, Ye, Zhang and Tsang, Reasonable Effectiveness of Random Weighting: A
        Litmus Test for Multi-Task Learning, TMLR 2022.
    """
    if dist not in ("normal", "dirichlet", "bernoulli"):
        raise unknown_name(
            "distribution of rlw", dist, ["normal", "dirichlet", "bernoulli"]
        )

    def draw(key: Array, keep: Array, dtype: jnp.dtype) -> Array:
        t = keep.shape[0]
        if dist == "normal":
            z = jax.random.normal(key, (t,), dtype)
            return jax.nn.softmax(jnp.where(keep, z, -jnp.inf))
        if dist == "dirichlet":
            # Exponentials divided by their sum are flat on the simplex.
            z = jnp.where(keep, jax.random.exponential(key, (t,), dtype), 0)
            return z / jnp.sum(z)

        def again(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            key, _ = carry
            key, now = jax.random.split(key)
            return key, jax.random.bernoulli(now, 0.5, (t,)) & keep

        empty = jnp.zeros(t, bool)
        _, chosen = jax.lax.while_loop(
            lambda c: jnp.any(keep) & ~jnp.any(c[1]), again, again((key, empty))
        )
        return chosen.astype(dtype) / jnp.maximum(jnp.sum(chosen), 1)

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        if key is None:
            raise ValueError(
                "rlw draws its weights: update needs key=jax.random.key(…)"
            )
        keep = base.keep_mask(mask, losses.shape[0])
        weights = draw(key, keep, losses.dtype)
        return jnp.where(keep, weights, 0), state

    return base.LossWeighting(base.no_state, update)

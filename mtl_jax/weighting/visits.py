"""The order in which each task meets the others."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array


def orders(method: str, order: str) -> Callable[[Array | None, int], Array]:
    """A function `(key, T) -> [T, T]`; row i has the tasks in the order that i visits.

    Args:
        method: its name.
        order: "random", another one for each task and call, or "ascending".

    Raises:
        ValueError: another order; when called, no key for a random one.

    Example:
        >>> orders("pcgrad", "ascending")(None, 2).tolist()
        [[0, 1], [0, 1]]
    """
    if order not in ("random", "ascending"):
        raise unknown_name(f"order of {method}", order, ["random", "ascending"])

    def visits(key: Array | None, t: int) -> Array:
        if order == "ascending":
            return jnp.broadcast_to(jnp.arange(t), (t, t))
        if key is None:
            raise ValueError(
                f"{method} visits the tasks in random order: update needs "
                f"key=jax.random.key(…), or use {method}(order='ascending')"
            )
        keys = jax.random.split(key, t)
        return jax.vmap(lambda k: jax.random.permutation(k, t))(keys)

    return visits

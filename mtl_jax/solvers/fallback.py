"""Work that is done only where it has to be, under `vmap` as well."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array

Tree = TypeVar("Tree")


def unless(done: Array, value: Tree, otherwise: Callable[[Tree], Tree]) -> Tree:
    """`value` where `done []` is true, `otherwise(value)` where it is not.

    It is a loop of no turns or one. Under `vmap` a branch would do the work for all
    members of the batch whoever needs it; a loop does none where nobody does.

    Example:
        >>> float(unless(jnp.array(False), jnp.array(1.0), lambda x: x + 1))
        2.0
    """
    return jax.lax.while_loop(
        lambda s: ~s[1], lambda s: (otherwise(s[0]), jnp.array(True)), (value, done)
    )[0]

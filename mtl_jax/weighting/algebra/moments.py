"""When something begins: at an epoch, or at a step."""

from typing import Any, Literal, TypeAlias

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array

Unit: TypeAlias = Literal["epochs", "steps"]


def check_unit(function: str, unit: str) -> None:
    """Raise `ValueError` for a unit of time that there is not."""
    if unit not in ("epochs", "steps"):
        raise unknown_name(f"unit of {function}", unit, ["epochs", "steps"])


def now(function: str, unit: str, extra: dict[str, Any]) -> Array:
    """The epoch or the step, from the keywords of `update`; `[]` int32.

    Raises:
        ValueError: nobody counts it.

    Example:
        >>> int(now("switch", "steps", {"step": 7}))
        7
    """
    name = unit.removesuffix("s")
    value = extra.get(name)
    if value is None:
        raise ValueError(f"{function} counts {unit}: update needs the keyword {name}=…")
    return jnp.asarray(value, jnp.int32)

"""Checks of hyper-parameters, with errors that say what is right."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.typing import Array


def number(
    method: str,
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Check that a hyper-parameter is a number in its range; a tracer passes.

    Raises:
        ValueError: it is not; the text has the range.

    Example:
        >>> number("cagrad", "c", -1.0, at_least=0)
        Traceback (most recent call last):
        ...
        ValueError: cagrad was given c=-1.0; it must be a number, at least 0
    """
    if isinstance(value, jax.core.Tracer):
        return
    bounds = [
        ("above", above, lambda v, b: v > b),
        ("at least", at_least, lambda v, b: v >= b),
        ("below", below, lambda v, b: v < b),
        ("at most", at_most, lambda v, b: v <= b),
    ]
    array = np.asarray(value)
    plain = array.dtype.kind in "fiu" and bool(np.all(np.isfinite(array)))
    if plain and all(b is None or np.all(holds(array, b)) for _, b, holds in bounds):
        return
    limits = " and ".join(f"{text} {b}" for text, b, _ in bounds if b is not None)
    asked = f"a number, {limits}" if limits else "a number"
    which = "each" if array.ndim else "it"
    raise ValueError(f"{method} was given {name}={value!r}; {which} must be {asked}")


def integer(method: str, name: str, value: Any, *, at_least: int) -> None:
    """Check that a hyper-parameter is a whole number.

    Raises:
        ValueError: it is not.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < at_least:
        raise ValueError(
            f"{method} was given {name}={value!r}; it must be a whole number, at "
            f"least {at_least}"
        )


def per_task(
    method: str, name: str, value: Sequence[float] | Array, num_tasks: int
) -> Array:
    """A vector of one number a task.

    Args:
        method: who asks.
        name: of the hyper-parameter.
        value: `[T]`.
        num_tasks: T.

    Returns:
        The vector, in the dtype of states.

    Raises:
        ValueError: another length.

    Example:
        >>> per_task("upgrad", "pref", [1.0, 2.0], 3)
        Traceback (most recent call last):
        ...
        ValueError: upgrad of 3 tasks was given pref of shape (2,); give one number a
        task, in the order of the tasks
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.zeros(()).dtype)
    if array.shape != (num_tasks,):
        raise ValueError(
            f"{method} of {num_tasks} tasks was given {name} of shape {array.shape}; "
            "give one number a task, in the order of the tasks"
        )
    return array


def one_or_per_task(
    method: str, name: str, value: float | Sequence[float] | Array, num_tasks: int
) -> Array:
    """A number that holds for all tasks, or one a task; as a vector `[T]`.

    Raises:
        ValueError: a vector of another length.

    Example:
        >>> one_or_per_task("dtp", "gamma", 2, 3).tolist()
        [2.0, 2.0, 2.0]
    """
    array = jnp.asarray(value)
    if array.ndim == 0:
        array = jnp.broadcast_to(array, (num_tasks,))
    return per_task(method, name, array, num_tasks)


def preference(
    method: str, name: str, value: Sequence[float] | Array | None, num_tasks: int
) -> Array:
    """Non-negative weights of the tasks, not all zero; `1/T` each where none are given.

    Raises:
        ValueError: another length, or a negative entry.
    """
    if value is None:
        return jnp.full(num_tasks, 1 / num_tasks, jnp.zeros(()).dtype)
    array = per_task(method, name, value, num_tasks)
    if not isinstance(array, jax.core.Tracer):
        found = np.asarray(array)
        if not np.all(np.isfinite(found)) or np.any(found < 0) or not np.any(found > 0):
            raise ValueError(
                f"{method} was given {name}={found.tolist()}; it must be non-negative "
                "numbers, not all zero"
            )
    return array

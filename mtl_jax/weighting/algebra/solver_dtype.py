"""The precision that a method's solver runs in."""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from mtl_jax.errors import unknown_name
from mtl_jax.solvers import precision
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import wrapping

M = TypeVar("M", base.LossWeighting, base.GramianWeighting, base.GradientAggregator)


def with_solver_dtype(method: M, dtype: Literal["float64", "float32"]) -> M:
    """Let a method's T-sized algebra run in float64, as it does by default, or float32.

    float32 spares devices that are slow in float64, or lack it. It is not exact where
    lengths differ by more than 1e3 or gradients are nearly collinear; the report then
    often says `converged = False`, but not always.

    Heads and state are the method's.

    Args:
        method: of any kind.
        dtype: "float64" or "float32"; under `jax_enable_x64` the latter means the dtype
            of the Gramian.

    Returns:
        A method of the same kind.

    Raises:
        ValueError: another dtype.
        TypeError: what is not a method.

    Example:
        >>> import jax.numpy as jnp
        >>> from mtl_jax.weighting import aggregate, mgda
        >>> method = with_solver_dtype(mgda(), "float32")
        >>> result = aggregate(method, jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> [round(float(w), 4) for w in result.weights]
        [0.8, 0.2]
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    wrapping.check_kind("with_solver_dtype", method, *kinds)
    if dtype not in ("float64", "float32"):
        raise unknown_name("solver dtype", dtype, ["float64", "float32"])
    if dtype == "float64":
        return method
    update = _narrow(method.update)
    if isinstance(method, base.GramianWeighting) and method.hold is not None:
        return method._replace(update=update, hold=_narrow(method.hold))
    return method._replace(update=update)


def _narrow(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **keywords: Any) -> Any:
        with precision.in_the_dtype_of_the_program():
            return function(*args, **keywords)

    return wrapped

"""float64 inside a float32 program."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def in_float64(solve: Callable[..., Any]) -> Callable[..., Any]:
    """Run a solver on T-sized arrays in float64, whatever the program's precision.

    Floating inputs are widened, floating outputs come back in the dtype of the
    first array. It works under `jit`, `vmap` and `pmap` and does not touch the
    global `jax_enable_x64` flag. T-sized problems are small: the width costs
    nothing, and float32 would lose the small gradients.

    Args:
        solve: function of arrays; may return any pytree.

    Returns:
        A function with the same signature.

    Example:
        >>> third = in_float64(lambda x: x / 3)
        >>> third(jnp.float32(1)).dtype
        dtype('float32')
    """

    def is_floating(x: Any) -> bool:
        return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)

    @functools.wraps(solve)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        outside = next(a.dtype for a in (*args, *kwargs.values()) if is_floating(a))
        with jax.enable_x64(True):
            widen = lambda x: x.astype(jnp.float64) if is_floating(x) else x  # noqa: E731
            result = solve(
                *[widen(a) for a in args], **{k: widen(v) for k, v in kwargs.items()}
            )
            return jax.tree.map(
                lambda x: x.astype(outside) if is_floating(x) else x, result
            )

    return wrapped

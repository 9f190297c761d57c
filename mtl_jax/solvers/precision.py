"""float64 inside a float32 program."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from mtl_jax.typing import PyTree

_NARROW = contextvars.ContextVar("solve in the dtype of the program", default=False)


@contextlib.contextmanager
def in_the_dtype_of_the_program() -> Iterator[None]:
    """Make `in_float64` do nothing while programs are traced in this context.

    For devices on which float64 is slow or missing. A float32 solver loses the
    gradients that are 1e-3 as long as the longest one, or nearly collinear.

    Example:
        >>> with in_the_dtype_of_the_program():
        ...     float(in_float64(lambda x: x / 3 * 3e8)(jnp.float32(1)))
        100000000.0
    """
    token = _NARROW.set(True)
    try:
        yield
    finally:
        _NARROW.reset(token)


def in_float64(solve: Callable[..., Any]) -> Callable[..., Any]:
    """Run a solver on T-sized arrays in float64, whatever the program's precision.

    Floating inputs are widened, floating outputs come back in the dtype of the first
    array. It works under `jit`, `vmap`, `scan`, `cond` and `pmap` in any nesting and
    does not touch the global `jax_enable_x64` flag. T-sized problems are small: the
    width costs nothing, and float32 would lose the small gradients.

    Args:
        solve: function of positional pytrees of arrays; may return any pytree of
            arrays. It is not differentiated.

    Returns:
        A function with the same signature.

    Example:
        >>> third = in_float64(lambda x: x / 3)
        >>> third(jnp.float32(1)).dtype
        dtype('float32')
    """

    def run(*args: PyTree) -> PyTree:
        outside = next(a.dtype for a in jax.tree.leaves(args) if _is_floating(a))
        with jax.enable_x64(True):
            return _cast(solve(*_cast(args, jnp.float64)), outside)

    # Under vmap(jit(f)) and vmap(scan(f)), JAX applies the batching rules when it has
    # left the x64 context, and float64 would turn into float32 without an error. The
    # rule below batches the solver itself, and so within the context.
    batchable = custom_vmap(run)

    @batchable.def_vmap
    def rule(axis_size: int, batched: PyTree, *args: PyTree) -> tuple[PyTree, PyTree]:
        axes = jax.tree.map(lambda b: 0 if b else None, batched)
        many = jax.vmap(solve, in_axes=tuple(axes), axis_size=axis_size)
        out = in_float64(many)(*args)
        return out, jax.tree.map(lambda _: True, out)

    @functools.wraps(solve)
    def wrapped(*args: PyTree) -> PyTree:
        return solve(*args) if _NARROW.get() else batchable(*args)

    return wrapped


def _is_floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def _cast(tree: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(lambda x: x.astype(dtype) if _is_floating(x) else x, tree)

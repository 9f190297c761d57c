"""One forward pass through the shared parameters, and the ways back and along."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.engine.convolutions import fast_in_loops
from mtl_jax.engine.gramian.layers import Layered, take_apart
from mtl_jax.typing import Array, PyTree


class Trunk(NamedTuple):
    """What a forward pass leaves behind.

    Attributes:
        params: the shared parameters.
        function: `params -> out`.
        pull: cotangent of `out` -> `(gradient of params, of the others, cotangents of
            the taps)`.
        layered: the function taken apart, or `None`.
        inputs: of the products, by number.
    """

    params: PyTree
    function: Callable[[PyTree], PyTree]
    pull: Callable[[PyTree], tuple[PyTree, PyTree, dict[int, Array]]]
    layered: Layered | None
    inputs: dict[int, Any]

    def vjp(self, cotangent: PyTree) -> PyTree:
        """The gradient of the shared parameters for one cotangent."""
        return self.pull(cotangent)[0]

    def push(self) -> Callable[[PyTree], PyTree]:
        """Tangent of the parameters -> tangent of `out`, linearised once.

        Raises:
            TypeError: the function has no forward derivative.
        """
        slope = jax.linearize(self.function, self.params)[1]

        def moved(tangent: PyTree) -> PyTree:
            try:
                return slope(tangent)
            except TypeError as error:
                if "custom_vjp" not in str(error):
                    raise
                raise TypeError(
                    "gramian='jacobian_free' and sketch(…) differentiate the model in "
                    "forward mode, and a function in it is a jax.custom_vjp, which "
                    "has a reverse mode alone. Use gramian='auto', or make that "
                    "function a jax.custom_jvp"
                ) from error

        return moved


def forward(
    function: Callable[..., tuple[PyTree, Any]],
    params: PyTree,
    others: PyTree,
    *,
    apart: bool,
) -> tuple[PyTree, Any, Trunk]:
    """Run `function(params, others) -> (out, aux)`.

    Args:
        function: the trunk, or the whole loss function.
        params: the shared parameters.
        others: what else is differentiated: task-specific parameters, or `()`.
        apart: whether the layers are needed.

    Returns:
        `out`, `aux`, and what is left behind.
    """

    def alone(params: PyTree) -> PyTree:
        return function(params, others)[0]

    if not apart:
        out, vjp, aux = jax.vjp(function, params, others, has_aux=True)
        return out, aux, Trunk(params, alone, lambda c: (*vjp(c), {}), None, {})
    layered = take_apart(function, params, others)
    out, vjp, (aux, inputs) = jax.vjp(
        layered.call, params, others, layered.taps, has_aux=True
    )
    return out, aux, Trunk(params, alone, vjp, layered, inputs)


def each_task(
    function: Callable[[PyTree], Any], rows: PyTree, chunk: int | None
) -> Any:
    """`function` of every row, `chunk` rows at once; leaves `[T, ...]`.

    Args:
        function: of one row, without the leading axis.
        rows: leaves `[T, ...]`.
        chunk: how many rows are computed together; `None` for all.
    """
    return in_chunks(jax.vmap(function), rows, chunk)


def in_chunks(
    function: Callable[[PyTree], Any],
    rows: PyTree,
    chunk: int | None,
    written_out: int = 1,
) -> Any:
    """As `each_task`, with a function of several rows, leaves `[n, ...]`.

    Up to `written_out` chunks are no loop, which would fill its results with zeros
    before it makes them.
    """
    count = jax.tree.leaves(rows)[0].shape[0]
    if chunk is None or chunk >= count:
        return function(rows)
    if count <= written_out * chunk:
        starts = range(0, count, chunk)
        made = [
            function(jax.tree.map(lambda a, i=i: a[i : i + chunk], rows))
            for i in starts
        ]
        return jax.tree.map(lambda *a: jnp.concatenate(a), *made)
    whole = count // chunk * chunk
    several = fast_in_loops(function)
    first = jax.tree.map(lambda a: a[:whole].reshape(-1, chunk, *a.shape[1:]), rows)
    made = jax.lax.map(several, first)
    made = jax.tree.map(lambda a: a.reshape(whole, *a.shape[2:]), made)
    if whole == count:
        return made
    rest = several(jax.tree.map(lambda a: a[whole:], rows))
    return jax.tree.map(lambda *a: jnp.concatenate(a), made, rest)

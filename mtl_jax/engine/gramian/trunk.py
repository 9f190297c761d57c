"""One forward pass through the shared parameters, and the ways back and along."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.engine.gramian import walk
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
    function: Callable[[PyTree], Any],
    rows: PyTree,
    chunk: int | None,
    unroll: bool = False,
) -> Any:
    """`function` of every row, `chunk` rows at once; leaves `[T, ...]`.

    Args:
        function: of one row, without the leading axis.
        rows: leaves `[T, ...]`.
        chunk: how many rows are computed together; `None` for all.
        unroll: no loop in the program; its length then grows with T.
    """
    count = jax.tree.leaves(rows)[0].shape[0]
    if chunk is None or chunk >= count:
        return jax.vmap(function)(rows)
    if not unroll:
        return jax.lax.map(function, rows, batch_size=chunk)
    parts = [
        jax.vmap(function)(jax.tree.map(lambda a, i=i: a[i : i + chunk], rows))
        for i in range(0, count, chunk)
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def loops_are_slow(trunk: Trunk) -> bool:
    """Whether a loop over tasks should be unrolled.

    On XLA's CPU backend the weight gradient of a convolution is up to 55 times slower
    inside of a loop.
    """
    if jax.default_backend() != "cpu":
        return False
    return walk.has_convolution(jax.make_jaxpr(trunk.function)(trunk.params).jaxpr)

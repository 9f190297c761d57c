"""A function taken apart into the layers whose weight gradients have two factors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.engine.gramian import factors, walk
from mtl_jax.engine.gramian.factors import Outer, Rows, Size
from mtl_jax.typing import Array, PyTree


class Layer(NamedTuple):
    """A weight and all the products that it is used in."""

    param: int  # index of the leaf
    products: tuple[int, ...]  # their numbers
    kind: str  # "dot", "conv" or "rows"
    size: Size  # with the sites of all uses
    width: int  # bytes of a number of the cotangents


class Layered(NamedTuple):
    """A function that shows the factors of its weight gradients.

    Attributes:
        call: `(params, others, taps) -> (out, (aux, inputs))`; the taps are zeros that
            are added to the outcomes of the products, and the inputs are the
            products' other operands.
        taps: a zero for each product.
        uses: the products by number.
        layers: the weights with factors.
        loose: indices of the other leaves that are used at all.
    """

    call: Callable[[PyTree, PyTree, dict[int, Array]], tuple[Any, Any]]
    taps: dict[int, Array]
    uses: dict[int, walk.Use]
    layers: tuple[Layer, ...]
    loose: tuple[int, ...]


def take_apart(
    function: Callable[..., tuple[Any, Any]], params: PyTree, others: PyTree
) -> Layered:
    """Find the layers of a function.

    Args:
        function: `(params, others) -> (out, aux)`, in any framework.
        params: the parameters whose layers are looked for.
        others: what else it depends on.

    Returns:
        The layers, and a function that gives their factors.

    Example:
        >>> def function(params, x):
        ...     return x @ params["w"] + params["b"], None
        >>> params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
        >>> layered = take_apart(function, params, jnp.ones((4, 3)))
        >>> layered.layers[0].size, layered.loose
        (Size(blocks=1, sites=4, fan_in=3, fan_out=2), (0,))
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(params, others)
    treedef = jax.tree.structure(shapes)
    count = len(jax.tree.leaves(params))
    unmarked = [None] * len(jax.tree.leaves(others))
    marks = [*(walk.Mark(i, ()) for i in range(count)), *unmarked]

    def run(params: PyTree, others: PyTree, tap: walk.Tap) -> Any:
        leaves = jax.tree.leaves((params, others))
        return walk.run(closed.jaxpr, closed.consts, leaves, marks, tap)

    def call(params: PyTree, others: PyTree, taps: dict[int, Array]) -> Any:
        tap = walk.Tap(taps)
        outs, _ = run(params, others, tap)
        out, aux = jax.tree.unflatten(treedef, outs)
        return out, (aux, tap.inputs)

    seen = walk.Tap()

    def look(params: PyTree, others: PyTree) -> list[Any]:
        outs, out_marks = run(params, others, seen)
        seen.loose |= {mark.param for mark in out_marks if mark is not None}
        return outs

    jax.eval_shape(look, params, others)
    layers, loose = _layers(dict(enumerate(seen.uses)), seen.loose)
    uses = {n: seen.uses[n] for layer in layers for n in layer.products}
    taps = {n: jnp.zeros(u.output.shape, u.output.dtype) for n, u in uses.items()}
    return Layered(call, taps, uses, layers, loose)


def _layers(
    products: dict[int, walk.Use], loose: set[int]
) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
    """The layers, and the leaves that are loose."""
    layers = []
    for param in sorted({use.mark.param for use in products.values()} - loose):
        own = {n: u for n, u in products.items() if u.mark.param == param}
        known = {(factors.signature(u), u.mark.history) for u in own.values()}
        if len(known) > 1 or next(iter(known))[0] is None:
            loose = loose | {param}
            continue
        sizes = [factors.size(u) for u in own.values()]
        whole = sizes[0]._replace(sites=sum(s.sites for s in sizes))
        kind = next(iter(known))[0][0]  # type: ignore[index]
        width = max(u.output.dtype.itemsize for u in own.values())
        layers.append(Layer(param, tuple(own), kind, whole, width))
    return tuple(layers), tuple(sorted(loose))


def factors_of(
    layered: Layered,
    layer: Layer,
    inputs: dict[int, Any],
    cotangents: dict[int, Array],
) -> Outer | Rows:
    """The factors of the gradients of one weight.

    Args:
        layered: the function.
        layer: one of its layers.
        inputs: as `call` gave them.
        cotangents: of the taps, `[T, ...]`.
    """
    parts = [
        factors.factor(layered.uses[n], inputs[n], cotangents[n])
        for n in layer.products
    ]
    return factors.joined(parts)  # type: ignore[arg-type]

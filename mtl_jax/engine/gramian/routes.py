"""The ways to the Gramian of the task losses, all equal to rounding.

=============== ====================================== ===============================
route           what is made                           memory beside the activations
=============== ====================================== ===============================
`materialise`   the Jacobian, and kept: the direction  T gradients
                is `Jᵀw`
`layerwise`     the task gradients of one layer at a   T gradients of the largest
                time                                   layer, T times the activations
`ghost`         inputs and cotangents of the layers,   T times the activations
                `<K D_t, D_s>` with `K = A Aᵀ`
`jacobian_free` columns `G e_t = J (Jᵀ e_t)`           one gradient
=============== ====================================== ===============================

All but the first need one more backward pass, `vjp(w)`. `auto` takes the cheaper of the
second and third for every layer, or the first where that costs less in all. On one CPU
both make rows as the cotangents come, see `rows`, and keep these in their place.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.gramian import factors, products, rows
from mtl_jax.engine.gramian.factors import Outer
from mtl_jax.engine.gramian.layers import Layer, factors_of
from mtl_jax.engine.gramian.trunk import Trunk, each_task, in_chunks
from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base

ROUTES = ("auto", "materialise", "layerwise", "ghost", "jacobian_free")


CACHED = 8
"""Tasks at once on a CPU, where nobody says how many: their cotangents stay in its
cache."""


WRITTEN_OUT = 16
"""Copies of layers in a program, at most, where chunks stand one after the other."""


class Made(NamedTuple):
    """A Gramian, and the Jacobian where it was made whole."""

    gramian: Array  # [T, T], over all devices
    jacobian: PyTree | None = None  # leaves [T, ...], over all devices


class Samples(NamedTuple):
    """Trunk and cotangents of one sample of the batch."""

    trunk: Trunk
    cotangents: PyTree  # [T, ...]


def check_route(route: str, chunk: int | None) -> None:
    """Raise `ValueError` for an unknown route or a chunk that is none."""
    if route not in ROUTES:
        raise unknown_name("route to the Gramian (gramian)", route, ROUTES)
    if chunk is not None and chunk < 1:
        raise ValueError(
            f"task_chunk is {chunk}; it is the number of tasks whose cotangents are "
            "computed at once, 1 or more, or None for all"
        )


def takes_apart(route: str) -> bool:
    """Whether a route needs the layers of the trunk."""
    return route in ("auto", "layerwise", "ghost")


def gramian(
    route: str,
    samples: Sequence[Samples],
    method: base.GramianWeighting,
    reduce: Reduce,
    chunk: int | None,
    key: Array | None = None,
) -> Made:
    """The inner products of the task gradients over the shared parameters.

    Args:
        route: one of `ROUTES`.
        samples: one, or two whose gradients are multiplied.
        method: tells the part of the parameters.
        reduce: over the devices.
        chunk: tasks whose cotangents are computed at once; `None` for all.
        key: for a method that has the Gramian estimated, equal on all devices.

    Returns:
        The Gramian; the Jacobian too where that is the cheaper way to the direction.
    """
    chosen = _chosen(method, samples[0].trunk.params)
    if method.sketch is not None:
        return Made(_sketched(samples, method.sketch, chosen, reduce, chunk, key))
    if chosen is None:
        route = "materialise"  # `where` is no selection of leaves
    if route == "jacobian_free":
        assert chosen is not None
        return Made(_jacobian_free(samples, chosen, reduce, chunk))
    if route == "materialise" or (
        route == "auto" and method.where is None and _keeps(samples, reduce)
    ):
        return _materialised(samples, method, reduce, chunk)
    assert chosen is not None
    return Made(_by_layers(route, samples, chosen, reduce, chunk))


def _chosen(method: base.GramianWeighting, params: PyTree) -> set[int] | None:
    """The leaves that the Gramian is taken over; `None` where it is not leaves."""
    leaves, treedef = jax.tree.flatten(params)
    if method.where is None:
        return set(range(len(leaves)))
    numbered = jax.tree.unflatten(treedef, range(len(leaves)))
    try:
        picked = jax.tree.leaves(method.where(numbered))
    except (TypeError, AttributeError):
        return None
    return set(picked) if all(type(n) is int for n in picked) else None


def _materialised(
    samples: Sequence[Samples],
    method: base.GramianWeighting,
    reduce: Reduce,
    chunk: int | None,
) -> Made:
    def jacobian(sample: Samples) -> PyTree:
        made = each_task(sample.trunk.vjp, sample.cotangents, chunk)
        return reduce.sum(made if method.where is None else method.where(made))

    made = [jacobian(sample) for sample in samples]
    kept = made[0] if method.where is None and len(samples) == 1 else None
    return Made(tree.cross_gramian(made[0], made[-1]), kept)


def _jacobian_free(
    samples: Sequence[Samples], chosen: set[int], reduce: Reduce, chunk: int | None
) -> Array:
    first, second = samples[0], samples[-1]
    push = first.trunk.push()

    def column(cotangent: PyTree) -> Array:
        gradient = _only(chosen, reduce.sum(second.trunk.vjp(cotangent)))
        return along(push, gradient, first.cotangents)

    columns = each_task(column, second.cotangents, chunk or 1)
    return reduce.sum(columns).T


def _sketched(
    samples: Sequence[Samples],
    count: int,
    chosen: set[int] | None,
    reduce: Reduce,
    chunk: int | None,
    key: Array | None,
) -> Array:
    """`(1/k) Σ (J v)(J v)ᵀ` with k random vectors of signs."""
    if key is None:
        raise ValueError("sketch(…) draws random vectors: give gradients(…, key=…)")
    if chosen is None:
        raise ValueError(
            "sketch(…) was given a method that looks at a part of the parameters which "
            "is no selection of whole arrays; select arrays"
        )
    pushes = [sample.trunk.push() for sample in samples]
    leaves, treedef = jax.tree.flatten(samples[0].trunk.params)

    def slopes(key: Array) -> list[Array]:
        keys = jax.random.split(key, len(leaves))
        signs = [
            jax.random.rademacher(k, a.shape, a.dtype)
            for k, a in zip(keys, leaves, strict=True)
        ]
        v = _only(chosen, jax.tree.unflatten(treedef, signs))
        return [
            along(push, v, sample.cotangents)
            for push, sample in zip(pushes, samples, strict=True)
        ]

    made = reduce.sum(each_task(slopes, jax.random.split(key, count), chunk or 1))
    return jnp.matmul(made[0].T, made[-1], precision=products.HIGHEST) / count


def _only(chosen: set[int], gradient: PyTree) -> PyTree:
    """Zeros in all leaves but the chosen ones."""
    leaves, treedef = jax.tree.flatten(gradient)
    kept = [a if i in chosen else jnp.zeros_like(a) for i, a in enumerate(leaves)]
    return jax.tree.unflatten(treedef, kept)


def along(push: Any, tangent: PyTree, cotangents: PyTree) -> Array:
    """`J v [T]` of this device: the slope of each loss along a tangent."""
    moved = push(tangent)

    def one_leaf(c: Array, m: Array) -> Array:
        wide = jnp.promote_types(c.dtype, jnp.float32)
        axes = (tuple(range(1, c.ndim)), tuple(range(m.ndim)))
        return jnp.tensordot(
            c.astype(wide), m.astype(wide), axes=axes, precision=products.HIGHEST
        )

    return sum(jax.tree.leaves(jax.tree.map(one_leaf, cotangents, moved)))  # type: ignore[return-value]


def _by_layers(
    route: str,
    samples: Sequence[Samples],
    chosen: set[int],
    reduce: Reduce,
    chunk: int | None,
) -> Array:
    """The sum over the layers of their own Gramians, and that of what is loose."""
    first = samples[0].trunk.layered
    assert first is not None
    t = jax.tree.leaves(samples[0].cotangents)[0].shape[0]
    ways = {
        number: route if route != "auto" else cheaper(layer, t, reduce)
        for number, layer in enumerate(first.layers)
        if layer.param in chosen
    }
    bases = _bases(samples, ways, reduce)
    pulled = [_pull(sample, chunk, bases) for sample in samples]
    total = jnp.zeros((t, t))
    for number, way in ways.items():
        if number in bases:
            total += rows.inner(pulled[0].rows[number])
            continue
        pair = [
            _factors(s, number, p.taps) for s, p in zip(samples, pulled, strict=True)
        ]
        function = products.ghost if way == "ghost" else products.layerwise
        total += function(pair[0], pair[-1], reduce)
    loose = [i for i in first.loose if i in chosen]
    if loose:
        made = [reduce.sum([p.loose[i] for i in loose]) for p in pulled]
        total += tree.cross_gramian(made[0], made[-1])
    return total


class _Pulled(NamedTuple):
    """What went back through the trunk, with a leading T."""

    loose: dict[int, Array]  # gradients of the loose leaves
    rows: dict[int, Array]  # of the layers that have a basis, by number
    taps: dict[int, Array]  # cotangents, by product; those of the other layers


def _bases(
    samples: Sequence[Samples], ways: dict[int, str], reduce: Reduce
) -> dict[int, Array]:
    """The bases of the layers whose rows are made as the cotangents come."""
    if len(samples) > 1 or reduce.size() > 1 or jax.default_backend() != "cpu":
        return {}  # elsewhere a QR decomposition takes longer than what it saves
    layered = samples[0].trunk.layered
    assert layered is not None
    nothing = {n: jnp.zeros((0, *a.shape), a.dtype) for n, a in layered.taps.items()}
    found = {}
    for number, way in ways.items():
        if layered.layers[number].kind == "rows":
            continue
        factor = _factors(samples[0], number, nothing)
        assert isinstance(factor, Outer)
        basis = rows.basis(way, factor.inputs)
        if basis is not None:
            found[number] = basis
    return found


def _factors(
    sample: Samples, number: int, cotangents: dict[int, Array]
) -> Outer | factors.Rows:
    """The factors of one layer of a sample."""
    layered = sample.trunk.layered
    assert layered is not None
    return factors_of(layered, layered.layers[number], sample.trunk.inputs, cotangents)


def _pull(sample: Samples, chunk: int | None, bases: dict[int, Array]) -> _Pulled:
    """Take the cotangents of each task back through the trunk."""
    layered = sample.trunk.layered
    assert layered is not None
    done = {n for number in bases for n in layered.layers[number].products}

    def some(cotangents: PyTree) -> _Pulled:
        gradients, _, taps = jax.vmap(sample.trunk.pull)(cotangents)
        leaves = jax.tree.leaves(gradients)
        made = {}
        for number, basis in bases.items():
            factor = _factors(sample, number, taps)
            assert isinstance(factor, Outer)
            made[number] = rows.of(factor, basis)
        kept = {n: tap for n, tap in taps.items() if n not in done}
        return _Pulled({i: leaves[i] for i in layered.loose}, made, kept)

    if chunk is None and jax.default_backend() == "cpu":
        chunk = CACHED
    written_out = WRITTEN_OUT // max(len(layered.layers), 1)
    return in_chunks(some, sample.cotangents, chunk, written_out)


def cheaper(layer: Layer, num_tasks: int, reduce: Reduce) -> str:
    """The way that suits a layer: fewest bytes between devices, then operations."""
    devices = reduce.size()
    costs = {
        way: products.cost(way, layer.kind, layer.size, num_tasks, devices, layer.width)
        for way in products.WAYS
    }
    if devices > 1:
        return min(costs, key=lambda way: costs[way].bytes_moved)
    return min(costs, key=lambda way: costs[way].operations)


def _keeps(samples: Sequence[Samples], reduce: Reduce) -> bool:
    """Whether making the whole Jacobian saves more than it costs."""
    layered = samples[0].trunk.layered
    assert layered is not None
    if len(samples) > 1:
        return False
    t = jax.tree.leaves(samples[0].cotangents)[0].shape[0]
    devices = reduce.size()
    whole = apart = 0.0
    for layer in layered.layers:
        h, n, i, o = layer.size
        way = cheaper(layer, t, reduce)
        costs = {
            w: products.cost(w, layer.kind, layer.size, t, devices).operations
            for w in products.WAYS
        }
        whole += costs["layerwise"] + (2 + products.TRAFFIC) * t * h * i * o
        # The weighted backward pass goes through inputs and weights.
        apart += costs[way] + 4 * h * n * i * o + 2 * products.TRAFFIC * h * i * o
    return bool(layered.layers) and whole < apart

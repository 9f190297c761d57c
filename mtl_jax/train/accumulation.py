"""A batch in parts, for the memory of one: gradient accumulation without an error.

The usual accumulation averages the gradients of small batches, which is the gradient
of the large one for a weighted sum of means, and wrong for everything else: a method
would see the losses and gradients of the parts, and a mean over labelled examples is
not the mean of the parts' means. Here the batch stays whole, and the parts are a way to
compute one function of it: representations are put one behind the other, sums and
counts are added. Its derivatives are those of the whole batch, for any method.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.engine import Encoded, TaskLosses
from mtl_jax.engine.convolutions import has_convolution
from mtl_jax.engine.losses import as_encoded, as_task_losses
from mtl_jax.models.base import SCHEDULE
from mtl_jax.train.activations import Activations
from mtl_jax.typing import Array, Batch, PyTree


def encode_in_parts(
    encode: Callable[..., Any], activations: Activations
) -> Callable[..., Encoded]:
    """`encode(shared, batch, key, collections)`, part by part.

    Args:
        encode: of a batch of any size; returns a representation or an `Encoded`.
        activations: how many parts, and what is kept of each.

    Returns:
        The function of the whole batch. Mutable state goes from part to part, so that
        BatchNorm normalises each part by itself and sees so many small batches. What
        counts steps ("schedule") is for each part as before the first: it counts one.

    Raises:
        ValueError: when called, a batch that does not divide.
    """

    def one(
        shared: PyTree, batch: Batch, key: Array | None, collections: PyTree
    ) -> tuple[PyTree, PyTree]:
        encoded = as_encoded(encode(shared, batch, key, collections))
        return encoded.representation, _or(encoded.collections, collections)

    def whole(
        shared: PyTree, batch: Batch, key: Array | None, collections: PyTree
    ) -> Encoded:
        rows, collections = _each(one, activations, (shared,), batch, key, collections)
        return Encoded(jax.tree.map(_joined, rows), collections)

    return whole


def losses_in_parts(
    losses: Callable[..., Any], activations: Activations
) -> Callable[..., TaskLosses]:
    """`losses(shared, specific, batch, key, collections)`, part by part.

    Args:
        losses: of a batch of any size; returns losses `[T]` or `TaskLosses`.
        activations: how many parts, and what is kept of each.

    Returns:
        The function of the whole batch. Losses `[T]` are averaged over the parts.

    Raises:
        ValueError: when called, a batch that does not divide.
    """

    def one(
        shared: PyTree,
        specific: PyTree,
        batch: Batch,
        key: Array | None,
        collections: PyTree,
    ) -> tuple[PyTree, PyTree]:
        out = as_task_losses(losses(shared, specific, batch, key, collections))
        return out._replace(collections=None), _or(out.collections, collections)

    def whole(
        shared: PyTree,
        specific: PyTree,
        batch: Batch,
        key: Array | None,
        collections: PyTree,
    ) -> TaskLosses:
        params = (shared, specific)
        rows, collections = _each(one, activations, params, batch, key, collections)
        added = jax.tree.map(lambda a: jnp.sum(a, axis=0), rows)
        return added._replace(collections=collections)

    return whole


def _each(
    one: Callable[..., tuple[PyTree, PyTree]],
    activations: Activations,
    params: tuple[PyTree, ...],
    batch: Batch,
    key: Array | None,
    collections: PyTree,
) -> tuple[PyTree, PyTree]:
    """What `one` returns of each part, stacked, and the mutable state in the end."""
    number, before = activations.accumulate, collections
    parts = _cut(batch, number)
    limited = activations.limited(one)

    def step(
        params: tuple[PyTree, ...], collections: PyTree, part: Batch, i: Any
    ) -> tuple[PyTree, PyTree]:
        part_key = None if key is None else jax.random.fold_in(key, i)
        given = _with_schedules(collections, before)
        return limited(*params, part, part_key, given)

    def in_loop(collections: PyTree, numbered: Any) -> tuple[PyTree, PyTree]:
        row, collections = step(params, collections, *numbered)
        return collections, row

    numbered = (parts, jnp.arange(number))
    first = jax.tree.map(lambda a: a[0], parts)
    # On the CPU, `fast_in_loops` cannot reach the derivative of a loop.
    traced = jax.make_jaxpr(step)(params, collections, first, 0)
    slow = jax.default_backend() == "cpu" and has_convolution(traced.jaxpr)
    if not slow:
        collections, rows = jax.lax.scan(in_loop, collections, numbered)
        return rows, collections
    each = []
    for i in range(number):
        part = jax.tree.map(lambda a, i=i: a[i], parts)
        row, collections = step(params, collections, part, i)
        # One part after the other, backwards too. (XLA:CPU of jax 0.10 does not heed
        # it, and keeps all parts in memory at once.)
        params, row = jax.lax.optimization_barrier((params, row))
        each.append(row)
    return jax.tree.map(lambda *rows: jnp.stack(rows), *each), collections


def _with_schedules(collections: PyTree, before: PyTree) -> PyTree:
    """The mutable state, with the counters of steps as they were before."""

    def one(path: Any, leaf: Array, was: Array) -> Array:
        counts = any(getattr(part, "key", None) == SCHEDULE for part in path[:2])
        return was if counts else leaf

    return jax.tree_util.tree_map_with_path(one, collections, before)


def _cut(batch: Batch, number: int) -> Batch:
    """`[B, ...]` leaves as `[number, B / number, ...]`."""
    for leaf in jax.tree.leaves(batch):
        if leaf.shape[0] % number:
            raise ValueError(
                f"accumulate={number} was asked for, and the {leaf.shape[0]} examples "
                "that a device passes through the model at once do not divide by it; "
                "choose a batch size that is a multiple of devices × samples of the "
                f"method × {number}, or another number of parts"
            )
    return jax.tree.map(
        lambda leaf: leaf.reshape(number, leaf.shape[0] // number, *leaf.shape[1:]),
        batch,
    )


def _joined(rows: Array) -> Array:
    return rows.reshape(-1, *rows.shape[2:])


def _or(changed: PyTree, before: PyTree) -> PyTree:
    """New mutable state, where there is any."""
    return changed if jax.tree.leaves(changed) else before

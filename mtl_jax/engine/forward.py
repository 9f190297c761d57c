"""One forward pass, and the pieces that its backward passes are made of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from mtl_jax.engine.collectives import Reduce
from mtl_jax.engine.gramian import trunk
from mtl_jax.engine.gramian.trunk import Trunk
from mtl_jax.engine.losses import SplitLosses, as_encoded, as_task_losses
from mtl_jax.typing import Array, PyTree


class Means(NamedTuple):
    """The losses of the whole batch."""

    losses: Array  # [T]; 0 for a task without labels
    inverse: Array  # [T], 1 / count over all devices; 0 for a task without labels
    present: Array  # [T] bool
    kpi: Array | None  # [T], where the loss function tells one


def means(
    sums: Array, counts: Array, reduce: Reduce, kpi: Array | None = None
) -> Means:
    """Sums and counts of this device as means over all.

    Example:
        >>> means(jnp.array([6.0, 0.0]), jnp.array([3.0, 0.0]), Reduce(None)).losses
        Array([2., 0.], dtype=float32)
    """
    counts = reduce.sum(counts)
    present = counts > 0
    inverse = jnp.where(present, 1 / jnp.where(present, counts, 1), 0)
    kpi = None if kpi is None else reduce.sum(kpi) * inverse
    return Means(reduce.sum(sums) * inverse, inverse, present, kpi)


def mean_over_samples(parts: Sequence[Means]) -> Means:
    """The losses of a batch in parts; a task is present where every part has it."""
    if len(parts) == 1:
        return parts[0]
    present = jnp.all(jnp.stack([p.present for p in parts]), axis=0)

    def mean(rows: list[Array]) -> Array:
        return jnp.where(present, jnp.mean(jnp.stack(rows), axis=0), 0)

    kpi = [p.kpi for p in parts if p.kpi is not None]
    return Means(
        losses=mean([p.losses for p in parts]),
        inverse=mean([p.inverse for p in parts]) / len(parts),
        present=present,
        kpi=mean(kpi) if kpi else None,
    )


class Pass(NamedTuple):
    """A forward pass. The VJPs are of this device; their results are to be summed."""

    batch: Means
    cotangents: PyTree  # [T, ...], where the trunk's backward pass begins
    trunk: Trunk
    heads_vjp: Callable[[Array], PyTree]  # head weights [T] -> like `specific`
    representation: PyTree  # None where the loss function is not split
    collections: PyTree


def run(
    losses_fn: Callable[..., Any] | SplitLosses,
    shared: PyTree,
    specific: PyTree,
    reduce: Reduce,
    *,
    apart: bool = False,
) -> Pass:
    """The forward pass of a loss function of either form.

    Args:
        losses_fn: the loss function.
        shared: the shared parameters.
        specific: the task-specific parameters.
        reduce: over the devices.
        apart: whether the layers of the trunk are needed.
    """
    form = split if isinstance(losses_fn, SplitLosses) else whole
    return form(losses_fn, shared, specific, reduce, apart)  # type: ignore[arg-type]


def whole(
    losses_fn: Callable[..., Any],
    shared: PyTree,
    specific: PyTree,
    reduce: Reduce,
    apart: bool,
) -> Pass:
    """Of a loss function that is not split: the backward pass begins at the losses."""

    def sums(shared: PyTree, specific: PyTree) -> tuple[Array, Any]:
        out = as_task_losses(losses_fn(shared, specific))
        return out.sums, (out.counts, out.collections, out.kpi)

    local, aux, passed = trunk.forward(sums, shared, specific, apart=apart)
    counts, collections, kpi = aux
    batch = means(local, counts, reduce, kpi)
    return Pass(
        batch=batch,
        cotangents=jnp.diag(batch.inverse),
        trunk=passed,
        heads_vjp=lambda weights: passed.pull(weights * batch.inverse)[1],
        representation=None,
        collections=collections,
    )


def split(
    losses_fn: SplitLosses,
    shared: PyTree,
    specific: PyTree,
    reduce: Reduce,
    apart: bool,
) -> Pass:
    """Of a split loss function: the backward pass of the trunk begins at z."""

    def encode(shared: PyTree, others: tuple[()]) -> tuple[PyTree, PyTree]:
        encoded = as_encoded(losses_fn.encode(shared))
        return encoded.representation, encoded.collections

    z, trunk_collections, passed = trunk.forward(encode, shared, (), apart=apart)
    through = _together if losses_fn.stacked is not None else _one_by_one
    batch, cotangents, heads_vjp, head_collections = through(
        losses_fn, specific, z, reduce
    )
    return Pass(
        batch=batch,
        cotangents=cotangents,
        trunk=passed,
        heads_vjp=heads_vjp,
        representation=z,
        collections=(trunk_collections, head_collections),
    )


Heads: TypeAlias = tuple[Means, PyTree, Callable[[Array], PyTree], PyTree]


def _one_by_one(
    losses_fn: SplitLosses, specific: PyTree, z: PyTree, reduce: Reduce
) -> Heads:
    """The heads, each with a representation of its own."""

    def sums(specific: PyTree, zs: tuple[PyTree, ...]) -> tuple[Array, Any]:
        out = as_task_losses(losses_fn.losses(specific, zs))
        return out.sums, (out.counts, out.collections, out.kpi)

    zs = (z,) * losses_fn.num_tasks
    local, vjp, aux = jax.vjp(sums, specific, zs, has_aux=True)
    counts, collections, kpi = aux
    batch = means(local, counts, reduce, kpi)
    # One backward pass of the heads gives the cotangents of all tasks at z.
    rows = vjp(batch.inverse)[1]
    cotangents = jax.tree.map(lambda *row: jnp.stack(row), *rows)
    return batch, cotangents, lambda w: vjp(w * batch.inverse)[0], collections


def _together(
    losses_fn: SplitLosses, specific: PyTree, z: PyTree, reduce: Reduce
) -> Heads:
    """Heads that are computed together."""
    assert losses_fn.stacked is not None
    out, back = losses_fn.stacked.pull(specific, z)
    out = as_task_losses(out)
    batch = means(out.sums, out.counts, reduce, out.kpi)
    heads_vjp, cotangents = back(batch.inverse)
    return batch, cotangents, heads_vjp, out.collections

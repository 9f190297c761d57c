"""One forward pass, and the pieces that its backward passes are made of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.engine.collectives import Reduce
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
    trunk_vjp: Callable[[PyTree], PyTree]  # one cotangent -> like `shared`
    heads_vjp: Callable[[Array], PyTree]  # head weights [T] -> like `specific`
    representation: PyTree  # None where the loss function is not split
    collections: PyTree


def run(
    losses_fn: Callable[..., Any] | SplitLosses,
    shared: PyTree,
    specific: PyTree,
    reduce: Reduce,
) -> Pass:
    """The forward pass of a loss function of either form."""
    form = split if isinstance(losses_fn, SplitLosses) else whole
    return form(losses_fn, shared, specific, reduce)  # type: ignore[arg-type]


def whole(
    losses_fn: Callable[..., Any], shared: PyTree, specific: PyTree, reduce: Reduce
) -> Pass:
    """Of a loss function that is not split: the backward pass begins at the losses."""

    def sums(shared: PyTree, specific: PyTree) -> tuple[Array, Any]:
        out = as_task_losses(losses_fn(shared, specific))
        return out.sums, (out.counts, out.collections, out.kpi)

    local, vjp, aux = jax.vjp(sums, shared, specific, has_aux=True)
    counts, collections, kpi = aux
    batch = means(local, counts, reduce, kpi)
    return Pass(
        batch=batch,
        cotangents=jnp.diag(batch.inverse),
        trunk_vjp=lambda cotangent: vjp(cotangent)[0],
        heads_vjp=lambda weights: vjp(weights * batch.inverse)[1],
        representation=None,
        collections=collections,
    )


def split(
    losses_fn: SplitLosses, shared: PyTree, specific: PyTree, reduce: Reduce
) -> Pass:
    """Of a split loss function: the backward pass of the trunk begins at z."""

    def encode(shared: PyTree) -> tuple[PyTree, PyTree]:
        encoded = as_encoded(losses_fn.encode(shared))
        return encoded.representation, encoded.collections

    def sums(specific: PyTree, zs: tuple[PyTree, ...]) -> tuple[Array, Any]:
        out = as_task_losses(losses_fn.losses(specific, zs))
        return out.sums, (out.counts, out.collections, out.kpi)

    z, trunk_vjp, trunk_collections = jax.vjp(encode, shared, has_aux=True)
    zs = (z,) * losses_fn.num_tasks
    local, vjp, aux = jax.vjp(sums, specific, zs, has_aux=True)
    counts, head_collections, kpi = aux
    batch = means(local, counts, reduce, kpi)
    # One backward pass of the heads gives the cotangents of all tasks at z.
    cotangents = jax.tree.map(lambda *rows: jnp.stack(rows), *vjp(batch.inverse)[1])
    return Pass(
        batch=batch,
        cotangents=cotangents,
        trunk_vjp=lambda cotangent: trunk_vjp(cotangent)[0],
        heads_vjp=lambda weights: vjp(weights * batch.inverse)[0],
        representation=z,
        collections=(trunk_collections, head_collections),
    )

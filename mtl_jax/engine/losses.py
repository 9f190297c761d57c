"""Loss functions as the engine understands them.

In every form, `shared` and `specific` are pytrees of parameters and each task-specific
parameter occurs in the loss of one task only. A function that is not split may say why
in an attribute `no_representation`, for the error of who asks for one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree


class TaskLosses(NamedTuple):
    """What a loss function returns where the mean over the batch does not do.

    The loss of task t is `sums[t] / counts[t]`, both added up over the devices. A
    task with count 0 has no label in this batch.
    """

    sums: Array  # [T] float32
    counts: Array  # [T] float32, labelled examples (or their total class weight)
    collections: PyTree = None  # new mutable state of the model, e.g. batch statistics
    kpi: Array | None = None
    """`[T]` sums, over the same counts, of an indicator in [0, 1]"""


class Encoded(NamedTuple):
    """What `SplitLosses.encode` returns where the model has mutable state."""

    representation: PyTree
    collections: PyTree = None


class SplitLosses(NamedTuple):
    """A loss function in two halves, cut at the representation.

    Attributes:
        encode: `(shared) -> representation`, or an `Encoded`; a pytree whose leaves
            have the batch as leading axis `[B, ...]`.
        losses: `(specific, representations) -> losses [T]`, or a `TaskLosses`;
            `representations` is a tuple of T of them, and the loss of task t reads
            `representations[t]` alone. (They are equal, so that reading another one
            gives the right losses and wrong gradients.)
        num_tasks: T.
        stacked: the same losses for heads that are computed together, or `None`.
    """

    encode: Callable[..., Any]
    losses: Callable[..., Any]
    num_tasks: int
    stacked: "StackedLosses | None" = None


class StackedLosses(NamedTuple):
    """The losses of heads that are computed together, not task by task.

    With heads of equal shape stacked along a leading axis, 138 of them are one matrix
    product, and the program is no longer than for two.

    Attributes:
        together: `(specific, representation) -> losses [T]`, or a `TaskLosses`; a
            differentiable function of one representation that all tasks read.
        pull: `(specific, representation) -> (losses, back)`, the same losses and
            `back: (scale [T]) -> (heads, cotangents)`: the cotangents of
            `scale[t] L_t` at the representation, leaves `[T, ...]`, and
            `heads: (weights [T]) -> gradient` of `Σ_t weights[t] scale[t] L_t` with
            respect to the task-specific parameters.
    """

    together: Callable[..., Any]
    pull: Callable[..., Any]


def as_task_losses(out: Any) -> TaskLosses:
    """What a loss function returned, checked and in float32 or wider."""
    if isinstance(out, TaskLosses):
        dtype = jnp.promote_types(out.sums.dtype, jnp.float32)
        return out._replace(
            sums=out.sums.astype(dtype),
            counts=jax.lax.stop_gradient(out.counts.astype(dtype)),
            kpi=None if out.kpi is None else jax.lax.stop_gradient(out.kpi),
        )
    losses = jnp.asarray(out)
    if losses.ndim != 1:
        raise ValueError(
            "a loss function must return the losses of all tasks as one array [T]; "
            f"found an array of shape {losses.shape}. A sum over tasks hides what "
            "the methods need: return jnp.stack([loss_a, loss_b, …])"
        )
    wide = losses.astype(jnp.promote_types(losses.dtype, jnp.float32))
    return TaskLosses(wide, jnp.ones_like(wide))


def as_encoded(out: Any) -> Encoded:
    """What `encode` returned, as an `Encoded`."""
    return out if isinstance(out, Encoded) else Encoded(out)


def whole_function(losses_fn: Callable[..., Any] | SplitLosses) -> Callable[..., Any]:
    """A loss function in one piece; its collections are a pair where it was split."""
    if not isinstance(losses_fn, SplitLosses):
        return losses_fn

    def whole(shared: PyTree, specific: PyTree) -> TaskLosses:
        encoded = as_encoded(losses_fn.encode(shared))
        z = encoded.representation
        if losses_fn.stacked is None:
            out = losses_fn.losses(specific, (z,) * losses_fn.num_tasks)
        else:
            out = losses_fn.stacked.together(specific, z)
        out = as_task_losses(out)
        return out._replace(collections=(encoded.collections, out.collections))

    return whole

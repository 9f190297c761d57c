"""The loss of an ensemble of heads: the mean of the losses of its members."""

import functools

import jax
import jax.numpy as jnp

from mtl_jax.losses.averaging import average
from mtl_jax.losses.base import Loss, kpi_per_example
from mtl_jax.losses.checks import Shape
from mtl_jax.typing import Array


# Equal arguments give the same loss: tasks of one loss are computed together.
@functools.cache
def of_members(loss: Loss, count: int, width: int) -> Loss:
    """The loss of a head that has the outputs of several members.

    In training the outputs are those of all members, one behind the other, `[..., M
    C]`, and the value of an example is the mean of its M losses: every member is
    trained as if it were alone. Where the outputs are of one head, `[..., C]`, as in
    evaluation, it is the loss of that head.

    Args:
        loss: of one head.
        count: M, 2 at least.
        width: C.

    Returns:
        A `Loss` of the same name and labels.

    Example:
        >>> from mtl_jax.losses import mse
        >>> both = of_members(mse(), 2, 1)
        >>> both.per_example(jnp.array([[1.0, 3.0]]), jnp.array([[1.0]]))[0].tolist()
        [2.0]
    """

    def members(outputs: Array) -> Array | None:
        """`[M, ..., C]`, or `None` for the outputs of one head."""
        if outputs.shape[-1] != count * width or outputs.ndim == 1:
            return None
        split = outputs.reshape(*outputs.shape[:-1], count, width)
        return jnp.moveaxis(split, -2, 0)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        found = members(jnp.asarray(outputs))
        if found is None:
            return loss.per_example(outputs, labels)
        values, weights = jax.vmap(lambda one: loss.per_example(one, labels))(found)
        return jnp.mean(values, axis=0), weights[0]

    def check_outputs(output: Shape, label: Shape, *, task: str | None) -> None:
        if len(output) > 1 and output[-1] == count * width:
            output = (*output[:-1], width)
        loss.check_outputs(output, label, task=task)

    def hits(outputs: Array, labels: Array) -> Array:
        found = members(jnp.asarray(outputs))
        one = outputs if found is None else average(loss, found)
        values, weights = loss.per_example(one, labels)
        return kpi_per_example(loss, one, labels, values, weights)

    return Loss(loss.name, per_example, loss.check_labels, check_outputs, hits)

"""The loss of directions, such as surface normals."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax.losses import base, checks
from mtl_jax.losses.base import Loss
from mtl_jax.losses.checks import Shape
from mtl_jax.typing import Array

SHORTEST = 1e-3
"""The length below which an output is not made a unit vector."""


# The same loss each time: tasks of one loss are computed together.
@functools.cache
def cosine() -> Loss:
    """One minus the cosine of the angle between output and label.

        value  = 1 - <o / max(|o|, 0.001), y / |y|>
        weight = 1, or 0 where y is the zero vector: there is no label

    averaged over the positions of an example. The floor of 0.001 bounds the gradient,
    which is undefined at a zero output; there it points along the label.

    Returns:
        A `Loss` for outputs and floating labels `[B, D]`, or `[B, H, W, D]`, whose last
        axis is the vector.

    Example:
        >>> label = jnp.array([[0.0, 0.0, 1.0]])
        >>> values, _ = cosine().per_example(jnp.array([[0.0, 3.0, 3.0]]), label)
        >>> print(values.round(4))
        [0.2929]

    References:
        Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a
        Common Multi-Scale Convolutional Architecture", ICCV 2015: their loss of normals
        and the constant 1.
    """
    name = "cosine"

    def advice(output: Shape, label: Shape) -> str:
        if output == label:
            return "" if len(output) > 1 else "Both need a last axis: the vector."
        if output[:-1] == label[:-1]:
            return f"Give the head {label[-1]} outputs instead of {output[-1]}."
        return "Both must have the same shape, whose last axis is the vector."

    check_outputs = checks.output_check(name, advice)

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        labels = labels.astype(jnp.float32)
        known = jnp.isfinite(labels).all(-1)
        labels = jnp.where(known[..., None], labels, 0)
        square = (labels**2).sum(-1)
        present = (square > 0) | ~known
        labels = labels / jnp.sqrt(jnp.where(square > 0, square, 1))[..., None]
        length = jnp.sqrt(jnp.maximum((outputs**2).sum(-1), SHORTEST**2))
        values = 1 - (outputs * labels).sum(-1) / length
        values = jnp.where(known, values, jnp.nan)
        return base.over_positions(values, jnp.ones_like(values), present)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = checks.present_labels(labels, mask, task)
        checks.check_number(name, labels.dtype, task)
        if not jnp.issubdtype(labels.dtype, jnp.floating):
            raise ValueError(
                f"task {task!r}: loss {name!r} needs floating vectors, but the labels "
                f"are {labels.dtype}. Those of an image are labels / 127.5 - 1, with "
                "the zero vector where there is none."
            )
        if num_outputs not in (None, labels.shape[-1]) or labels.ndim < 2:
            raise ValueError(
                f"task {task!r}: loss {name!r} needs labels [B, ..., "
                f"{num_outputs or 'D'}], a vector each, but they have shape "
                f"{labels.shape}."
            )
        fix = "Where there is none, the label is the zero vector."
        rule = "labels must be finite numbers"
        checks.refuse(labels, ~np.isfinite(labels), present, task, rule, fix)
        checks.left_out(np.abs(labels).max(-1), 0, present, task)

    return Loss(name, per_example, check_labels, check_outputs)

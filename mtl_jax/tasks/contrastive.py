"""Two views of one example are alike, those of different ones are not."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import losses, metrics
from mtl_jax.tasks.pretext import Examples, Pretext
from mtl_jax.tasks.task import Task
from mtl_jax.typing import Array, PyTree

_METRICS = (metrics.accuracy(),)


def contrastive(
    name: str,
    num_outputs: int = 64,
    *,
    augmentations: Sequence[Callable[[Array, Array], Array]],
    temperature: float = 0.5,
    **fields: Any,
) -> Task:
    """A task that recognises an example in another view: NT-Xent of two views.

    Of N examples there are 2N views with projections z, and i, j are those of one
    example. Equation 1 of the paper, with sim the cosine,

        l(i, j) = -log  exp(sim(z_i, z_j)/τ) / Σ_{k ≠ i} exp(sim(z_i, z_k)/τ)

    and the loss is its mean over all 2N views. That is the cross-entropy of 2N - 1
    classes, the first of which is right; accuracy is how often the other view is the
    nearest of all. The negatives are those of the batch over all devices; with
    `accumulate`, of each part. In evaluation they are those of each batch on each
    device, so that the numbers depend on the size of the batch.

    Args:
        name: of the task.
        num_outputs: D, width of the projections `[B, D]`; give the head a hidden layer.
        augmentations: `(key, x [B, ...]) -> x`, each view passes through all of them,
            e.g. `models.augmentations.crop()`.
        temperature: τ.
        **fields: other fields of `Task`.

    Returns:
        The task. The loss sees outputs `[B, 2, 1 + 2N]` and labels 0.

    Raises:
        ValueError: a temperature that is not positive, or no augmentation; when
            trained: inputs of several arrays.

    Example:
        >>> noisy = lambda key, x: x + jax.random.normal(key, x.shape)
        >>> task = contrastive("same", augmentations=[noisy])
        >>> views, labels = task.pretext.examples(jax.random.key(0), jnp.ones((3, 5)))
        >>> [view.shape for view in views], labels.tolist()
        ([(3, 5), (3, 5)], [[0, 0], [0, 0], [0, 0]])

    References:
        Chen, Kornblith, Norouzi and Hinton, A Simple Framework for Contrastive Learning
        of Visual Representations, ICML 2020 (SimCLR).
    """
    if not temperature > 0:
        raise ValueError(
            f"contrastive task {name!r} was given temperature={temperature}; it must "
            "be positive"
        )
    steps = tuple(augmentations)
    if not steps:
        raise ValueError(
            f"contrastive task {name!r} has no augmentations, so that its two views "
            "would be equal. Give one or more, e.g. crop and shift"
        )

    def view(key: Array, inputs: Array) -> Array:
        for i, step in enumerate(steps):
            inputs = step(jax.random.fold_in(key, i), inputs)
        return inputs

    def examples(key: Array, inputs: PyTree) -> Examples:
        if not hasattr(inputs, "shape"):
            raise ValueError(
                f"contrastive task {name!r} makes views of one array of inputs; found "
                "several"
            )
        views = tuple(view(one, inputs) for one in jax.random.split(key))
        return Examples(views, jnp.zeros((inputs.shape[0], 2), jnp.int32))

    def outputs(
        projections: Sequence[Array], valid: Array | None, axis_name: str | None
    ) -> Array:
        one, other = projections
        return logits(one, other, temperature, valid, axis_name)

    return Task(
        name,
        fields.pop("loss", losses.softmax_cross_entropy()),
        fields.pop("metrics", _METRICS),
        pretext=Pretext(examples, 2, outputs, num_outputs),
        **fields,
    )


def logits(
    one: Array,
    other: Array,
    temperature: float,
    valid: Array | None = None,
    axis_name: str | None = None,
) -> Array:
    """The similarities that NT-Xent is the cross-entropy of.

    Args:
        one: projections `[B, D]` of the first view of each example.
        other: of the second view.
        temperature: τ.
        valid: bool `[B]`; the views of other examples are no negatives.
        axis_name: negatives come from all devices along it.

    Returns:
        `[B, 2, 1 + 2N]`: of each view, the other one of its example, then all of the N
        examples, where its own two and those that are not valid are -1e9.

    Example:
        >>> z = jnp.eye(2)
        >>> logits(z, z, 1.0)[0, 0].clip(-9).tolist()
        [1.0, -9.0, 0.0, -9.0, 0.0]
    """
    z = jnp.stack([one, other]).astype(jnp.float32)  # [2, B, D]
    if z.ndim != 3:
        raise ValueError(
            f"contrastive tasks compare one vector an example; their head gives "
            f"{list(one.shape)}. Use a trunk or head with outputs [B, D]"
        )
    z /= jnp.sqrt(jnp.maximum(jnp.sum(z**2, -1, keepdims=True), 1e-12))
    count = z.shape[1]
    kept = jnp.ones(count, bool) if valid is None else valid
    every, first = z, jnp.zeros((), jnp.int32)
    if axis_name is not None:
        every = jax.lax.all_gather(z, axis_name, axis=1, tiled=True)
        kept = jax.lax.all_gather(kept, axis_name, tiled=True)
        first = jax.lax.axis_index(axis_name) * count
    own = first + jnp.arange(count)[:, None] == jnp.arange(every.shape[1])
    others = jnp.einsum("vbd,wnd->bvwn", z, every) / temperature
    others = jnp.where((kept & ~own)[:, None, None], others, -1e9)
    same = jnp.sum(z[0] * z[1], -1) / temperature
    right = jnp.broadcast_to(same[:, None, None], (count, 2, 1))
    return jnp.concatenate([right, others.reshape(count, 2, -1)], -1)

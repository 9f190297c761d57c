"""Which way up is this image?"""

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import losses, metrics
from mtl_jax.tasks.pretext import Examples, Pretext
from mtl_jax.tasks.task import Task
from mtl_jax.typing import Array, PyTree

_METRICS = (metrics.accuracy(),)


def rotation(name: str, **fields: Any) -> Task:
    """A task that says by how many quarters an image was turned.

    Each image is turned by 0, 90, 180 or 270 degrees, counter-clockwise and at random,
    and which it is, is the label.

    Args:
        name: of the task; the head has outputs `[B, 4]`.
        **fields: other fields of `Task`.

    Returns:
        The task.

    Raises:
        ValueError: when trained: inputs that are no square images `[B, H, H]` or
            `[B, H, H, C]`.

    Example:
        >>> images = jnp.arange(4.0).reshape(1, 2, 2)
        >>> task = rotation("way_up")
        >>> (view,), label = task.pretext.examples(jax.random.key(1), images)
        >>> bool((jnp.rot90(images[0], int(label[0])) == view[0]).all())
        True

    References:
        Gidaris, Singh and Komodakis, Unsupervised Representation Learning by Predicting
        Image Rotations, ICLR 2018. Differs: they train on all four rotations of each
        image at once, we on one that is drawn anew in every step.
    """

    def examples(key: Array, inputs: PyTree) -> Examples:
        shape = tuple(getattr(inputs, "shape", ()))
        if len(shape) not in (3, 4) or shape[1] != shape[2]:
            raise ValueError(
                f"rotation task {name!r} turns square images [B, H, H] or [B, H, H, "
                f"C]; found {list(shape) or 'inputs of several arrays'}"
            )
        turns = jax.random.randint(key, shape[:1], 0, 4)
        return Examples((turned(inputs, turns),), turns)

    return Task(
        name,
        fields.pop("loss", losses.softmax_cross_entropy()),
        fields.pop("metrics", _METRICS),
        num_outputs=4,
        pretext=Pretext(examples),
        **fields,
    )


def turned(images: Array, turns: Array) -> Array:
    """Each image, turned counter-clockwise by so many quarters.

    Args:
        images: `[B, H, H, ...]`.
        turns: integers `[B]`, 0 to 3.

    Example:
        >>> turned(jnp.array([[[1, 2], [3, 4]]]), jnp.array([1])).tolist()
        [[[2, 4], [1, 3]]]
    """
    which = turns.reshape(-1, *(1,) * (images.ndim - 1))
    found = images
    for n in (1, 2, 3):
        found = jnp.where(which == n, jnp.rot90(images, n, axes=(1, 2)), found)
    return found

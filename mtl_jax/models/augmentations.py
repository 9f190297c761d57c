"""Random changes of inputs in training, as pure functions of a key.

Each is a factory of `(key, x [B, ...]) -> x` of the same shape. What one draws for an
example follows from the key and the example's place in the batch.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from mtl_jax import errors
from mtl_jax.typing import Array

Augmentation: TypeAlias = Callable[[Array, Array], Array]


def shift(pixels: int = 2) -> Augmentation:
    """Move each image by up to so many pixels each way; what comes in is 0.

    This is the padded random crop of He et al., CVPR 2016.

    Args:
        pixels: the largest move, 1 at least, for images `[B, H, W]` or `[B, H, W, C]`.

    Raises:
        ValueError: no pixel; when called, inputs that are no images.

    Example:
        >>> moved = shift(1)(jax.random.key(0), jnp.ones((1, 4, 4)))
        >>> moved.shape
        (1, 4, 4)
    """
    if pixels < 1:
        raise ValueError(f"shift was given pixels={pixels}; give 1 or more")

    def move(key: Array, x: Array) -> Array:
        images = _images("shift", x)
        by = jax.random.randint(key, (x.shape[0], 2), 0, 2 * pixels + 1)
        wide = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))

        def one(image: Array, start: Array) -> Array:
            return jax.lax.dynamic_slice(
                image, (start[0], start[1], jnp.zeros_like(start[0])), images.shape[1:]
            )

        return jax.vmap(one)(wide, by).reshape(x.shape)

    return move


def flip(probability: float = 0.5) -> Augmentation:
    """Mirror each image from left to right, by chance.

    Args:
        probability: in [0, 1], for images `[B, H, W]` or `[B, H, W, C]`.

    Raises:
        ValueError: no probability; when called, inputs that are no images.

    Example:
        >>> flip(1.0)(jax.random.key(0), jnp.array([[[1, 2]]])).tolist()
        [[[2, 1]]]
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"flip was given probability={probability}; it is in [0, 1]")

    def mirror(key: Array, x: Array) -> Array:
        images = _images("flip", x)
        turned = jax.random.bernoulli(key, probability, (x.shape[0], 1, 1, 1))
        return jnp.where(turned, images[:, :, ::-1], images).reshape(x.shape)

    return mirror


def crop(least: float = 0.8) -> Augmentation:
    """Cut a random window of each image and enlarge it to the whole.

    Height and width are scaled alike, by a factor between `least` and 1; values between
    pixels are linear. Integers come out as float32, in the same units.

    Args:
        least: in (0, 1], the smallest side of the window, for images `[B, H, W]` or
            `[B, H, W, C]`.

    Raises:
        ValueError: another side; when called, inputs that are no images.

    Example:
        >>> crop(0.5)(jax.random.key(0), jnp.ones((1, 4, 4))).round(4).max().item()
        1.0
    """
    if not 0 < least <= 1:
        raise ValueError(f"crop was given least={least}; it is in (0, 1]")

    def cut(key: Array, x: Array) -> Array:
        images = _floating(_images("crop", x))
        of_side, of_place = jax.random.split(key)
        side = jax.random.uniform(of_side, (x.shape[0], 1), minval=least)
        free = 1 - side
        start = jax.random.uniform(of_place, (x.shape[0], 2)) * free
        size = jnp.asarray(images.shape[1:3], jnp.float32)

        def one(image: Array, side: Array, start: Array) -> Array:
            return jax.image.scale_and_translate(
                image,
                image.shape,
                (0, 1),
                jnp.repeat(1 / side, 2),
                -start * size / side,
                "linear",
                antialias=False,
            )

        return jax.vmap(one)(images, side, start).reshape(x.shape)

    return cut


def noise(deviation: float = 0.1) -> Augmentation:
    """Add Gaussian noise to every number.

    Args:
        deviation: standard deviation, in the units of the inputs (of raw images: 0 to
            255), not negative; inputs `[B, ...]`. Integers come out as float32.

    Raises:
        ValueError: a negative deviation.

    Example:
        >>> noise(0.0)(jax.random.key(0), jnp.ones((1, 2))).tolist()
        [[1.0, 1.0]]
    """
    if not deviation >= 0:
        raise ValueError(f"noise was given deviation={deviation}; it is not negative")

    def add(key: Array, x: Array) -> Array:
        wide = _floating(x)
        return wide + deviation * jax.random.normal(key, x.shape, wide.dtype)

    return add


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
    "crop": crop,
    "flip": flip,
    "noise": noise,
    "shift": shift,
}
"""Name to factory."""

KEEP_PLACES = ("noise",)
"""Those that leave every pixel where it is, and so fit labels that have pixels."""


def make(name: str, **arguments: Any) -> Augmentation:
    """The augmentation of that name.

    Raises:
        ValueError: a name or argument that there is not, or a wrong one.

    Example:
        >>> make("flip", probability=2)
        Traceback (most recent call last):
        ...
        ValueError: flip was given probability=2; it is in [0, 1]
    """
    if name not in AUGMENTATIONS:
        raise errors.unknown_name("augmentation", name, AUGMENTATIONS)
    try:
        return AUGMENTATIONS[name](**arguments)
    except TypeError as error:
        raise ValueError(
            f"the augmentation {name!r} does not take {arguments}: {error}"
        ) from error


def _floating(x: Array) -> Array:
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def _images(name: str, x: Array) -> Array:
    """As `[B, H, W, C]`."""
    if x.ndim == 3:
        return x[..., None]
    if x.ndim == 4:
        return x
    raise ValueError(
        f"{name} is of images [B, H, W] or [B, H, W, C]; found inputs of shape "
        f"{list(x.shape)}. Take it out of data.augment, or use noise"
    )

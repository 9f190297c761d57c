"""MultiMNIST: two digits in one image, the smallest benchmark of the field."""

import os

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.recipes import digit_images

SHIFT = 4
"""Pixels that a digit moves from the centre, along each axis."""


def multi_mnist(
    *,
    validation: int = 10_000,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Two digits of MNIST, one above and left of the other, in one image.

    As Sener and Koltun make it: every image of a split gets a second one of the same
    split, drawn at random; the first lies at the upper left of a `[36, 36]` canvas, the
    second at the lower right, where they overlap the brighter pixel is seen, and the
    canvas is scaled down to `[28, 28]`. Tasks: `left` and `right`, ten classes each.

    Args:
        validation: images held out of train, before any pair is drawn.
        seed: of the pairs.
        data_dir: where MNIST is prepared.

    Returns:
        Inputs uint8 `[N, 28, 28, 1]`; labels `left`, `right`.

    Raises:
        FileNotFoundError: MNIST is not prepared; the text holds the command.

    References:
        Sabour, Frosst and Hinton, Dynamic Routing Between Capsules, NIPS 2017, for the
        overlaid digits; Sener and Koltun, Multi-Task Learning as Multi-Objective
        Optimization, NeurIPS 2018, section 5.1. Differs: they draw the second digit
        anew in each epoch; here the set is fixed, so that runs compare.
    """
    random = np.random.default_rng(seed)
    made = {}
    for name, part in digit_images.splits(validation, data_dir).items():
        second = random.integers(0, len(part.images), len(part.images))
        labels = {"left": part.digits, "right": part.digits[second]}
        images = overlaid(part.images, part.images[second])
        made[name] = source.ArraySource(images[..., None], labels)
    ten = {"kind": "classification", "num_classes": 10}
    return source.Dataset(
        "multi_mnist",
        made["train"],
        made.get("validation"),
        made["test"],
        {"tasks": {"left": ten, "right": ten}},
    )


def overlaid(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two images `[N, 28, 28]` uint8 on one canvas, at the size of one.

    Example:
        >>> grey = np.full((1, 28, 28), 9, np.uint8)
        >>> overlaid(grey, 0 * grey)[0, ::14, ::14].tolist()
        [[9, 9], [9, 9]]
    """
    count, height, width = first.shape
    move = 2 * SHIFT
    canvas = np.zeros((count, height + move, width + move), np.uint8)
    canvas[:, :height, :width] = first
    low = canvas[:, move:, move:]
    np.maximum(low, second, out=low)
    return np.stack([_shrunk(image, (width, height)) for image in canvas])


def _shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import PIL.Image

    bilinear = PIL.Image.Resampling.BILINEAR
    return np.asarray(PIL.Image.fromarray(image).resize(size, bilinear))

"""Scenes of real digits with a class, a distance and a normal at every pixel."""

import os

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.recipes import digit_images

CLASSES = ("ground", *(str(digit) for digit in range(10)))
INK = 96
"""Brightness from which a pixel belongs to a digit."""


def mnist_scenes(
    *,
    size: int = 48,
    digits: int = 4,
    train: int = 4000,
    validation: int = 500,
    test: int = 1000,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Digits that stand on a sloping ground at different distances, seen from above.

    Each digit is a plate, its surface as bright as its ink is, under a light that fades
    with the distance: the image is `brightness / distance²`. Near digits hide those
    behind. The ground is a plane of random slope and texture; a digit's surface bulges
    by its ink. Asked is, at every pixel:

    * `segment`, int32 `[H, W]`: 0 the ground, 1 + d the digit d; -1 on outlines, where
      ink and ground are mixed;
    * `distance`, float32 `[H, W]`: from 1 to 3; 0 (not measured) at 2 % of the pixels;
    * `normals`, float32 `[H, W, 3]`: the unit normal of the surface; zero where the
      distance is not measured.

    Args:
        size: H and W, from 28 on.
        digits: in a scene, at most; one at least.
        train: scenes of the training split, of MNIST's training digits.
        validation: scenes of the validation split, of digits held out of train.
        test: scenes of the test split, of MNIST's test digits.
        seed: of all that is random.
        data_dir: where MNIST is prepared.

    Returns:
        Inputs uint8 `[N, H, W, 1]`.

    Raises:
        FileNotFoundError: MNIST is not prepared; the text holds the command.
        ValueError: a scene smaller than a digit, or without one.
    """
    if size < 28 or digits < 1:
        raise ValueError(
            f"scenes of {size} pixels with up to {digits} digits: give a size of 28 "
            "or more, and one digit or more."
        )
    random = np.random.default_rng(seed)
    counts = {"train": train, "validation": validation, "test": test}
    parts = digit_images.splits(10_000, data_dir)
    made = {
        name: _scenes(parts[name], count, size, digits, random)
        for name, count in counts.items()
        if count
    }
    tasks = {
        "segment": {"kind": "segmentation", "num_classes": 11, "labels": CLASSES},
        "distance": {"kind": "depth"},
        "normals": {"kind": "normals"},
    }
    return source.Dataset(
        "mnist_scenes",
        made["train"],
        made.get("validation"),
        made.get("test"),
        {"tasks": tasks},
    )


def _scenes(
    part: digit_images.Digits,
    count: int,
    size: int,
    most: int,
    random: np.random.Generator,
) -> source.ArraySource:
    places = np.arange(size) / (size - 1) - 0.5
    images = np.empty((count, size, size, 1), np.uint8)
    segments = np.empty((count, size, size), np.int32)
    distances = np.empty((count, size, size), np.float32)
    normals = np.empty((count, size, size, 3), np.float32)
    for n in range(count):
        slope = random.uniform(-0.8, 0.8, 2)
        distance = 2.4 + slope[0] * places[:, None] + slope[1] * places[None, :]
        distance = np.clip(distance, 1, 3)
        brightness = np.full((size, size), 0.35) + random.normal(0, 0.05, (size, size))
        segment = np.zeros((size, size), np.int32)
        for near in np.sort(random.uniform(1.2, 2.0, random.integers(1, most + 1)))[
            ::-1
        ]:
            which = random.integers(0, len(part.images))
            y, x = random.integers(0, size - 28 + 1, 2)
            ink = part.images[which]
            window = (slice(y, y + 28), slice(x, x + 28))
            seen = (ink >= INK) & (near - 0.2 < distance[window])
            bulge = near - 0.2 * (ink / 255.0)
            distance[window] = np.where(seen, bulge, distance[window])
            brightness[window] = np.where(seen, ink / 255.0, brightness[window])
            outline = (ink > 0) & (ink < INK) & (segment[window] == 0)
            number = np.where(seen, 1 + part.digits[which], segment[window])
            segment[window] = np.where(outline, -1, number)
        light = np.clip(255 * brightness / distance**2, 0, 255)
        measured = random.uniform(size=(size, size)) >= 0.02
        images[n, ..., 0] = light.astype(np.uint8)
        segments[n] = segment
        distances[n] = np.where(measured, distance, 0)
        normals[n] = np.where(measured[..., None], _normals(distance), 0)
    labels = {"segment": segments, "distance": distances, "normals": normals}
    return source.ArraySource(images, labels)


def _normals(distance: np.ndarray) -> np.ndarray:
    """Unit normals `[H, W, 3]` of a surface; steps of 0.1 a pixel are 45 degrees."""
    down, right = np.gradient(distance * 10)
    raw = np.stack([-right, -down, np.ones_like(down)], axis=-1)
    return (raw / np.linalg.norm(raw, axis=-1, keepdims=True)).astype(np.float32)

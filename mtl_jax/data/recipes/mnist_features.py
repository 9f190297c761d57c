"""A vector of features and three questions of ten answers each."""

import os

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.recipes import digit_images


def mnist_features(
    *,
    num_features: int = 100,
    validation: int = 10_000,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Principal components of MNIST's images, with three tasks of ten classes.

    The tasks are `digit`, and the tenth of train that the image lies in (0 to 9) by
    `mass`, its mean brightness, and by `slant`, the shear that makes it upright
    (the covariance of rows and columns over the variance of rows).

    Args:
        num_features: D, components of largest variance, of train; each scaled to a
            variance of 1.
        validation: images held out of train.
        data_dir: where MNIST is prepared.

    Returns:
        Inputs float32 `[N, D]`; labels `digit`, `mass`, `slant`.

    Raises:
        FileNotFoundError: MNIST is not prepared; the text holds the command.
        ValueError: more features than pixels.
    """
    parts = digit_images.splits(validation, data_dir)
    pixels = parts["train"].images[0].size
    if not 0 < num_features <= pixels:
        raise ValueError(
            f"num_features is {num_features}; an image has {pixels} pixels, so give "
            f"1 to {pixels}."
        )
    flat = {n: p.images.reshape(len(p.images), -1) / 255.0 for n, p in parts.items()}
    mean = flat["train"].mean(0)
    values, vectors = np.linalg.eigh(np.cov(flat["train"].T))
    vectors = vectors[:, ::-1][:, :num_features]
    scale = np.sqrt(np.maximum(values[::-1][:num_features], 1e-12))
    bounds = {
        name: np.quantile(measure(parts["train"].images), np.arange(1, 10) / 10)
        for name, measure in MEASURES.items()
    }
    made = {}
    for name, part in parts.items():
        inputs = ((flat[name] - mean) @ vectors / scale).astype(np.float32)
        labels = {"digit": part.digits}
        for task, measure in MEASURES.items():
            labels[task] = np.searchsorted(bounds[task], measure(part.images))
        made[name] = source.ArraySource(inputs, labels)
    ten = {"kind": "classification", "num_classes": 10}
    return source.Dataset(
        "mnist_features",
        made["train"],
        made.get("validation"),
        made["test"],
        {"tasks": dict.fromkeys(("digit", "mass", "slant"), ten)},
    )


def _mass(images: np.ndarray) -> np.ndarray:
    return images.mean((1, 2))


def _slant(images: np.ndarray) -> np.ndarray:
    weights = images / np.maximum(images.sum((1, 2), keepdims=True), 1)
    rows = np.arange(images.shape[1])[:, None]
    columns = np.arange(images.shape[2])[None, :]
    row, column = (weights * rows).sum((1, 2)), (weights * columns).sum((1, 2))
    along = (weights * rows**2).sum((1, 2)) - row**2
    across = (weights * rows * columns).sum((1, 2)) - row * column
    return across / np.maximum(along, 1e-9)


MEASURES = {"mass": _mass, "slant": _slant}

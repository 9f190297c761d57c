"""A class and a number from one image: the digit and how much ink it took."""

import os

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.recipes import digit_images


def stroke_mass(
    *,
    validation: int = 12_000,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """MNIST's digits, and their stroke mass: a classification and a regression.

    The mass is the mean brightness of an image, standardised with the mean and
    deviation of train.

    Args:
        validation: images held out of train; the default is 20 % of it.
        data_dir: where MNIST is prepared.

    Returns:
        Inputs uint8 `[N, 28, 28, 1]`; labels `digit`, int64, and `mass`, float32.

    Raises:
        FileNotFoundError: MNIST is not prepared; the text holds the command.
    """
    parts = digit_images.splits(validation, data_dir)
    masses = {name: part.images.mean((1, 2)) for name, part in parts.items()}
    mean, deviation = masses["train"].mean(), masses["train"].std()
    made = {
        name: source.ArraySource(
            part.images[..., None],
            {
                "digit": part.digits,
                "mass": ((masses[name] - mean) / deviation).astype(np.float32),
            },
        )
        for name, part in parts.items()
    }
    tasks = {
        "digit": {"kind": "classification", "num_classes": 10},
        "mass": {"kind": "regression"},
    }
    return source.Dataset(
        "stroke_mass",
        made["train"],
        made.get("validation"),
        made["test"],
        {"tasks": tasks},
    )

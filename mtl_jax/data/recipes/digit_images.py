"""MNIST as the recipes take it: images, digits, and a held-out part of train."""

import os
from typing import NamedTuple

import numpy as np

from mtl_jax.data import source, tfds


class Digits(NamedTuple):
    """One split."""

    images: np.ndarray  # uint8 [N, 28, 28]
    digits: np.ndarray  # int64 [N]


def splits(
    validation: int, data_dir: str | os.PathLike[str] | None
) -> dict[str, Digits]:
    """The splits; the last examples of train are the validation split.

    Args:
        validation: how many examples that are; 0 for no such split.
        data_dir: where MNIST is prepared.

    Raises:
        FileNotFoundError: it is not; the text holds the command.
        ValueError: more than the training split has.
    """
    whole = tfds.load("mnist", data_dir=data_dir)
    parts = {"train": _digits(whole.train), "test": _digits(whole.split("test"))}
    images, digits = parts["train"]
    if not 0 <= validation < len(images):
        raise ValueError(
            f"a validation split of {validation} examples was asked for; train has "
            f"{len(images)}, and some must be left."
        )
    if validation:
        parts["train"] = Digits(images[:-validation], digits[:-validation])
        parts["validation"] = Digits(images[-validation:], digits[-validation:])
    return parts


def _digits(part: source.ArraySource) -> Digits:
    assert isinstance(part.inputs, np.ndarray)
    return Digits(np.asarray(part.inputs[..., 0]), np.asarray(part.labels["label"]))

"""Scikit-learn's digits: 1,797 real 8x8 images, two tasks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.data import spec

SPLIT_SEED = 0
FRACTIONS = {"train": 0.70, "validation": 0.15, "test": 0.15}


def stratified_split(digit: np.ndarray) -> dict[str, np.ndarray]:
    """The fixed split of this version of the set: 70/15/15 of every digit.

    Args:
        digit: int64 `[1797]`, the class of each image.

    Returns:
        Sorted indices for each split; together they are every example once.

    Example:
        >>> parts = stratified_split(np.repeat(np.arange(10), 20))
        >>> {name: len(rows) for name, rows in parts.items()}
        {'train': 140, 'validation': 30, 'test': 30}
    """
    rng = np.random.default_rng(SPLIT_SEED)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in FRACTIONS}
    for value in np.unique(digit):
        rows = rng.permutation(np.flatnonzero(digit == value))
        first = round(len(rows) * FRACTIONS["train"])
        second = first + round(len(rows) * FRACTIONS["validation"])
        pieces = (rows[:first], rows[first:second], rows[second:])
        for name, piece in zip(FRACTIONS, pieces, strict=True):
            parts[name].append(piece)
    return {name: np.sort(np.concatenate(piece)) for name, piece in parts.items()}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The splits; the images ship inside scikit-learn, so no folder is read."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = digits.images.astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)

    def example(row: Any) -> spec.Example:
        label = int(labels[row])
        return int(row), {
            "image": images[row],
            "label": label,
            "above_five": int(label > 5),
        }

    return {name: map(example, rows) for name, rows in stratified_split(labels).items()}


SPEC = spec.Spec(
    name="digits",
    version="1.0.0",
    summary="scikit-learn's 1,797 handwritten digits, 8x8, two tasks",
    features={
        "image": {"shape": (8, 8, 1), "dtype": "uint8"},
        "label": {"shape": (), "dtype": "int64", "num_classes": 10},
        "above_five": spec.INTEGER,
    },
    splits={"train": 1258, "validation": 269, "test": 270},
    tasks={
        "label": {"kind": "classification", "num_classes": 10},
        "above_five": {"kind": "binary"},
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="scikit-learn: sklearn.datasets.load_digits",
    read=read,
)

"""TFDS builder of scikit-learn's digits: 1,797 real 8x8 images, two tasks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mtl_jax.data import registry

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


class Digits(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """Scikit-learn's digits; the images ship inside scikit-learn."""

    name = "digits"
    VERSION = tfds.core.Version(registry.DIGITS.version)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "1,797 handwritten digits, 8x8 pixels with 17 grey levels (0 to 16): "
                "the test part of the UCI Optical Recognition of Handwritten Digits."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                    "above_five": tfds.features.Scalar(dtype=np.int64),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            license="CC BY 4.0",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        from sklearn import datasets

        digits = datasets.load_digits()
        images = digits.images.astype(np.uint8)[..., None]
        labels = digits.target.astype(np.int64)
        return {
            name: self._generate_examples(images, labels, rows)
            for name, rows in stratified_split(labels).items()
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for row in rows:
            yield (
                int(row),
                {
                    "image": images[row],
                    "label": int(labels[row]),
                    "above_five": int(labels[row] > 5),
                },
            )

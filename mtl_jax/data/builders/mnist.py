"""TFDS builder of MNIST from its four idx files: no TensorFlow, no network.

Name, version, features, splits and keys are those of the stock `mnist:3.0.1`, so
the directory that this builder writes and one that stock TFDS wrote read the same,
record by record, and stock TFDS reads both.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mtl_jax.data import registry
from mtl_jax.data.builders import idx


def png(image: np.ndarray) -> bytes:
    """The PNG file of a grey image, uint8 `[H, W]`."""
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="png")
    return buffer.getvalue()


def read(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both splits of MNIST as arrays, every byte checked.

    Args:
        folder: holds the four files of `registry.MNIST`, zipped or not.

    Returns:
        `{"train" | "test": (images uint8 [N, 28, 28], labels uint8 [N])}`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged, or is not MNIST's.
    """
    arrays = []
    for file in registry.MNIST.files:
        path = idx.find(folder, file.name)
        content = idx.read_bytes(path)
        arrays.append(idx.parse(content, file.shape, str(path)))
        idx.check_sha256(content, file.sha256, str(path), "MNIST")
    return {"train": (arrays[0], arrays[1]), "test": (arrays[2], arrays[3])}


class Mnist(  # type: ignore[call-arg]
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """MNIST; `DownloadConfig.manual_dir` is the folder of the four files."""

    name = "mnist"
    VERSION = tfds.core.Version(registry.MNIST.version)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "the four idx files, zipped or not"

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="The MNIST database of handwritten digits.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=registry.MNIST.source,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        splits = read(Path(dl_manager.manual_dir))
        return {
            name: self._generate_examples(images, labels)
            for name, (images, labels) in splits.items()
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        # The features take encoded bytes as they are; to encode an array, they
        # would call TensorFlow.
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield row, {"image": png(image), "label": int(label)}

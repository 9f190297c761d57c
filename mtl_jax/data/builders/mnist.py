"""MNIST from its four idx files.

Name, version, features, splits and keys are those of the stock `mnist:3.0.1` of TFDS,
so the directory that we write and one that stock TFDS wrote read the same, record by
record, and stock TFDS reads both.
"""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mtl_jax.data import originals, spec
from mtl_jax.data.builders import idx


def png(image: np.ndarray) -> bytes:
    """The PNG file of a grey image, uint8 `[H, W]`.

    TFDS takes encoded bytes as they are; to encode an array, it would call TensorFlow.
    """
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="png")
    return buffer.getvalue()


def arrays(
    folder: Path, set_name: str = "MNIST"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both splits of MNIST as arrays, every byte checked.

    Args:
        folder: holds the four files of `SPEC.files`, zipped or not.
        set_name: for the error texts.

    Returns:
        `{"train" | "test": (images uint8 [N, 28, 28], labels uint8 [N])}`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged, or is not MNIST's.
    """
    found = [idx.read(folder, file, set_name) for file in SPEC.files]
    return {"train": (found[0], found[1]), "test": (found[2], found[3])}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The splits, from the four files in `folder`."""
    return {
        name: (
            (row, {"image": png(image), "label": int(label)})
            for row, (image, label) in enumerate(zip(images, labels, strict=True))
        )
        for name, (images, labels) in arrays(folder).items()
    }


SPEC = spec.Spec(
    name="mnist",
    version="3.0.1",
    summary="70,000 handwritten digits, 28x28, from the four original files",
    features={
        "image": spec.png(28, 28),
        "label": {"shape": (), "dtype": "int64", "num_classes": 10},
    },
    splits={"train": 60000, "test": 10000},
    tasks={"label": {"kind": "classification", "num_classes": 10}},
    licence="not stated by its authors (Y. LeCun, C. Cortes, C. J. C. Burges)",
    source="http://yann.lecun.com/exdb/mnist/",
    read=read,
    files=(
        originals.File(
            "train-images-idx3-ubyte.gz",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            (60000, 28, 28),
        ),
        originals.File(
            "train-labels-idx1-ubyte.gz",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            (60000,),
        ),
        originals.File(
            "t10k-images-idx3-ubyte.gz",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            (10000, 28, 28),
        ),
        originals.File(
            "t10k-labels-idx1-ubyte.gz",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            (10000,),
        ),
    ),
)

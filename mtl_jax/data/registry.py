"""The sets that mtl_jax prepares itself: what they are and what they are made of.

A set is added with its builder in `builders/` and its entry here. Nothing in this
file imports TFDS, so a listing or an error text costs nothing.
"""

import dataclasses
from pathlib import Path
from typing import Any

from mtl_jax import errors


@dataclasses.dataclass(frozen=True)
class File:
    """One original file: name, array shape, sha256 of the unzipped content."""

    name: str
    shape: tuple[int, ...]
    sha256: str


@dataclasses.dataclass(frozen=True)
class Spec:
    """What is known of a set before it is prepared."""

    name: str
    version: str
    summary: str
    builder: str
    """The builder class, as `module:class`."""
    features: dict[str, dict[str, Any]]
    splits: dict[str, int]
    tasks: dict[str, dict[str, Any]]
    """For each label, what kind of task it makes."""
    licence: str
    source: str
    files: tuple[File, ...] = ()
    """The original files that `--from DIR` must hold; empty: prepared by itself."""

    def missing_files(self, folder: Path) -> list[str]:
        """Names of the original files that `folder` holds neither zipped nor not."""
        found = (folder / file.name for file in self.files)
        return [
            path.name
            for path in found
            if not path.is_file() and not path.with_suffix("").is_file()
        ]

    def command(self, data_dir: Path | None = None, source: str = "DIR") -> str:
        """The shell command that prepares this set."""
        origin = f" --from {source}" if self.files else ""
        target = f" --data-dir {data_dir}" if data_dir else ""
        return f"mtl-jax data prepare {self.name}{origin}{target}"


DIGITS = Spec(
    name="digits",
    version="1.0.0",
    summary="scikit-learn's 1,797 handwritten digits, 8x8, two tasks",
    builder="mtl_jax.data.builders.digits:Digits",
    features={
        "image": {"shape": (8, 8, 1), "dtype": "uint8"},
        "label": {"shape": (), "dtype": "int64", "num_classes": 10},
        "above_five": {"shape": (), "dtype": "int64"},
    },
    splits={"train": 1258, "validation": 269, "test": 270},
    tasks={
        "label": {"kind": "classification", "num_classes": 10},
        "above_five": {"kind": "binary"},
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="scikit-learn: sklearn.datasets.load_digits",
)

MNIST = Spec(
    name="mnist",
    version="3.0.1",
    summary="70,000 handwritten digits, 28x28, from the four original files",
    builder="mtl_jax.data.builders.mnist:Mnist",
    features={
        "image": {"shape": (28, 28, 1), "dtype": "uint8"},
        "label": {"shape": (), "dtype": "int64", "num_classes": 10},
    },
    splits={"train": 60000, "test": 10000},
    tasks={"label": {"kind": "classification", "num_classes": 10}},
    licence="not stated by its authors (Y. LeCun, C. Cortes, C. J. C. Burges)",
    source="http://yann.lecun.com/exdb/mnist/",
    files=(
        File(
            "train-images-idx3-ubyte.gz",
            (60000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            (60000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            (10000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            (10000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
)

DATASETS: dict[str, Spec] = {spec.name: spec for spec in (DIGITS, MNIST)}


def get(name: str) -> Spec:
    """The entry of one of our sets.

    Raises:
        ValueError: not one of ours; the nearest name is in the text.

    Example:
        >>> get("digits").splits
        {'train': 1258, 'validation': 269, 'test': 270}
    """
    if name not in DATASETS:
        raise errors.unknown_name("dataset", name, DATASETS)
    return DATASETS[name]

"""MNIST's images with what QMNIST found out about them: class, series and writer.

Yadav and Bottou, "Cold Case: the Lost MNIST Digits", NeurIPS 2019. Of the eight columns
of QMNIST's labels we keep three. `series` is the NIST partition: 0 for the employees of
the Census Bureau, 4 for high-school students. No writer is in both splits. The 50,000
further test images of QMNIST are not MNIST's, and left out.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mtl_jax.data import originals, spec
from mtl_jax.data.builders import idx, mnist

LABELS = {
    "train": originals.File(
        "qmnist-train-labels-idx2-int.gz",
        "bb1b6e1ec7b04fd5696f1ed50b5f58f8ef195118edd5c93c81783df9740b8ac5",
        (60000, 8),
    ),
    "test": originals.File(
        "qmnist-test-labels-idx2-int.gz",
        "92d0ccb8c25f9c6534270fb4be7e1d24a1c6d315edfc8a638bfbd31c70f362dd",
        (60000, 8),
    ),
}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The splits, from MNIST's four files and QMNIST's two in `folder`."""
    splits: dict[str, Iterable[spec.Example]] = {}
    for name, (images, labels) in mnist.arrays(folder).items():
        table = idx.read(folder, LABELS[name], "QMNIST")[: len(images)]
        if not np.array_equal(table[:, 0], labels):
            raise ValueError(
                f"the classes in {LABELS[name].name} are not those of MNIST's {name}."
            )
        columns = {
            "image": images,
            "label": table[:, 0].tolist(),
            "series": table[:, 1].tolist(),
            "writer": table[:, 2].tolist(),
        }
        splits[name] = (
            (key, {**example, "image": mnist.png(example["image"])})
            for key, example in spec.examples(columns)
        )
    return splits


SPEC = spec.Spec(
    name="qmnist",
    version="1.0.0",
    summary="MNIST with the writer and the series of each digit, from QMNIST",
    features={
        **mnist.SPEC.features,
        "series": spec.codes(),
        "writer": {**spec.codes(), "role": "group"},
    },
    splits=mnist.SPEC.splits,
    tasks={
        "label": {"kind": "classification", "num_classes": 10},
        "series": {"kind": "binary", "positive": 4},
    },
    licence="labels: BSD style (Facebook); images: not stated by the authors of MNIST",
    source="https://github.com/facebookresearch/qmnist",
    read=read,
    files=(*mnist.SPEC.files, *LABELS.values()),
)

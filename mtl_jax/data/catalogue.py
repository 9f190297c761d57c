"""Well-known sets of the TFDS catalogue: read when on disk, else how to get there.

Any set of the catalogue is read by its name; those here are the ones of the multi-task
papers, of which an error text can say more. Nothing here imports TFDS.
"""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Stock:
    """What is worth knowing of a set of the catalogue before it is there."""

    holds: str
    module: str = ""
    """The module to import first, where TFDS does not find the set by its name."""
    packages: str = ""
    """What to install beside TensorFlow."""
    by_hand: str = ""
    """Files that TFDS does not download itself."""


STOCK: dict[str, Stock] = {
    "fashion_mnist": Stock("70,000 articles of clothing, 28x28, 10 classes"),
    "kmnist": Stock("70,000 Japanese characters, 28x28, 10 classes"),
    "emnist": Stock("814,255 letters and digits, 28x28, in six configs"),
    "cifar10": Stock("60,000 photographs, 32x32, 10 classes"),
    "cifar100": Stock("60,000 photographs, 32x32, 100 classes in 20 groups"),
    "svhn_cropped": Stock("digits of house numbers, 32x32"),
    "celeb_a": Stock("202,599 faces, 40 attributes, landmarks, identities"),
    "omniglot": Stock("1,623 characters of 50 alphabets, 105x105"),
    "dsprites": Stock("737,280 shapes, 64x64, five factors"),
    "shapes3d": Stock("480,000 scenes, 64x64, six factors"),
    "smallnorb": Stock("48,600 toys, 96x96: category, azimuth, elevation, lighting"),
    "oxford_iiit_pet": Stock("7,349 pets: 37 breeds, species, segmentation"),
    "nyu_depth_v2": Stock("rooms, 480x640, with their depth", packages="h5py"),
    "cityscapes": Stock(
        "streets, 1024x2048: segmentation or disparity",
        by_hand="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from "
        "https://www.cityscapes-dataset.com/login/",
    ),
    "imdb_reviews": Stock("50,000 film reviews, positive or negative"),
    "ag_news_subset": Stock("127,600 news in 4 classes"),
    "conll2003": Stock(
        "sentences of news: part of speech, chunks, entities",
        module="tensorflow_datasets.text.conll2003",
    ),
}


def steps(name: str, root: Path) -> str:
    """How to put the set `name[/config]` under `root`, as lines for an error text.

    Example:
        >>> print(steps("cifar100", Path("/data")))
            pip install tensorflow tensorflow-datasets
            python -c "import tensorflow_datasets as tfds; ..."
        If that is another machine, copy its directory cifar100 into /data.
    """
    base = name.partition(":")[0].partition("/")[0]
    stock = STOCK.get(base, Stock(""))
    packages = " ".join(["tensorflow tensorflow-datasets", stock.packages]).rstrip()
    first = f"import {stock.module}; " if stock.module else ""
    lines = [
        f"    pip install {packages}",
        f'    python -c "import tensorflow_datasets as tfds; {first}'
        f"tfds.builder('{name}', data_dir='{root}').download_and_prepare("
        "file_format='array_record')\"",
        f"If that is another machine, copy its directory {base} into {root}.",
    ]
    if stock.by_hand:
        folder = root / "downloads" / "manual"
        lines.insert(0, f"Put {stock.by_hand} into {folder}, then:")
    return "\n".join(lines)

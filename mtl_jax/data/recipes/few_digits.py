"""Some of MNIST's digits, with few examples or few labels."""

import os

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.recipes import digit_images


def few_digits(
    *,
    first: int = 0,
    last: int = 9,
    per_class: int | None = None,
    labelled: int | None = None,
    seed: int = 0,
    validation: int = 10_000,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """MNIST's digits from `first` to `last`: which one, and whether it is odd.

    For transfer from some digits to others, and for learning from few labels.

    Args:
        first: the first digit; classes are counted from it.
        last: the last digit.
        per_class: training images of each digit; default: all.
        labelled: training images that have labels, of those; default: all. They are
            drawn at random, as are those of `per_class`.
        seed: of what is drawn.
        validation: images held out of train, before some digits are taken.
        data_dir: where MNIST is prepared.

    Returns:
        Inputs uint8 `[N, 28, 28, 1]`; labels `digit`, int32 from 0 on, and `odd`, of
        the digit itself.

    Raises:
        FileNotFoundError: MNIST is not prepared; the text holds the command.
        ValueError: no digits, fewer than two of them, or more than there are examples.
    """
    if not 0 <= first < last <= 9:
        raise ValueError(
            f"few_digits was asked for the digits {first} to {last}; give two or more "
            "of 0 to 9"
        )
    rng = np.random.default_rng(seed)
    made = {}
    for split, part in digit_images.splits(validation, data_dir).items():
        rows = np.flatnonzero((part.digits >= first) & (part.digits <= last))
        masks = {}
        if split == "train" and per_class is not None:
            rows = np.sort(_drawn(rng, rows, part.digits, per_class))
        digits = part.digits[rows]
        if split == "train" and labelled is not None:
            if not 0 < labelled <= len(rows):
                raise ValueError(
                    f"few_digits was asked for {labelled} labelled images; there are "
                    f"{len(rows)}"
                )
            here = np.zeros(len(rows), bool)
            here[rng.choice(len(rows), labelled, replace=False)] = True
            masks = {"digit": here, "odd": here}
        made[split] = source.ArraySource(
            part.images[rows][..., None],
            {
                "digit": (digits - first).astype(np.int32),
                "odd": (digits % 2).astype(np.int32),
            },
            masks,
        )
    tasks = {
        "digit": {"kind": "classification", "num_classes": last - first + 1},
        "odd": {"kind": "binary"},
    }
    return source.Dataset(
        "few_digits",
        made["train"],
        made.get("validation"),
        made["test"],
        {"tasks": tasks},
    )


def _drawn(
    rng: np.random.Generator, rows: np.ndarray, digits: np.ndarray, count: int
) -> np.ndarray:
    """So many of the rows of each digit."""
    found = []
    for digit in np.unique(digits[rows]):
        own = rows[digits[rows] == digit]
        if not 0 < count <= len(own):
            raise ValueError(
                f"few_digits was asked for {count} images a digit; of the digit "
                f"{digit} there are {len(own)}"
            )
        found.append(rng.choice(own, count, replace=False))
    return np.concatenate(found)

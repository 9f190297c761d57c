"""Two questions on one image that have nothing in common."""

import os

import numpy as np

from mtl_jax.data import columns, source


def digit_and_writer(
    *,
    validation: int = 10_000,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """MNIST's digits, and whether a Census employee or a student wrote them.

    QMNIST tells the series of the writers: `hsf_4` are high school students, all others
    employees of the Census Bureau. What a digit is does not depend on who wrote it, and
    hands look alike in all digits.

    Args:
        validation: images held out of train; its last ones, of writers that train may
            have too.
        data_dir: where `qmnist` is prepared.

    Returns:
        Inputs uint8 `[N, 28, 28, 1]`; labels `digit` and `student`.

    Raises:
        FileNotFoundError: `qmnist` is not prepared; the text holds the command.
        ValueError: more held out than there is.
    """
    made = {}
    for split in ("train", "test"):
        found = columns.read_columns("qmnist", split, data_dir=data_dir)
        images, digits = np.asarray(found["image"]), np.asarray(found["label"])
        student = (np.asarray(found["series"]) == STUDENTS).astype(np.int32)
        made[split] = source.ArraySource(images, {"digit": digits, "student": student})
    whole = made["train"]
    if not 0 <= validation < len(whole):
        raise ValueError(
            f"a validation split of {validation} examples was asked for; train has "
            f"{len(whole)}, and some must be left."
        )
    tasks = {
        "digit": {"kind": "classification", "num_classes": 10},
        "student": {"kind": "binary"},
    }
    train, held = whole, None
    if validation:
        rows = np.arange(len(whole))
        train, held = (
            _part(whole, rows[:-validation]),
            _part(whole, rows[-validation:]),
        )
    return source.Dataset(
        "digit_and_writer", train, held, made["test"], {"tasks": tasks}
    )


STUDENTS = 4
"""The series of the students."""


def _part(whole: source.ArraySource, rows: np.ndarray) -> source.ArraySource:
    part = whole.take(rows)
    return source.ArraySource(part["inputs"], part["labels"])

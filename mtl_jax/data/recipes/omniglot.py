"""Eight alphabets: tasks with their own drawings and their own numbers of classes."""

import dataclasses
import itertools
import os

import numpy as np

from mtl_jax.data import columns, registry, source
from mtl_jax.data.per_task import per_task

SIDE = 28
DRAWERS = 20


def omniglot(
    *,
    test_drawers: int = 6,
    validation_drawers: int = 0,
    policy: str = "proportional",
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Which character of its alphabet a drawing is, for each of eight alphabets.

    Every character was drawn once by each of 20 persons. The last ones are the test
    split, so that nobody is in two splits.

    Args:
        test_drawers: persons of the test split.
        validation_drawers: persons of the validation split; 0 for no such split.
        policy: how an epoch goes through alphabets of different sizes; see
            `data.per_task`.
        data_dir: where `omniglot_small` is prepared.

    Returns:
        Inputs uint8 `[N, 28, 28, 1]`, bright ink on black; a label for each alphabet,
        of 17 to 47 classes, masked in the drawings of others.

    Raises:
        FileNotFoundError: the set is not prepared; the text holds the command.
        ValueError: no drawers left to train on.

    References:
        Lake, Salakhutdinov and Tenenbaum, Human-level concept learning through
        probabilistic program induction, Science 2015, for the drawings.
    """
    train = DRAWERS - test_drawers - validation_drawers
    if min(test_drawers, validation_drawers) < 0 or train < 1:
        raise ValueError(
            f"test_drawers={test_drawers} and validation_drawers={validation_drawers} "
            f"of {DRAWERS}: give numbers from 0 on, and leave one drawer to train."
        )
    found = {
        name: np.asarray(column)
        for name, column in columns.read_columns(
            "omniglot_small", data_dir=data_dir
        ).items()
    }
    images = np.stack([_shrunk(image[..., 0]) for image in found["image"]])[..., None]
    bounds = np.cumsum([0, train, validation_drawers, test_drawers])
    spec = registry.get("omniglot_small")
    sets, tasks = {}, {}
    for task, described in spec.tasks.items():
        alphabet = spec.features["alphabet"]["classes"].index(
            described["where"]["alphabet"]
        )
        parts: list[source.ArraySource | None] = []
        for first, last in itertools.pairwise(bounds):
            rows = np.flatnonzero(
                (found["alphabet"] == alphabet)
                & (found["drawer"] > first)
                & (found["drawer"] <= last)
            )
            labels = {task: found[described["column"]][rows].astype(np.int32)}
            part = source.ArraySource(images[rows], labels) if len(rows) else None
            parts.append(part)
        assert parts[0] is not None  # a drawer is left to train on
        sets[task] = source.Dataset(task, parts[0], parts[1], parts[2])
        tasks[task] = {
            "kind": "classification",
            "num_classes": described["num_classes"],
        }
    joined = per_task(sets, policy=policy, name="omniglot")
    return dataclasses.replace(joined, facts={"tasks": tasks})


def _shrunk(image: np.ndarray) -> np.ndarray:
    """A drawing at a smaller size, black paper and bright ink."""
    import PIL.Image

    box = PIL.Image.Resampling.BOX
    return 255 - np.asarray(PIL.Image.fromarray(image).resize((SIDE, SIDE), box))

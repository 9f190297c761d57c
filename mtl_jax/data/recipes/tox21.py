"""Tox21: twelve assays of one molecule, of which some were not done."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mtl_jax.data import columns, registry, source
from mtl_jax.data.tables import split


def tox21(
    *,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Twelve binary tasks, one an assay; 17 % of the labels are missing and masked.

    The split is random, but molecules with one fingerprint (569 of the 8,006) stay
    together: a model cannot tell them apart, and would be asked what it was told.

    Args:
        fractions: of train, validation and test.
        seed: of the split.
        data_dir: where Tox21 is prepared.

    Returns:
        Inputs uint8 `[N, 1024]`, bits; labels int32 `[N]` by the name of the assay,
        with masks.

    Raises:
        FileNotFoundError: Tox21 is not prepared; the text holds the command.

    References:
        Wu et al., MoleculeNet: a benchmark for molecular machine learning, Chemical
        Science 2018. Differs: the fingerprints have 1,024 bits, and see above.
    """
    found, parts, facts = divided((), fractions, seed, data_dir)
    bits = np.asarray(found["fingerprint"])
    made = {
        name: source.ArraySource(bits[part.rows], part.labels, part.masks)
        for name, part in parts.items()
    }
    return source.Dataset(
        "tox21", made["train"], made.get("validation"), made.get("test"), facts
    )


class Part(NamedTuple):
    """The molecules of a split."""

    rows: np.ndarray  # their places in the table
    labels: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]


def divided(
    more: Sequence[str],
    fractions: Sequence[float],
    seed: int,
    data_dir: str | os.PathLike[str] | None,
) -> tuple[dict[str, columns.Column], dict[str, Part], dict[str, Any]]:
    """The table with fingerprints and further columns, its splits, and its facts."""
    found = columns.read_columns(
        "tox21", columns=("fingerprint", "labels", *more), data_dir=data_dir
    )
    bits, answers = np.asarray(found["fingerprint"]), np.asarray(found["labels"])
    assays = registry.get("tox21").features["labels"]["names"]
    molecules = np.unique(bits, axis=0, return_inverse=True)[1].reshape(-1)
    parts = {}
    for name, rows in split.by_group(molecules, fractions, seed).items():
        known = answers[rows].T >= 0
        labels = np.where(known, answers[rows].T, 0).astype(np.int32)
        parts[name] = Part(
            rows,
            dict(zip(assays, labels, strict=True)),
            dict(zip(assays, known, strict=True)),
        )
    return found, parts, {"tasks": {name: {"kind": "binary"} for name in assays}}

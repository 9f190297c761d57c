"""Tox21 with two descriptions of a molecule: its fingerprint and its SMILES."""

import os
from collections.abc import Sequence

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.recipes.tox21 import divided
from mtl_jax.data.text import encode, smiles
from mtl_jax.data.text import vocabulary as vocabulary_lib


def tox21_smiles(
    *,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    length: int = 100,
    min_count: int = 5,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """The tasks and the split of the recipe `tox21`, with two modalities as inputs.

    Every molecule has both here (the prepared set leaves out the eight that have no
    fingerprint); `data.missing` in settings hides one.

    Args:
        fractions: of train, validation and test.
        seed: of the split.
        length: L, the longest SMILES in tokens; longer ones (2 %) are cut there.
        min_count: how often a token comes in train to be known.
        data_dir: where Tox21 is prepared.

    Returns:
        Inputs `{"fingerprint": uint8 [N, 1024], "smiles": int32 [N, L]}`, and for each
        `NAME_present`, bool `[N]`; labels and masks as in `tox21`.

    Raises:
        FileNotFoundError: Tox21 is not prepared; the text holds the command.
    """
    found, parts, facts = divided(("smiles",), fractions, seed, data_dir)
    molecules = [smiles.tokens(text) for text in found["smiles"]]
    bits = np.asarray(found["fingerprint"])
    vocabulary = vocabulary_lib.build(
        [molecules[i] for i in parts["train"].rows], min_count=min_count
    )
    made = {}
    for name, part in parts.items():
        there = np.ones(len(part.rows), bool)
        inputs = {
            "fingerprint": bits[part.rows],
            "smiles": encode.tokens(
                [molecules[i] for i in part.rows], vocabulary, length
            ),
            "fingerprint_present": there,
            "smiles_present": there,
        }
        made[name] = source.ArraySource(inputs, part.labels, part.masks)
    return source.Dataset(
        "tox21_smiles",
        made["train"],
        made.get("validation"),
        made.get("test"),
        {**facts, "model": encode.facts(vocabulary), "vocabulary": vocabulary},
    )

"""Tox21: twelve toxicity assays of molecules; 17 % of the labels are missing.

Wu et al., "MoleculeNet: a benchmark for molecular machine learning", Chemical Science
2018. Inputs are fingerprints that RDKit made of the SMILES in `tox21.csv`:
`GetMorganGenerator(radius=2, fpSize=1024)`, packed by `numpy.packbits` into the array
`x_packed` of `tox21_ecfp4_1024.npz`, beside `smiles`. Eight molecules (with aluminium)
that RDKit refuses are left out. There is one split, `train`. A missing label is -1.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.data import originals, spec

ASSAYS = (
    "NR-AR",
    "NR-AR-LBD",
    "NR-AhR",
    "NR-Aromatase",
    "NR-ER",
    "NR-ER-LBD",
    "NR-PPAR-gamma",
    "SR-ARE",
    "SR-ATAD5",
    "SR-HSE",
    "SR-MMP",
    "SR-p53",
)
TABLE = originals.File(
    "tox21.csv.gz", "9a1086b565a954d4bd2051da739ccf3fe0c37da11cdde1c91a89a0942c048cb6"
)
FINGERPRINTS = originals.File(
    "tox21_ecfp4_1024.npz",
    "8db3b992914dbca2079af636cd55f314d4fe6e040665a0167a3f58f71e759550",
)


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The one split, from the labels and the fingerprints in `folder`."""
    rows = originals.read_table(folder, TABLE, SPEC.name)[1:]
    arrays = originals.read_arrays(
        folder, FINGERPRINTS, SPEC.name, ("smiles", "x_packed")
    )
    parsed = set(arrays["smiles"].tolist())
    kept = [row for row in rows if row[13] in parsed]
    cells = [[int(cell or -1) for cell in row[:12]] for row in kept]
    columns: dict[str, Any] = {
        "fingerprint": np.unpackbits(arrays["x_packed"], axis=1),
        "labels": np.array(cells, np.int64),
        "molecule": [row[12] for row in kept],
        "smiles": [row[13] for row in kept],
    }
    if arrays["smiles"].tolist() != columns["smiles"]:
        raise ValueError(f"{FINGERPRINTS.name} has not the molecules of {TABLE.name}.")
    return {"train": spec.examples(columns)}


SPEC = spec.Spec(
    name="tox21",
    version="1.0.0",
    summary="8,006 molecules, 1,024-bit fingerprints: 12 toxicity assays",
    features={
        "fingerprint": {"shape": (1024,), "dtype": "uint8"},
        "labels": {"shape": (12,), "dtype": "int64", "names": ASSAYS},
        "molecule": spec.TEXT,
        "smiles": spec.TEXT,
    },
    splits={"train": 8006},
    tasks={"labels": {"kind": "multi_label", "num_labels": 12}},
    licence="labels: NIH, none stated; files: MIT (DeepChem)",
    source="https://github.com/deepchem/deepchem (datasets/tox21.csv.gz)",
    read=read,
    files=(TABLE, FINGERPRINTS),
)

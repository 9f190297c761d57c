"""Parkinson's telemonitoring: two clinical scores from recordings of the voice.

Tsanas, Little, McSharry and Ramig, "Accurate Telemonitoring of Parkinson's Disease
Progression by Noninvasive Speech Tests", IEEE Transactions on Biomedical Engineering
2010; they ask for the citation. There is one split, `train`: divide it by `subject`,
for a division by row puts the same patients on both sides. Columns are named as in the
file, with `_` for what is no letter or digit.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec
from mtl_jax.data.builders import cells

FILE = originals.File(
    "parkinsons_updrs.data.gz",
    "462e6d0f26e0c43d2eb02c4a7ef1ee2d22a7386edf906396ef31fe065052d7cd",
)


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The one split, from the file in `folder`."""
    rows = originals.read_table(folder, FILE, SPEC.name)
    return {"train": spec.examples(cells.columns(rows[1:], SPEC.features))}


SPEC = spec.Spec(
    name="parkinsons",
    version="1.0.0",
    summary="5,875 voice recordings of 42 patients: motor and total UPDRS",
    features={
        "subject": {**spec.codes(), "role": "group"},
        "age": spec.INTEGER,
        "sex": spec.codes(),
        "test_time": spec.NUMBER,
        "motor_UPDRS": spec.NUMBER,
        "total_UPDRS": spec.NUMBER,
        "Jitter_percent": spec.NUMBER,
        "Jitter_Abs": spec.NUMBER,
        "Jitter_RAP": spec.NUMBER,
        "Jitter_PPQ5": spec.NUMBER,
        "Jitter_DDP": spec.NUMBER,
        "Shimmer": spec.NUMBER,
        "Shimmer_dB": spec.NUMBER,
        "Shimmer_APQ3": spec.NUMBER,
        "Shimmer_APQ5": spec.NUMBER,
        "Shimmer_APQ11": spec.NUMBER,
        "Shimmer_DDA": spec.NUMBER,
        "NHR": spec.NUMBER,
        "HNR": spec.NUMBER,
        "RPDE": spec.NUMBER,
        "DFA": spec.NUMBER,
        "PPE": spec.NUMBER,
    },
    splits={"train": 5875},
    tasks={
        "motor_UPDRS": {"kind": "regression"},
        "total_UPDRS": {"kind": "regression"},
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/189",
    read=read,
    files=(FILE,),
)

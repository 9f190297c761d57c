"""Adult: persons of the US census of 1994, income above 50,000 dollars or not.

Kohavi, "Scaling up the accuracy of Naive-Bayes classifiers", KDD 1996. The full stop
behind the incomes of the test file and its first line, a comment, are left out; `?` is
missing. `fnlwgt` is the weight of a person in the population, and no input.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec
from mtl_jax.data.builders import cells

FILES = {
    "train": originals.File(
        "adult.data.gz",
        "56abd864b82521c7d4771dbf06c6d0ac950e51283ac4b8ae2de156b2f51e1bcc",
    ),
    "test": originals.File(
        "adult.test.gz",
        "59c89a992c9bea332d5335609fa7d2a731fee34e5f384154e7b0e335e6aa2c9b",
    ),
}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The splits, from the two files in `folder`."""
    splits: dict[str, Iterable[spec.Example]] = {}
    for name, file in FILES.items():
        table = originals.read_table(folder, file, SPEC.name)
        rows = [[*r[:-1], r[-1].removesuffix(".")] for r in table if len(r) > 1]
        splits[name] = spec.examples(cells.columns(rows, SPEC.features))
    return splits


SPEC = spec.Spec(
    name="adult",
    version="1.0.0",
    summary="48,842 persons of the US census: income above 50,000, never married",
    features={
        "age": spec.INTEGER,
        "workclass": spec.TEXT,
        "fnlwgt": {**spec.INTEGER, "role": "weight"},
        "education": spec.TEXT,
        "education_num": spec.INTEGER,
        "marital_status": spec.TEXT,
        "occupation": spec.TEXT,
        "relationship": spec.TEXT,
        "race": spec.TEXT,
        "sex": spec.TEXT,
        "capital_gain": spec.INTEGER,
        "capital_loss": spec.INTEGER,
        "hours_per_week": spec.INTEGER,
        "native_country": spec.TEXT,
        "income": spec.TEXT,
    },
    splits={"train": 32561, "test": 16281},
    tasks={
        "income": {"kind": "binary", "positive": ">50K"},
        "never_married": {
            "kind": "binary",
            "column": "marital_status",
            "positive": "Never-married",
            "hides": ("marital_status", "relationship"),
        },
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/2",
    read=read,
    files=tuple(FILES.values()),
)

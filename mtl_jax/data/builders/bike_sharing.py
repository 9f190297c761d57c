"""Bike Sharing: rentals an hour in Washington, by casual and by registered users.

Fanaee-T and Gama, "Event labeling combining ensemble detectors and background
knowledge", Progress in Artificial Intelligence 2013; they ask for the citation. There
is one split, `train`. `cnt` is the sum of the two tasks, and `instant` counts the rows.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec
from mtl_jax.data.builders import cells

FILE = originals.File(
    "hour.csv.gz", "d91b174598778b9f7b4134c8b119a0a9a4ced013aa090fe55500c9d9044d8d11"
)


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The one split, from the file in `folder`."""
    rows = originals.read_table(folder, FILE, SPEC.name)
    return {"train": spec.examples(cells.columns(rows[1:], SPEC.features))}


SPEC = spec.Spec(
    name="bike_sharing",
    version="1.0.0",
    summary="17,379 hours of a bike rental: casual and registered users",
    features={
        "instant": {**spec.INTEGER, "role": "index"},
        "dteday": {**spec.TEXT, "role": "group"},
        "season": spec.codes(),
        "yr": spec.codes(),
        "mnth": spec.codes(),
        "hr": spec.codes(),
        "holiday": spec.codes(),
        "weekday": spec.codes(),
        "workingday": spec.codes(),
        "weathersit": spec.codes(),
        "temp": spec.NUMBER,
        "atemp": spec.NUMBER,
        "hum": spec.NUMBER,
        "windspeed": spec.NUMBER,
        "casual": spec.INTEGER,
        "registered": spec.INTEGER,
        "cnt": spec.INTEGER,
    },
    splits={"train": 17379},
    tasks={
        "casual": {"kind": "count", "hides": ("cnt",)},
        "registered": {"kind": "count", "hides": ("cnt",)},
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/275",
    read=read,
    files=(FILE,),
)

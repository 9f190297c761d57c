"""Student Performance: three grades of Portuguese pupils, in two subjects.

Cortez and Silva, "Using Data Mining to Predict Secondary School Student Performance",
FUBUTEC 2008. Both files are in the one split, `train`, told apart by `course`. Of the
pupils 382 are in both, without an identifier, so a division by row puts some pupils on
both sides. Any order of the rows and any delimiter of the files is accepted.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec
from mtl_jax.data.builders import cells

FILES = {
    "mathematics": originals.File(
        "student-mat.csv",
        "c6fd0a132b52e38caa51d9d09c149c7723198a14469e165441f4b2c3d4e013a3",
    ),
    "portuguese": originals.File(
        "student-por.csv",
        "c845631cdff7159cd7704ec7ecba89224f312e116984e5f58d00f452b30dbd90",
    ),
}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The one split, from the two files in `folder`."""
    rows: list[list[str]] = []
    courses: list[str] = []
    for course, file in FILES.items():
        table = originals.read_table(folder, file, SPEC.name)[1:]
        rows += table
        courses += [course] * len(table)
    features = {n: f for n, f in SPEC.features.items() if n != "course"}
    columns = cells.columns(rows, features)
    return {"train": spec.examples({"course": courses, **columns})}


SPEC = spec.Spec(
    name="student",
    version="1.0.0",
    summary="1,044 pupils of mathematics or Portuguese: three grades, 0 to 20",
    features={
        "course": spec.classes(tuple(FILES)),
        "school": spec.TEXT,
        "sex": spec.TEXT,
        "age": spec.INTEGER,
        "address": spec.TEXT,
        "famsize": spec.TEXT,
        "Pstatus": spec.TEXT,
        "Medu": spec.INTEGER,
        "Fedu": spec.INTEGER,
        "Mjob": spec.TEXT,
        "Fjob": spec.TEXT,
        "reason": spec.TEXT,
        "guardian": spec.TEXT,
        "traveltime": spec.INTEGER,
        "studytime": spec.INTEGER,
        "failures": spec.INTEGER,
        "schoolsup": spec.TEXT,
        "famsup": spec.TEXT,
        "paid": spec.TEXT,
        "activities": spec.TEXT,
        "nursery": spec.TEXT,
        "higher": spec.TEXT,
        "internet": spec.TEXT,
        "romantic": spec.TEXT,
        "famrel": spec.INTEGER,
        "freetime": spec.INTEGER,
        "goout": spec.INTEGER,
        "Dalc": spec.INTEGER,
        "Walc": spec.INTEGER,
        "health": spec.INTEGER,
        "absences": spec.INTEGER,
        "G1": spec.INTEGER,
        "G2": spec.INTEGER,
        "G3": spec.INTEGER,
    },
    splits={"train": 1044},
    tasks={
        "G1": {"kind": "regression"},
        "G2": {"kind": "regression"},
        "G3": {"kind": "regression"},
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/320",
    read=read,
    files=tuple(FILES.values()),
)

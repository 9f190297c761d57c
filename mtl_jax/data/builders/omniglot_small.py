"""Omniglot's two small background sets: 242 characters of 8 alphabets, 20 drawers.

Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic
program induction", Science 2015. The two archives share Greek and Latin; a drawing that
is in both is kept once. Images are the original 1-bit files: 0 is ink, 255 is paper.
There is one split, `train`; divide it by drawer.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from mtl_jax.data import originals, spec

CHARACTERS = {  # of each alphabet
    "Balinese": 24,
    "Early_Aramaic": 22,
    "Greek": 24,
    "Japanese_(katakana)": 47,
    "Korean": 40,
    "Latin": 26,
    "Sanskrit": 42,
    "Tagalog": 17,
}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The drawings, from the two archives (or their folders) in `folder`."""
    drawings: dict[str, bytes] = {}
    for file in SPEC.files:
        drawings |= originals.read_archive(folder, file, "Omniglot")
    return {"train": _examples(drawings)}


def _examples(drawings: dict[str, bytes]) -> Iterator[spec.Example]:
    for key, path in enumerate(sorted(drawings)):
        alphabet, character, name = path.split("/")
        yield (
            key,
            {
                "image": drawings[path],
                "alphabet": alphabet,
                "character": int(character.removeprefix("character")) - 1,
                "drawer": int(name.removesuffix(".png").partition("_")[2]),
            },
        )


SPEC = spec.Spec(
    name="omniglot_small",
    version="1.0.0",
    summary="4,840 drawings of 242 characters, 105x105; a task for each of 8 alphabets",
    features={
        "image": spec.png(105, 105),
        "alphabet": spec.classes(tuple(CHARACTERS)),
        "character": spec.codes(),
        "drawer": {**spec.codes(), "role": "group"},
    },
    splits={"train": 4840},
    tasks={
        alphabet.lower().removeprefix("japanese_").strip("()"): {
            "kind": "classification",
            "num_classes": count,
            "column": "character",
            "where": {"alphabet": alphabet},
        }
        for alphabet, count in CHARACTERS.items()
    },
    licence="MIT (B. Lake)",
    source="https://github.com/brendenlake/omniglot",
    read=read,
    files=(
        originals.File(
            "images_background_small1.zip",
            "477d32a7160c3ee2adccc2dfe2552f1b22b8b13dda5e3ba1b0c015038d58bd5c",
        ),
        originals.File(
            "images_background_small2.zip",
            "2c6b0185d68690dc7468635d70d043fea309f1a531f89db51f8707aa57cb2fc4",
        ),
    ),
)

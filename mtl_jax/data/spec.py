"""What is known of a set before it is prepared: plain data and one function.

Nothing here imports TFDS, so a listing or an error text costs nothing.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax.data import originals

Example = tuple[int, dict[str, Any]]
"""A key, unique in its split, and the value of every feature."""

TEXT = {"shape": (), "dtype": "string"}
WORDS = {"shape": (None,), "dtype": "string"}
INTEGER = {"shape": (), "dtype": "int64"}
NUMBER = {"shape": (), "dtype": "float32"}


def classes(names: Sequence[str]) -> dict[str, Any]:
    """The feature of one class of these names.

    Example:
        >>> classes(["imdb", "yelp"])["num_classes"]
        2
    """
    return {
        "shape": (),
        "dtype": "int64",
        "num_classes": len(names),
        "classes": tuple(names),
    }


def png(height: int, width: int) -> dict[str, Any]:
    """The feature of a grey image, kept as the PNG file that the reader gives."""
    return {"shape": (height, width, 1), "dtype": "uint8", "encoding": "png"}


def codes(feature: Mapping[str, Any] = INTEGER) -> dict[str, Any]:
    """The feature of numbers that are names: an industry code, a month."""
    return {**feature, "categorical": True}


@dataclasses.dataclass(frozen=True)
class Spec:
    """One of the sets that mtl_jax prepares itself."""

    name: str
    version: str
    summary: str
    features: dict[str, dict[str, Any]]
    """`shape` (None along a free axis) and `dtype`; where they apply `num_classes`,
    `classes` (their names), `names` (of the entries of a vector), `categorical`
    (numbers that are names), and `role`: "group" (examples that share it belong in
    one split) or "weight" (of an example in its population; no input)."""
    splits: dict[str, int]
    tasks: dict[str, dict[str, Any]]
    """The tasks that the set is used for: `kind`, and where they apply
    `num_classes`, `column` (the feature it is made of, if it is not the task's
    name), `positive` (the value that is 1 in a binary task), `where` (the value of
    another feature that an example of the task has), and `hides` (features that
    give the answer away, so that no task of the set may see them)."""
    licence: str
    source: str
    read: Callable[[Path], dict[str, Iterable[Example]]]
    """From the folder of the original files to the examples of each split. A missing
    text is "", a missing number NaN, a missing label -1."""
    files: tuple[originals.File, ...] = ()
    """The original files that `--from DIR` must hold; empty: prepared by itself."""

    def missing_files(self, folder: Path) -> list[str]:
        """Names of the original files that are nowhere in `folder`, zipped or not."""
        return [
            file.name
            for file in self.files
            if not originals.candidates(folder, file.name)
        ]

    def command(self, data_dir: Path | None = None, source: str = "DIR") -> str:
        """The shell command that prepares this set."""
        origin = f" --from {source}" if self.files else ""
        target = f" --data-dir {data_dir}" if data_dir else ""
        return f"mtl-jax data prepare {self.name}{origin}{target}"


def examples(columns: Mapping[str, Sequence[Any]]) -> Iterator[Example]:
    """The examples of a split from its columns, all of one length.

    Example:
        >>> list(examples({"age": [30, 41], "sex": ["F", "M"]}))
        [(0, {'age': 30, 'sex': 'F'}), (1, {'age': 41, 'sex': 'M'})]
    """
    for key, values in enumerate(zip(*columns.values(), strict=True)):
        yield key, dict(zip(columns, values, strict=True))

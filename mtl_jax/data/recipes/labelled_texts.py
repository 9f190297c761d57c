"""Documents and their classes, a file or a domain for each task, as corpora."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mtl_jax.data import files as files_lib
from mtl_jax.data.recipes import corpora
from mtl_jax.data.tables import split as split_lib
from mtl_jax.data.text import tokenize

FRACTIONS = (0.7, 0.1, 0.2)


def read(path: Path) -> tuple[list[str], list[str]]:
    """The texts of a file and their classes."""
    texts, classes = [], []
    # Not splitlines: texts may contain control characters that are no end of a line.
    for number, line in enumerate(files_lib.text(path).split("\n"), start=1):
        text, tab, label = line.rpartition("\t")
        if tab:
            texts.append(text.strip())
            classes.append(label.strip())
        elif line.strip():
            raise ValueError(
                f"{path}, line {number} has no tab: {line[:60]!r}. Expected a text, a "
                "tab and its class."
            )
    return texts, classes


def divided(
    labelled: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    *,
    fractions: Sequence[float] = FRACTIONS,
    folds: int | None = None,
    fold: int = 0,
    seed: int = 0,
) -> dict[str, corpora.Corpus]:
    """Texts and their classes, by task, as corpora with splits; see `documents`."""
    result = {}
    for task, (texts, classes) in labelled.items():
        equal = [text.lower() for text in texts]
        if folds is None:
            rows = split_lib.by_group(equal, fractions, seed)
        else:
            rows = split_lib.by_fold(equal, folds, fold, fractions[1], seed)
        cut = [tokenize.words(text) for text in texts]
        result[task] = corpora.Corpus(
            {name: [cut[i] for i in part] for name, part in rows.items()},
            classes={
                task: {name: [classes[i] for i in part] for name, part in rows.items()}
            },
        )
    return result

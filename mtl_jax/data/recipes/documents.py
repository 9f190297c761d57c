"""Labelled texts from several files: a task a file, each with its own examples."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtl_jax.data import source
from mtl_jax.data.recipes import corpora, labelled_texts


def documents(
    *,
    path: str | os.PathLike[str],
    files: Mapping[str, str],
    fractions: Sequence[float] = labelled_texts.FRACTIONS,
    folds: int | None = None,
    fold: int = 0,
    length: int = 40,
    min_count: int = 2,
    lower: bool = True,
    vectors: str | Sequence[str] = (),
    all_vectors: bool = False,
    policy: str = "proportional",
    seed: int = 0,
) -> source.Dataset:
    """Your own documents and their classes, a file and a task for each corpus.

    A line of a file, UTF-8 and zipped or not, is a text, a tab and a class, the format
    of the UCI Sentiment Labelled Sentences. A task with two classes is binary (class 1
    is the second in the alphabet), another a classification; an empty class is a
    missing one. Equal texts of a corpus go to the same split.

    Args:
        path: the folder of the files.
        files: task to name of its file.
        fractions: of train, validation and test.
        folds: k: test on one of k parts of the texts instead, with the share of
            validation, `fractions[1]`, taken of what is left.
        fold: which, from 0 on.
        length: the longest training text in words; longer ones are cut there. Those of
            validation and test are never cut.
        min_count: how often a word comes in train to be known.
        lower: look words up in lower case. Otherwise a word is looked up as it stands,
            and if it is unknown so, in lower case.
        vectors: files in GloVe's format, for the initial embeddings.
        all_vectors: know every word of these files, those that train lacks too.
        policy: how an epoch goes through several corpora, see `data.GroupedBatches`.
        seed: of the split, and of the embeddings that `vectors` lack.

    Returns:
        Inputs `{"tokens": int32 [N, L]}`; labels int32 `[N]`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no files, a line without a tab, or a split that is none.
    """
    if not files:
        raise ValueError(
            "documents was given no files; name one a task, such as "
            "files={'reviews': 'reviews.tsv'}."
        )
    found = {
        task: labelled_texts.read(Path(path) / name) for task, name in files.items()
    }
    return corpora.dataset(
        "documents",
        labelled_texts.divided(
            found, fractions=fractions, folds=folds, fold=fold, seed=seed
        ),
        length=length,
        min_count=min_count,
        lower=lower,
        vectors=vectors,
        all_vectors=all_vectors,
        policy=policy,
        seed=seed,
    )

"""Tags of words and classes of documents: corpora of two kinds under one trunk."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax.data import source
from mtl_jax.data.recipes import (
    corpora,
    labelled_texts,
    prepared_texts,
    word_columns,
)


def words_and_documents(
    *,
    tags: Mapping[str, Any] | None = None,
    documents: Mapping[str, Any] | None = None,
    fractions: Sequence[float] = labelled_texts.FRACTIONS,
    length: int = 40,
    min_count: int = 2,
    lower: bool = False,
    vectors: str | Sequence[str] = (),
    all_vectors: bool = False,
    policy: str = "proportional",
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Word-level and document-level tasks, each with its own data, in one vocabulary.

    By default the tags of the English Web Treebank (`ewt_tags`) and the three domains
    of `sentiment`: seven tasks of four corpora.

    Args:
        tags: your own columns instead: arguments of `conll` that say where they are,
            such as `{"path": "ner.txt", "columns": {"words": 0, "ner": 3}}`.
        documents: your own documents instead: `{"path": "reviews", "files": {"books":
            "books.tsv"}}`, as `documents` takes them.
        fractions: of train, validation and test, of the documents.
        length: the longest training text in words; longer ones are cut there. Those of
            validation and test are never cut.
        min_count: how often a word comes in train, of all corpora, to be known.
        lower: look words up in lower case. Otherwise a word is looked up as it stands,
            and if it is unknown so, in lower case.
        vectors: files in GloVe's format, for the initial embeddings.
        all_vectors: know every word of these files, those that train lacks too.
        policy: how an epoch goes through the corpora, see `data.GroupedBatches`.
        seed: of the split, and of the embeddings that `vectors` lack.
        data_dir: where `ewt` and `uci_sentiment` are prepared.

    Returns:
        Inputs `{"tokens": int32 [N, L]}`; labels int32 `[N, L]` of words, -1 where
        there is none, and int32 `[N]` of documents, with masks.

    Raises:
        FileNotFoundError: a set is not prepared, or there is no such file.
        ValueError: a task of that name in both, or what `conll` and `documents` raise.
    """
    if tags is None:
        tagged = prepared_texts.treebank(prepared_texts.TAGS, data_dir)
    else:
        tagged = word_columns.read(**tags)
    if documents is None:
        labelled = prepared_texts.reviews(prepared_texts.DOMAINS, data_dir)
    else:
        folder = Path(documents["path"])
        labelled = {
            task: labelled_texts.read(folder / name)
            for task, name in documents["files"].items()
        }
    return corpora.dataset(
        "words_and_documents",
        {
            "words": tagged,
            **labelled_texts.divided(labelled, fractions=fractions, seed=seed),
        },
        length=length,
        min_count=min_count,
        lower=lower,
        vectors=vectors,
        all_vectors=all_vectors,
        policy=policy,
        seed=seed,
    )

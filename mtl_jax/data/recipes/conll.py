"""Your own file of one word a line and a column a task, by path."""

import os
from collections.abc import Mapping, Sequence

from mtl_jax.data import source
from mtl_jax.data.recipes import corpora, word_columns


def conll(
    *,
    path: str | os.PathLike[str],
    columns: Mapping[str, int],
    targets: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    fractions: Sequence[float] = word_columns.FRACTIONS,
    separator: str | None = None,
    ids: int | None = None,
    comment: str | None = None,
    missing: str | None = None,
    boundaries: Mapping[str, str] | None = None,
    length: int = 40,
    min_count: int = 2,
    lower: bool = False,
    vectors: str | Sequence[str] = (),
    all_vectors: bool = False,
    seed: int = 0,
) -> source.Dataset:
    """Tags of words from CoNLL columns: CoNLL-2003, CoNLL-U, IOB2 files and the like.

    A column whose tags are O, B-TYPE and I-TYPE is chunks. IOB1, in which an entity
    begins with B only behind another of its type, is written as IOB2; the chunks are
    the same, and are counted as conlleval does.

    Args:
        path: the file, which `fractions` divide by sentence, or the folder of `files`.
        columns: which column, counted from 0, holds the "words", and which the tags of
            each task; negative numbers count from the end.
        targets: the tasks wanted, of `columns`; default all.
        files: the names of the files "train" and, where there are any, "validation" and
            "test", in the folder `path`; zipped or not.
        fractions: of train, validation and test, of one file.
        separator: between columns; default any run of spaces and tabs.
        ids: the column of CoNLL-U identifiers; ranges and empty nodes are left out.
        comment: how comment lines begin; default `#` with `ids`, else none.
        missing: how a missing tag is written, such as "_".
        boundaries: further tasks, made of one with chunks by leaving the types out:
            `{"segment": "ner"}` has B, I and O alone.
        length: the longest training sentence in words; longer ones are cut there.
            Those of validation and test are never cut.
        min_count: how often a word comes in train to be known.
        lower: look words up in lower case. Otherwise a word is looked up as it stands,
            and if it is unknown so, in lower case.
        vectors: files in GloVe's format, for the initial embeddings.
        all_vectors: know every word of these files, those that train lacks too.
        seed: of the split, and of the embeddings that `vectors` lack.

    Returns:
        Inputs `{"tokens": int32 [N, L]}`; labels int32 `[N, L]`, -1 where there is
        none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no column of words, a name that is no column, a split that is none,
            or a damaged file.
    """
    corpus = word_columns.read(
        path=path,
        columns=columns,
        targets=targets,
        files=files,
        fractions=fractions,
        separator=separator,
        ids=ids,
        comment=comment,
        missing=missing,
        boundaries=boundaries,
        seed=seed,
    )
    return corpora.dataset(
        "conll",
        {"conll": corpus},
        length=length,
        min_count=min_count,
        lower=lower,
        vectors=vectors,
        all_vectors=all_vectors,
        seed=seed,
    )

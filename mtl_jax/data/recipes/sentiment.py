"""Sentiment of product, film and restaurant reviews: three domains, three tasks."""

import os
from collections.abc import Sequence

from mtl_jax.data import source
from mtl_jax.data.recipes import corpora, labelled_texts, prepared_texts


def sentiment(
    *,
    targets: Sequence[str] = prepared_texts.DOMAINS,
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
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Whether a sentence is positive, for each of three web sites with its own data.

    The 3,000 Sentiment Labelled Sentences, 1,000 of each site; equal sentences of a
    site go to the same split. For files of your own see `documents`.

    Args:
        targets: the sites wanted, each a binary task.
        fractions: of train, validation and test.
        folds: k: test on one of k parts of the sentences instead, with the share of
            validation, `fractions[1]`, taken of what is left.
        fold: which, from 0 on.
        length: the longest training sentence in words; longer ones are cut there.
            Those of validation and test are never cut.
        min_count: how often a word comes in train, of all sites, to be known.
        lower: look words up in lower case. Otherwise a word is looked up as it stands,
            and if it is unknown so, in lower case.
        vectors: files in GloVe's format, for the initial embeddings.
        all_vectors: know every word of these files, those that train lacks too.
        policy: how an epoch goes through the sites, see `data.GroupedBatches`.
        seed: of the split, and of the embeddings that `vectors` lack.
        data_dir: where `uci_sentiment` is prepared.

    Returns:
        Inputs `{"tokens": int32 [N, L]}`; labels int32 `[N]`, 1 is positive.

    Raises:
        FileNotFoundError: the set is not prepared, or there are no such vectors.
        ValueError: a target that there is not, or a split that is none.
    """
    divided = labelled_texts.divided(
        prepared_texts.reviews(targets, data_dir),
        fractions=fractions,
        folds=folds,
        fold=fold,
        seed=seed,
    )
    return corpora.dataset(
        "sentiment",
        divided,
        length=length,
        min_count=min_count,
        lower=lower,
        vectors=vectors,
        all_vectors=all_vectors,
        policy=policy,
        seed=seed,
    )

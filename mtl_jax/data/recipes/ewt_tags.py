"""English Web Treebank: four tags of every word, for one trunk with four heads."""

import os
from collections.abc import Sequence

from mtl_jax.data import source
from mtl_jax.data.recipes import corpora, prepared_texts


def ewt_tags(
    *,
    targets: Sequence[str] = prepared_texts.TAGS,
    length: int = 40,
    min_count: int = 2,
    lower: bool = False,
    vectors: str | Sequence[str] = (),
    all_vectors: bool = False,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> source.Dataset:
    """Parts of speech, dependency relations and entities of the same sentences.

    Tasks: `upos` (17 classes), `xpos` (49), `deprel` (51) and `ner`, entities in IOB2
    of four types (9 tags), which is missing in 15 training sentences. See
    `mtl_jax/data/builders/ewt.py` for the two treebanks.

    Args:
        targets: the tasks wanted.
        length: the longest training sentence in words; longer ones are cut there.
            Those of validation and test are never cut.
        min_count: how often a word comes in train to be known.
        lower: look words up in lower case. Otherwise a word is looked up as it stands,
            and if it is unknown so, in lower case.
        vectors: files in GloVe's format, for the initial embeddings.
        all_vectors: know every word of these files, those that train lacks too.
        seed: of the embeddings that `vectors` lack.
        data_dir: where `ewt` is prepared.

    Returns:
        Inputs `{"tokens": int32 [N, L]}`; labels int32 `[N, L]`, -1 where there is
        none.

    Raises:
        FileNotFoundError: the set is not prepared, or there are no such vectors.
        ValueError: a target that there is not.
    """
    corpus = prepared_texts.treebank(targets, data_dir)
    return corpora.dataset(
        "ewt_tags",
        {"ewt": corpus},
        length=length,
        min_count=min_count,
        lower=lower,
        vectors=vectors,
        all_vectors=all_vectors,
        seed=seed,
    )

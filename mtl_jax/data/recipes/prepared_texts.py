"""The prepared sets of text: a treebank with entities, and labelled reviews."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data import columns, source
from mtl_jax.data.recipes import corpora

TAGS = ("upos", "xpos", "deprel", "ner")
DOMAINS = ("amazon", "imdb", "yelp")
POLARITY = ("negative", "positive")


def treebank(
    targets: Sequence[str], data_dir: str | os.PathLike[str] | None
) -> corpora.Corpus:
    """The sentences of the treebank with these tags."""
    for name in targets:
        if name not in TAGS:
            raise errors.unknown_name("target of ewt_tags", name, TAGS)
    found: dict[str, dict[str, Any]] = {
        split: columns.read_columns(
            "ewt", split, columns=("words", *targets), data_dir=data_dir
        )
        for split in source.SPLITS
    }
    tags = {t: {split: part[t] for split, part in found.items()} for t in targets}
    words = {split: part["words"] for split, part in found.items()}
    return corpora.Corpus(words, tags)


def reviews(
    targets: Sequence[str], data_dir: str | os.PathLike[str] | None
) -> dict[str, tuple[list[str], list[str]]]:
    """The sentences of these sites and their polarity."""
    for name in targets:
        if name not in DOMAINS:
            raise errors.unknown_name("target of sentiment", name, DOMAINS)
    found = columns.read_columns("uci_sentiment", data_dir=data_dir)
    result = {}
    for name in targets:
        rows = np.flatnonzero(np.asarray(found["domain"]) == DOMAINS.index(name))
        texts = [found["text"][i] for i in rows]
        result[name] = (texts, [POLARITY[found["label"][i]] for i in rows])
    return result

"""Corpora to one data set: a vocabulary for all of them, ids of words, classes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtl_jax.data import source
from mtl_jax.data.per_task import per_task
from mtl_jax.data.text import encode
from mtl_jax.data.text import vectors as vectors_lib
from mtl_jax.data.text import vocabulary as vocabulary_lib

Sentences = Sequence[Sequence[str]]


class Corpus(NamedTuple):
    """Texts and what is known of them, split by split.

    Example:
        >>> Corpus({"train": [["so", "what"]]}, {"upos": {"train": [["ADV", "PRON"]]}})
        Corpus(words={'train': [['so', 'what']]}, tags=..., classes={})
    """

    words: Mapping[str, Sentences]
    """Of each split, the words of every text."""
    tags: Mapping[str, Mapping[str, Sentences]] = {}
    """Of each task and split, a tag for every word; "" where it is missing."""
    classes: Mapping[str, Mapping[str, Sequence[str]]] = {}
    """Of each task and split, a class for every text; "" where it is missing."""


def dataset(
    name: str,
    corpora: Mapping[str, Corpus],
    *,
    length: int,
    min_count: int,
    lower: bool,
    vectors: str | Sequence[str] = (),
    all_vectors: bool = False,
    policy: str = "proportional",
    seed: int = 0,
) -> source.Dataset:
    """The data set of one corpus, or of several that share words and a trunk.

    Args:
        name: of the set.
        corpora: by name; each has examples of its own, see `data.per_task`.
        length: the longest training text in words; longer ones are cut there. Those of
            validation and test are never cut.
        min_count: how often a word comes in the training texts, all corpora together,
            to be known; the rarer ones teach what an unknown word means.
        lower: look words up in lower case. Otherwise a word is looked up as it stands,
            and if it is unknown so, in lower case.
        vectors: files in GloVe's format, for the initial embeddings.
        all_vectors: know every word of these files, those that train lacks too.
        policy: how an epoch goes through several corpora, see `data.GroupedBatches`.
        seed: of the embeddings that `vectors` lack.

    Returns:
        A `Dataset` with inputs `{"tokens": int32 [N, L]}`; labels int32 `[N, L]` of
        tags, -1 where there is none, and int32 `[N]` of classes. `facts["vocabulary"]`
        encodes further texts: a word without an identifier takes that of its
        lower-case form, else that of its shape. `facts["text"]` has shares of the words
        of each split: those that are cut off, and those unknown as they stand.

    Raises:
        ValueError: a length below 1, or a task that two corpora have.
    """
    trained = [text for corpus in corpora.values() for text in corpus.words["train"]]
    vocabulary = vocabulary_lib.build(
        trained, min_count=min_count, lower=lower, digits=True, fall_back=True
    )
    table = None
    if vectors:
        vocabulary, table = _with_vectors(vocabulary, vectors, all_vectors, seed)
    lengths = _lengths(corpora, length)
    tasks: dict[str, dict[str, Any]] = {}
    sets = {}
    for key, corpus in corpora.items():
        found = _inventories(corpus)
        for task in found.keys() & tasks.keys():
            raise ValueError(f"two corpora have a task {task!r}. Rename one of them.")
        tasks.update(found)
        parts = {
            split: _encoded(corpus, split, vocabulary, lengths[split], found)
            for split in corpus.words
        }
        sets[key] = source.Dataset(
            key, parts["train"], parts.get("validation"), parts.get("test")
        )
    joined = next(iter(sets.values()))
    if len(sets) > 1:
        joined = per_task(sets, policy=policy)
    facts = {
        "tasks": tasks,
        "model": encode.facts(vocabulary, table),
        "vocabulary": vocabulary,
        "text": _shares(corpora, vocabulary, lengths),
    }
    return dataclasses.replace(joined, name=name, facts=facts)


def _with_vectors(
    vocabulary: vocabulary_lib.Vocabulary,
    paths: str | Sequence[str],
    all_words: bool,
    seed: int,
) -> tuple[vocabulary_lib.Vocabulary, np.ndarray]:
    """The vocabulary, longer by the words of the files if asked, and its vectors."""
    known = {form for word in vocabulary.words for form in (word, word.lower())}
    words, rows = vectors_lib.read(paths, keep=None if all_words else known)
    if all_words:
        normalised = map(vocabulary.normalised, words)
        together = tuple(dict.fromkeys([*vocabulary.words, *normalised]))
        vocabulary = dataclasses.replace(vocabulary, words=together)
    return vocabulary, vectors_lib.table(vocabulary, words, rows, seed=seed)[0]


def _lengths(corpora: Mapping[str, Corpus], train: int) -> dict[str, int]:
    """L of each split."""
    longest: dict[str, int] = {}
    for corpus in corpora.values():
        for split, texts in corpus.words.items():
            here = max(map(len, texts), default=1)
            longest[split] = max(longest.get(split, 1), here)
    return {**longest, "train": min(train, longest["train"])}


def _inventories(corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Kind and classes of each task, in the order of their numbers."""
    tasks: dict[str, dict[str, Any]] = {}
    for task, tags in corpus.tags.items():
        names = tuple(encode.inventory(*tags.values()))
        tasks[task] = {"kind": "tokens", "num_classes": len(names), "labels": names}
    for task, classes in corpus.classes.items():
        names = tuple(sorted({c for split in classes.values() for c in split} - {""}))
        kind = "binary" if len(names) == 2 else "classification"
        tasks[task] = {"kind": kind, "num_classes": len(names), "labels": names}
    return tasks


def _encoded(
    corpus: Corpus,
    split: str,
    vocabulary: vocabulary_lib.Vocabulary,
    length: int,
    tasks: Mapping[str, Mapping[str, Any]],
) -> source.ArraySource:
    tokens = encode.tokens(corpus.words[split], vocabulary, length)
    labels, masks = {}, {}
    for task, tags in corpus.tags.items():
        labels[task] = encode.tags(tags[split], tasks[task]["labels"], length)
    for task, classes in corpus.classes.items():
        numbers = {name: i for i, name in enumerate(tasks[task]["labels"])}
        present = np.array([name != "" for name in classes[split]])
        labels[task] = np.array([numbers.get(n, 0) for n in classes[split]], np.int32)
        if not present.all():
            masks[task] = present
    return source.ArraySource({"tokens": tokens}, labels, masks)


def _shares(
    corpora: Mapping[str, Corpus],
    vocabulary: vocabulary_lib.Vocabulary,
    lengths: Mapping[str, int],
) -> dict[str, Any]:
    """The shares of running words that are cut off, and that are unknown."""
    known = dataclasses.replace(vocabulary, fall_back=False)
    total = dict.fromkeys(lengths, 0)
    cut, unknown = dict(total), dict(total)
    for corpus in corpora.values():
        for split, texts in corpus.words.items():
            for text in texts:
                total[split] += len(text)
                cut[split] += max(len(text) - lengths[split], 0)
                unknown[split] += known.ids(text).count(vocabulary_lib.UNKNOWN)
    return {
        name: {split: round(n / max(total[split], 1), 4) for split, n in counts.items()}
        for name, counts in (("cut", cut), ("unknown", unknown))
    }

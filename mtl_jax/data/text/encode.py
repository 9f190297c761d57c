"""Lists of words and of tags to integer arrays `[N, L]`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data.text import vocabulary as vocabulary_lib

MISSING = -1
"""The class of a tag that is missing, or of padding behind the sentence."""


def tokens(
    sentences: Sequence[Sequence[str]],
    vocabulary: vocabulary_lib.Vocabulary,
    length: int | None = None,
) -> np.ndarray:
    """The identifiers of the words.

    Args:
        sentences: N lists of words.
        vocabulary: their identifiers.
        length: L: longer sentences are cut, shorter ones padded behind; default the
            length of the longest.

    Returns:
        int32 `[N, L]`; 0 is padding, 1 an unknown word.

    Raises:
        ValueError: a length below 1.

    Example:
        >>> known = vocabulary_lib.build([["to", "be"]])
        >>> tokens([["to", "be"], ["or"]], known).tolist()
        [[3, 2], [1, 0]]
    """
    rows = [vocabulary.ids(sentence) for sentence in sentences]
    return _padded(rows, length, vocabulary_lib.PADDING)


def tags(
    sentences: Sequence[Sequence[str]],
    classes: Sequence[str],
    length: int | None = None,
) -> np.ndarray:
    """The classes of the tags.

    Args:
        sentences: N lists of tags; "" where one is missing.
        classes: the tags in the order of their numbers, as `inventory` gives them.
        length: as for the `tokens` that the tags belong to.

    Returns:
        int32 `[N, L]`; -1 where a tag is missing and behind the sentence.

    Raises:
        ValueError: a tag that is none of the classes, or a length below 1.

    Example:
        >>> tags([["O", "B-PER"], ["O"], ["", ""]], ["O", "B-PER"]).tolist()
        [[0, 1], [0, -1], [-1, -1]]
    """
    numbers = {name: number for number, name in enumerate(classes)}
    numbers[""] = MISSING
    try:
        rows = [[numbers[tag] for tag in sentence] for sentence in sentences]
    except KeyError as error:
        raise errors.unknown_name("tag", error.args[0], classes) from None
    return _padded(rows, length, MISSING)


def inventory(*splits: Iterable[Iterable[str]]) -> list[str]:
    """The tags of all splits, in the order of `tags`: `O` first, then alphabetical.

    Take every split: the classes of an annotation are known before any example, and one
    that train lacks still counts as an error where it is met.

    Example:
        >>> inventory([["O", "I-LOC"], [""]], [["B-LOC"]])
        ['O', 'B-LOC', 'I-LOC']
    """
    found = {tag for split in splits for sentence in split for tag in sentence}
    return sorted(found - {""}, key=lambda tag: (tag != "O", tag))


def facts(
    vocabulary: vocabulary_lib.Vocabulary, vectors: np.ndarray | None = None
) -> dict[str, Any]:
    """What a trunk of text has to know of these inputs, as its arguments.

    Args:
        vocabulary: of the tokens.
        vectors: the initial embeddings, float32 `[V, D]`, from `vectors.table`.

    Returns:
        `vocabulary`, the number of identifiers, and `vectors` if they are given.

    Example:
        >>> facts(vocabulary_lib.build([["to", "be"]]))
        {'vocabulary': 4}
    """
    known: dict[str, Any] = {"vocabulary": len(vocabulary)}
    if vectors is not None:
        known["vectors"] = vectors
    return known


def _padded(rows: list[list[int]], length: int | None, padding: int) -> np.ndarray:
    if length is None:
        length = max(map(len, rows), default=1) or 1
    if length < 1:
        raise ValueError(
            f"length is {length}: give the number of words, such as 128, or None."
        )
    result = np.full((len(rows), length), padding, np.int32)
    for row, values in zip(result, rows, strict=True):
        row[: len(values)] = values[:length]
    return result

"""Chunk tags by their names: B-PER, I-PER, E-PER, S-PER, O."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PREFIXES = "BIES"
_RULE = (
    "Tags are O, and B, I, E or S with a type, such as B-PER; give them in the order "
    "of the classes."
)


class Tags(NamedTuple):
    """What each of C tags says about the chunk that its word is in."""

    outside: np.ndarray
    """`[C]` bool, no chunk: O."""
    begins: np.ndarray
    """`[C]` bool, the word is the first of its chunk: B, S."""
    ends: np.ndarray
    """`[C]` bool, the word is the last of its chunk: E, S."""
    kind: np.ndarray
    """`[C]` int32, the place of its type in `kinds`; 0 for O."""
    kinds: tuple[str, ...]
    """The types in the order of the tags; "" where tags have none."""


def parse(labels: Sequence[str]) -> Tags:
    """Reads tags: a prefix, and behind the first hyphen a type.

    IOB1, IOB2, IOE and IOBES need not be told apart: in the first two no tag ends a
    chunk, in IOB1 a B is rare.

    Args:
        labels: the name of each class.

    Returns:
        What they mean.

    Raises:
        ValueError: A label that is no tag.

    Example:
        >>> parse(("O", "B-PER", "I-PER", "B-LOC", "I-LOC")).kinds
        ('PER', 'LOC')
    """
    return _parse(tuple(labels))


@functools.cache
def _parse(labels: tuple[str, ...]) -> Tags:
    found = [label.partition("-") for label in labels]
    for label, (prefix, hyphen, kind) in zip(labels, found, strict=True):
        tag = len(prefix) == 1 and prefix in PREFIXES and bool(kind) == bool(hyphen)
        if not (tag or label == "O"):
            raise ValueError(f"the label {label!r} is no chunk tag. {_RULE}")
    inside = [kind for prefix, _, kind in found if prefix != "O"]
    if not inside:
        raise ValueError(f"the labels {list(labels)} have no chunk tag but O. {_RULE}")
    kinds = tuple(dict.fromkeys(inside))
    prefixes = np.array([prefix for prefix, _, _ in found])
    return Tags(
        prefixes == "O",
        np.isin(prefixes, ["B", "S"]),
        np.isin(prefixes, ["E", "S"]),
        np.array([0 if p == "O" else kinds.index(k) for p, _, k in found], np.int32),
        kinds,
    )


def are_tags(labels: Sequence[str]) -> bool:
    """Whether all labels are chunk tags, O among them.

    Args:
        labels: the name of each class.

    Example:
        >>> are_tags(("O", "B-NP", "I-NP")), are_tags(("NOUN", "VERB", "PUNCT"))
        (True, False)
    """
    try:
        parse(labels)
    except ValueError:
        return False
    return "O" in labels

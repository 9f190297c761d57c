"""Words to integers: 0 is padding, 1 a word that is not in the vocabulary."""

import collections
import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence

PADDING, UNKNOWN = 0, 1
RESERVED = ("<pad>", "<unk>")
_DIGIT = re.compile(r"\d")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words that have an identifier, from 2 on.

    Args:
        words: in the order of their identifiers.
        lower: whether words are looked up in lower case.
        digits: whether every digit of a word is looked up as `0`.
        fall_back: whether a word that has no identifier as it stands takes that of its
            lower-case form.

    Raises:
        ValueError: a word that comes twice.

    Example:
        >>> vocabulary = build([["The", "cat"], ["the", "dog"]], lower=True)
        >>> vocabulary.ids(["THE", "bird"]), len(vocabulary)
        ([2, 1], 5)
    """

    words: tuple[str, ...]
    lower: bool = False
    digits: bool = False
    fall_back: bool = False

    def __post_init__(self) -> None:
        if len(set(self.words)) < len(self.words):
            counts = collections.Counter(self.words)
            twice = next(word for word, count in counts.items() if count > 1)
            raise ValueError(f"the word {twice!r} comes twice in the vocabulary.")

    def __len__(self) -> int:
        """How many identifiers there are, with those of padding and unknown words."""
        return len(RESERVED) + len(self.words)

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The identifier of each token."""
        get, normalised = self._index.get, map(self.normalised, tokens)
        if self.fall_back:
            return [get(t, get(t.lower(), UNKNOWN)) for t in normalised]
        return [get(token, UNKNOWN) for token in normalised]

    def normalised(self, token: str) -> str:
        """A token as it is looked up."""
        token = token.lower() if self.lower else token
        return _DIGIT.sub("0", token) if self.digits else token

    def to_list(self) -> list[str]:
        """Every word at the place of its identifier; `from_list` reads it again."""
        return [*RESERVED, *self.words]

    @classmethod
    def from_list(
        cls,
        words: Sequence[str],
        *,
        lower: bool = False,
        digits: bool = False,
        fall_back: bool = False,
    ) -> "Vocabulary":
        """A vocabulary from `to_list()`, or from words without the reserved two.

        Example:
            >>> Vocabulary.from_list(build([["a", "b", "a"]]).to_list()).words
            ('a', 'b')
        """
        start = len(RESERVED) if tuple(words[: len(RESERVED)]) == RESERVED else 0
        return cls(tuple(words[start:]), lower, digits, fall_back)

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, start=len(RESERVED))}


def build(
    sentences: Iterable[Iterable[str]],
    *,
    min_count: int = 1,
    max_size: int | None = None,
    lower: bool = False,
    digits: bool = False,
) -> Vocabulary:
    """The vocabulary of sentences (of the training split), most frequent words first.

    Args:
        sentences: each of tokens.
        min_count: words that are rarer are left out.
        max_size: how many identifiers there may be, padding and unknown among them.
        lower: look words up in lower case.
        digits: look words up with every digit as `0`.

    Returns:
        A `Vocabulary`. Words of one frequency are in alphabetical order, so it depends
        on the sentences and the arguments alone.

    Raises:
        ValueError: `max_size` leaves no word.

    Example:
        >>> build([["b", "a"], ["b", "c", "a"], ["b"]], max_size=4).to_list()
        ['<pad>', '<unk>', 'b', 'a']
    """
    if max_size is not None and max_size <= len(RESERVED):
        raise ValueError(
            f"max_size is {max_size}: padding and unknown words take "
            f"{len(RESERVED)} of them. Give a larger one, or None."
        )
    normalise = Vocabulary((), lower, digits).normalised
    counts = collections.Counter(
        normalise(token) for sentence in sentences for token in sentence
    )
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [word for word, count in order if count >= min_count]
    if max_size is not None:
        words = words[: max_size - len(RESERVED)]
    return Vocabulary(tuple(words), lower, digits)

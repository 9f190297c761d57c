"""Words to integers: 0 is padding, 1 a word that is not in the vocabulary."""

import collections
import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence

from mtl_jax.data.text import shapes

PADDING, UNKNOWN = 0, 1
RESERVED = ("<pad>", "<unk>")
SHAPES = 10
"""How often a shape comes among words that are left out, to have an identifier."""
_DIGIT = re.compile(r"\d")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words that have an identifier, from 2 on.

    Args:
        words: in the order of their identifiers.
        lower: whether words are looked up in lower case.
        digits: whether every digit of a word is looked up as `0`.
        fall_back: whether a word that has no identifier as it stands takes that of its
            lower-case form, else that of its shape (see `shapes`).

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
        seen = self._seen
        found = []
        for token in tokens:
            if token not in seen:
                known = map(self._index.get, self._forms(token))
                seen[token] = next((i for i in known if i), UNKNOWN)
            found.append(seen[token])
        return found

    def _forms(self, token: str) -> Iterator[str]:
        """What a token is looked up as, one after the other."""
        word = self.normalised(token)
        yield word
        if self.fall_back:
            yield word.lower()
            yield from shapes.shapes(word)

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
    def _seen(self) -> dict[str, int]:
        return {}

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
    fall_back: bool = False,
) -> Vocabulary:
    """The vocabulary of sentences (of the training split), most frequent words first.

    Args:
        sentences: each of tokens.
        min_count: words that are rarer are left out.
        max_size: how many identifiers there may be, padding and unknown among them.
        lower: look words up in lower case.
        digits: look words up with every digit as `0`.
        fall_back: look a word up that is left out in lower case, then by its shape.
            Shapes that come `SHAPES` times among these words have identifiers as well,
            behind those of the words.

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
    if fall_back:
        words += _shapes_of_rare(order, set(words))
    return Vocabulary(tuple(words), lower, digits, fall_back)


def _shapes_of_rare(order: list[tuple[str, int]], known: set[str]) -> list[str]:
    counts: collections.Counter[str] = collections.Counter()
    for word, count in order:
        if word not in known and word.lower() not in known:
            for shape in set(shapes.shapes(word)):
                counts[shape] += count
    return sorted(shape for shape, count in counts.items() if count >= SHAPES)

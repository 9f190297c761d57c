"""Documents to words, by one regular expression."""

import re

_WORDS = re.compile(
    r"""
      </?[a-z][^<>]*>                     # markup, dropped below
    | [^\W\d_]+(?=n['’]t\b)               # do|n't, as in the Penn Treebank
    | n['’]t\b
    | ['’](?:s|m|d|ll|re|ve)\b            # it|'s
    | \d+(?:[.,:]\d+)+(?!\w)              # 1,000.5  12:30
    | \w+(?:-\w+)*                        # well-known
    | \.{2,}                              # an ellipsis is one word
    | [^\w\s]                             # any other sign
    """,
    re.VERBOSE | re.IGNORECASE,
)


def words(text: str, *, lower: bool = False) -> list[str]:
    """The words and signs of a text, in order.

    Clitics are split as in the Penn Treebank and GloVe ("do n't", "it 's"); markup in
    angle brackets is left out. For text in languages that write spaces between words.

    Args:
        text: of any length.
        lower: give the words in lower case.

    Returns:
        The words; none for an empty text.

    Example:
        >>> words("It's <br />the well-known 3.5 mm jack... isn't it?")
        ['It', "'s", 'the', 'well-known', '3.5', 'mm', 'jack', '...', 'is', "n't",
         'it', '?']
    """
    found = (
        match.group() for match in _WORDS.finditer(text.lower() if lower else text)
    )
    return [word for word in found if not (len(word) > 2 and word[0] == "<")]

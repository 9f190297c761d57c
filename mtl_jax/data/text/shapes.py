"""What an unknown word looks like: its case, digits and signs, and how it ends."""

import re

_SIGNS = re.compile(r"[^\w\s]|_")
_DIGIT = re.compile(r"\d")


def shapes(word: str) -> tuple[str, str]:
    """The shape of a word with its ending, and without.

    Case is `A` (capitals), `Aa` (a capital first), `a` (no capital), `aA` (one inside)
    or nothing; behind it are `0` if there is a digit and the first sign if there is
    one; the ending is the last three letters of a word of five or more.

    Args:
        word: as it stands in the text.

    Returns:
        Two texts, equal where the word has no such ending.

    Example:
        >>> shapes("Yorkshire"), shapes("@user_7"), shapes("F-16")
        (('<Aa~ire>', '<Aa>'), ('<a0@>', '<a0@>'), ('<A0->', '<A0->'))

    References:
        Petrov, Barrett, Thibaux and Klein, "Learning Accurate, Compact, and
        Interpretable Tree Annotation", ACL 2006, for unknown words by such features.
        Differs: fewer features, one language.
    """
    letters = "".join(filter(str.isalpha, word))
    case = ""
    if letters:
        case = "a" if letters == letters.lower() else "aA"
        if letters[0].isupper():
            case = "A" if letters == letters.upper() else "Aa"
    sign = _SIGNS.search(word)
    shape = f"{case}{'0' * bool(_DIGIT.search(word))}{sign.group() if sign else ''}"
    ending = word[-3:].lower()
    if len(word) >= 5 and ending.isalpha():
        return f"<{shape}~{ending}>", f"<{shape}>"
    return f"<{shape}>", f"<{shape}>"

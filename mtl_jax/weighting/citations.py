"""Whom to cite for a method."""

import re
from importlib import resources

from mtl_jax.errors import unknown_name


def citation(name: str) -> str:
    """The BibTeX entry of a method's paper; its key is the method's name.

    Args:
        name: a key of `METHODS`.

    Returns:
        The entry, ready for a `.bib` file.

    Raises:
        ValueError: unknown name, or a method that is older than its papers.

    Example:
        >>> print(citation("mgda").splitlines()[0])
        @inproceedings{mgda,
    """
    text = resources.files("mtl_jax.weighting").joinpath("references.bib").read_text()
    entries = dict(
        (match["key"], match[0].strip())
        for match in re.finditer(r"@\w+\{(?P<key>\w+),.*?\n\}", text, re.DOTALL)
    )
    if name in entries:
        return entries[name]
    if name in FOLKLORE:
        raise ValueError(
            f"{name!r} has no paper of its own to cite: the weighted sum is older than "
            "the field"
        )
    raise unknown_name("method", name, entries)


FOLKLORE = frozenset({"static"})
"""Methods without a paper."""

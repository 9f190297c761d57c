"""Molecules written as lines of text, cut into tokens."""

import re

_TOKEN = re.compile(r"\[[^\[\]]*\]|Br|Cl|%\d\d|.")


def tokens(molecule: str) -> list[str]:
    """The atoms, bonds, branches and rings of a SMILES; nothing is left out.

    Args:
        molecule: its SMILES.

    Example:
        >>> tokens("CC(Cl)[N+](=O)c1")
        ['C', 'C', '(', 'Cl', ')', '[N+]', '(', '=', 'O', ')', 'c', '1']

    References:
        Weininger, SMILES, a chemical language and information system, Journal of
        Chemical Information and Computer Sciences 1988.
    """
    return _TOKEN.findall(molecule)

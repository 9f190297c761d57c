"""Error texts that name the nearest right answer."""

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, asked: str, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a table.

    Args:
        kind: what is named, in the singular: "task", "method", "config key".
        asked: the name that was asked for.
        known: every name that would have been right.

    Returns:
        A `ValueError` for the caller to raise. It lists the known names and the
        nearest one.

    Example:
        >>> print(unknown_name("method", "pcgrda", ["equal", "pcgrad"]))
        unknown method 'pcgrda'. Did you mean 'pcgrad'? Known: equal, pcgrad.
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(asked), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) if names else "(none)"
    return ValueError(f"unknown {kind} {asked!r}.{hint} Known: {listed}.")

"""An endless stream of the examples of every group."""

from collections.abc import Sequence

import numpy as np


class Streams:
    """For each group, a permutation of its examples, then another, without end.

    Args:
        groups: their lengths, in the order of the examples.
        seed: a non-negative integer.
        shuffle: False: every group in the order of the data, again and again.

    Example:
        >>> Streams((3, 2), seed=0, shuffle=False).next(1, start=1, count=3).tolist()
        [4, 3, 4]
    """

    def __init__(self, groups: Sequence[int], *, seed: int, shuffle: bool = True):
        self._groups, self._seed, self._shuffle = tuple(groups), seed, shuffle
        self._starts = np.concatenate([[0], np.cumsum(self._groups)[:-1]])
        self._cached: dict[int, tuple[int, np.ndarray]] = {}

    def next(self, group: int, start: int, count: int) -> np.ndarray:
        """So many of the stream of a group, from `start` on; int64 `[count]`."""
        length = self._groups[group]
        parts = []
        while count > 0:
            turn, offset = divmod(start, length)
            part = self._order(group, turn)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return self._starts[group] + np.concatenate(parts)

    def _order(self, group: int, turn: int) -> np.ndarray:
        length = self._groups[group]
        if not self._shuffle:
            return np.arange(length)
        cached = self._cached.get(group)  # one read: a thread may replace it
        if cached is not None and cached[0] == turn:
            return cached[1]
        order = np.random.default_rng((self._seed, group, turn)).permutation(length)
        self._cached[group] = (turn, order)
        return order

"""Which rows of a table are for training, validation and test."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtl_jax.data import source

FRACTIONS = (0.8, 0.1, 0.1)


def by_row(
    count: int, fractions: Sequence[float] = FRACTIONS, seed: int = 0
) -> dict[str, np.ndarray]:
    """A random split of rows.

    Args:
        count: how many rows there are.
        fractions: of train, validation and test; their sum is 1. A fraction of 0 leaves
            out that split.
        seed: a non-negative integer; the split depends on it, `count` and `fractions`.

    Returns:
        Sorted indices, int64, for each split; together they are every row once.

    Raises:
        ValueError: fractions that are no split, or a split that would be empty.

    Example:
        >>> {name: len(rows) for name, rows in by_row(10).items()}
        {'train': 8, 'validation': 1, 'test': 1}
    """
    shares = _checked(fractions)
    bounds = np.rint(np.cumsum(shares)[:-1] * count).astype(int)
    order = np.random.default_rng(seed).permutation(count)
    parts = [np.sort(part) for part in np.split(order, bounds)]
    return _named(parts, shares, f"{count} rows")


def by_group(
    groups: Sequence[Any] | np.ndarray,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """A random split in which no group (a patient, a writer) is in two parts.

    Groups come in random order, each to the split that lacks the most of its share.

    Args:
        groups: the group of each row, `[N]`.
        fractions: as for `by_row`, of the rows; met as nearly as the groups allow.
        seed: a non-negative integer; the split depends on it, `groups` and `fractions`.

    Returns:
        Sorted indices, int64, for each split; together they are every row once.

    Raises:
        ValueError: fractions that are no split, or a split that would be empty.

    Example:
        >>> parts = by_group(["ann", "bob", "ann", "eve"], (0.5, 0.25, 0.25))
        >>> sorted(len(rows) for rows in parts.values())
        [1, 1, 2]
    """
    shares = _checked(fractions)
    names, place, sizes = np.unique(
        np.asarray(groups), return_inverse=True, return_counts=True
    )
    wanted = shares * len(place)
    filled = np.where(shares > 0, 0.0, np.inf)
    split_of = np.empty(len(names), np.int64)
    for group in np.random.default_rng(seed).permutation(len(names)):
        split = int(np.argmin(filled))
        filled[split] += sizes[group] / wanted[split]
        split_of[group] = split
    parts = [np.flatnonzero(split_of[place] == number) for number in range(3)]
    return _named(parts, shares, f"{len(names)} groups")


def by_fold(
    groups: Sequence[Any] | np.ndarray,
    folds: int,
    fold: int,
    validation: float = 0.0,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """One of the splits of a cross-validation; no group is in two parts of it.

    Args:
        groups: the group of each row, `[N]`; for single rows, `range(N)`.
        folds: k: the groups in random order are dealt out to so many parts.
        fold: the part that is for test, from 0 to k - 1.
        validation: share of the groups that are left.
        seed: a non-negative integer; the parts depend on it, `groups` and `folds`.

    Returns:
        Sorted indices, int64, for each split; together they are every row once.

    Raises:
        ValueError: a fold that there is not, or a split that would be empty.

    Example:
        >>> tests = [by_fold(range(10), 5, fold)["test"] for fold in range(5)]
        >>> sorted(np.concatenate(tests).tolist()) == list(range(10))
        True
    """
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    if not (2 <= folds <= len(names) and 0 <= fold < folds):
        raise ValueError(
            f"fold {fold} of {folds} of {len(names)} groups: give 2 folds or more, as "
            "many as groups at most, and a fold from 0 on below their number."
        )
    if not 0 <= validation < 1:
        raise ValueError(f"validation is {validation}; give a share from 0 to below 1.")
    order = np.random.default_rng(seed).permutation(len(names))
    split_of = np.zeros(len(names), np.int64)
    rest = np.delete(order, np.s_[fold::folds])
    split_of[order[fold::folds]] = 2
    split_of[rest[: round(validation * len(rest))]] = 1
    parts = [np.flatnonzero(split_of[place] == number) for number in range(3)]
    shares = np.array([1.0, validation, 1.0])
    return _named(parts, shares, f"{len(names)} groups")


def _checked(fractions: Sequence[float]) -> np.ndarray:
    shares = np.asarray(fractions, np.float64)
    right = shares.shape == (3,) and (shares >= 0).all() and shares[0] > 0
    if not right or abs(shares.sum() - 1.0) > 1e-6:
        raise ValueError(
            f"fractions {fractions!r}: expected three non-negative numbers of sum 1, "
            "for train (not 0), validation and test, such as (0.8, 0.1, 0.1)."
        )
    return shares


def _named(
    parts: Sequence[np.ndarray], shares: np.ndarray, whole: str
) -> dict[str, np.ndarray]:
    named = {}
    for name, part, share in zip(source.SPLITS, parts, shares, strict=True):
        if share > 0 and len(part) == 0:
            raise ValueError(
                f"split {name!r} would be empty: {share:g} of {whole}. Give more, or a "
                "fraction of 0 to leave the split out."
            )
        if share > 0:
            named[name] = part
    return named

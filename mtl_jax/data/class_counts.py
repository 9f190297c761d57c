"""How many labels of each class there are, and weights that make up for it."""

from collections.abc import Sequence

import numpy as np

from mtl_jax.data import source as source_lib
from mtl_jax.errors import unknown_name


def class_counts(
    source: source_lib.ArraySource, label: str, num_classes: int | None = None
) -> tuple[int, ...]:
    """The number of labels of each class.

    Args:
        source: a split.
        label: of whole numbers `[N, ...]`; masked and negative ones are no labels.
        num_classes: C; default: as many as the largest label says, two at least.

    Returns:
        C numbers.

    Raises:
        ValueError: a label that there is not, that has no classes, or none present.

    Example:
        >>> source = source_lib.ArraySource(np.eye(4), {"spam": np.array([0, 1, 0, 0])})
        >>> class_counts(source, "spam")
        (3, 1)
    """
    if label not in source.labels:
        raise unknown_name("label", label, source.labels)
    values = source.labels[label]
    if label in source.masks:
        values = values[source.masks[label]]
    if values.dtype.kind not in "biu" and np.any(values != np.floor(values)):
        raise ValueError(
            f"the label {label!r} has values between whole numbers, so that it has no "
            "classes to count. Balance a classification or a yes-or-no question"
        )
    found = values.reshape(-1).astype(np.int64)
    found = found[found >= 0]
    if not len(found):
        raise ValueError(f"the label {label!r} has no labels at all to be counted")
    counts = np.bincount(found, minlength=max(num_classes or 2, 2))
    return tuple(int(n) for n in counts)


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Class weights that give every class the same part of the loss: `N / (C n_c)`.

    A class without examples has weight 1, and counts for nothing in N and C.

    Args:
        counts: `n_c`, of the C classes.

    Returns:
        C weights; their mean over the examples is 1.

    Example:
        >>> balanced_weights([30, 10])
        (0.6666666666666666, 2.0)

    References:
        King and Zeng, Logistic Regression in Rare Events Data, Political Analysis 2001.
    """
    found = np.asarray(counts, np.float64)
    present = found > 0
    mean = found.sum() / max(int(present.sum()), 1)
    weights = np.where(present, mean / np.where(present, found, 1), 1.0)
    return tuple(float(w) for w in weights)


def balancing_draws(
    source: source_lib.ArraySource, label: str, shares: Sequence[float] = ()
) -> np.ndarray:
    """How often each example should be drawn, for classes in given shares.

    Args:
        source: a split.
        label: one class an example, `[N]`.
        shares: of the classes among the examples that have the label; default: equal
            ones. They are divided by their sum.

    Returns:
        `[N]` float64, for `ArraySource.draws`; 1 is as often as without. An example
        whose label is missing has 1.

    Raises:
        ValueError: a label of another shape, or shares that do not fit its classes.

    Example:
        >>> source = source_lib.ArraySource(np.eye(4), {"spam": np.array([0, 1, 0, 0])})
        >>> balancing_draws(source, "spam").round(2).tolist()
        [0.67, 2.0, 0.67, 0.67]
    """
    counts = np.asarray(class_counts(source, label), np.float64)
    values = source.labels[label]
    if values.ndim != 1:
        raise ValueError(
            f"the label {label!r} has shape {values.shape}; examples are drawn by a "
            "label of one class an example"
        )
    wanted = np.ones(len(counts)) if not len(shares) else np.asarray(shares, float)
    if wanted.shape != counts.shape or np.any(wanted < 0) or not wanted.sum() > 0:
        raise ValueError(
            f"shares {tuple(shares)} were given for the {len(counts)} classes of "
            f"{label!r}; give one non-negative number a class, not all zero"
        )
    wanted = np.where(counts > 0, wanted, 0)
    if not wanted.sum() > 0:
        raise ValueError(
            f"shares {tuple(shares)} were given for the classes of {label!r}, of which "
            f"there are {tuple(int(n) for n in counts)} labels: only classes without "
            "labels have a share. Give one to a class that is there"
        )
    factors = counts.sum() * wanted / wanted.sum() / np.maximum(counts, 1)
    present = values >= 0
    if label in source.masks:
        present &= source.masks[label]
    return np.where(present, factors[np.where(present, values, 0).astype(int)], 1.0)

"""Datasets from arrays that are already in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax import errors
from mtl_jax.data import source


def from_arrays(
    inputs: Any,
    labels: Mapping[str, Any],
    *,
    masks: Mapping[str, Any] | None = None,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    stratify: str | None = None,
    seed: int = 0,
    name: str = "arrays",
) -> source.Dataset:
    """Split arrays into train, validation and test.

    The split depends on the length (and the labels, if stratified), the fractions
    and the seed alone. The examples of a split keep their order.

    Args:
        inputs: `[N, ...]`, or several such arrays by name.
        labels: for each label name, `[N, ...]`.
        masks: for some of the labels, bool `[N]`: False where the label is missing.
        fractions: of train, validation and test; their sum is 1. A fraction of 0
            leaves out that split.
        stratify: a label `[N]` of which every split gets the same share of values.
        seed: a non-negative integer.
        name: of the dataset.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: fractions that are no split, a label to stratify by that is not
            there or not a class, or arrays that `ArraySource` refuses.

    Example:
        >>> data = from_arrays(np.eye(10), {"digit": np.arange(10)})
        >>> len(data.train), len(data.split("validation")), len(data.split("test"))
        (8, 1, 1)
    """
    whole = source.ArraySource(inputs, dict(labels), dict(masks or {}))
    shares = _checked_fractions(fractions)
    groups = [np.arange(len(whole))]
    if stratify is not None:
        groups = _groups(whole, stratify)
    rng = np.random.default_rng(seed)
    pieces: list[list[np.ndarray]] = []
    for group in groups:
        bounds = np.rint(np.cumsum(shares)[:-1] * len(group)).astype(int)
        pieces.append(np.split(rng.permutation(group), bounds))
    splits: list[source.ArraySource | None] = []
    for number, (split, share) in enumerate(zip(source.SPLITS, shares, strict=True)):
        indices = np.sort(np.concatenate([piece[number] for piece in pieces]))
        if share > 0 and len(indices) == 0:
            raise ValueError(
                f"split {split!r} would be empty: {share:g} of {len(whole)} examples"
                f"{' of each class' if stratify else ''}. Give more examples, or a "
                "fraction of 0 to leave the split out."
            )
        splits.append(_subset(whole, indices) if len(indices) else None)
    train, validation, test = splits
    assert train is not None  # its fraction is positive, so the loop has refused it
    return source.Dataset(name, train, validation, test)


def from_splits(
    train: Sequence[Any],
    validation: Sequence[Any] | None = None,
    test: Sequence[Any] | None = None,
    *,
    name: str = "arrays",
) -> source.Dataset:
    """A dataset from splits that exist already.

    Args:
        train: `(inputs, labels)` or `(inputs, labels, masks)`.
        validation: the same, or None.
        test: the same, or None.
        name: of the dataset.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: a split that is not such a tuple, arrays that `ArraySource`
            refuses, or splits with different labels or input shapes.

    Example:
        >>> data = from_splits((np.eye(4), {"digit": np.arange(4)}))
        >>> len(data.train), data.validation
        (4, None)
    """
    made: list[source.ArraySource | None] = []
    for split, given in zip(source.SPLITS, (train, validation, test), strict=True):
        if given is None:
            made.append(None)
            continue
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ValueError(
                f"split {split!r} is a {type(given).__name__}, expected the tuple "
                "(inputs, labels) or (inputs, labels, masks)."
            )
        try:
            masks = dict(given[2]) if len(given) == 3 else {}
            made.append(source.ArraySource(given[0], dict(given[1]), masks))
        except ValueError as error:
            raise ValueError(f"split {split!r}: {error}") from None
    if made[0] is None:
        raise ValueError("split 'train' is None: give (inputs, labels) to train on.")
    return source.Dataset(name, made[0], made[1], made[2])


def carve(
    whole: source.ArraySource, fraction: float, seed: int
) -> tuple[source.ArraySource, source.ArraySource]:
    """`whole` without a random share of its examples, and that share."""
    count = round(len(whole) * fraction)
    if not 0.0 < fraction < 1.0 or not 0 < count < len(whole):
        raise ValueError(
            f"a validation_fraction of {fraction:g} of {len(whole)} examples leaves "
            "train or validation empty. Give a fraction between 0 and 1, such as 0.1."
        )
    order = np.random.default_rng(seed).permutation(len(whole))
    return (
        _subset(whole, np.sort(order[count:])),
        _subset(whole, np.sort(order[:count])),
    )


def _subset(whole: source.ArraySource, indices: np.ndarray) -> source.ArraySource:
    part = whole.take(indices)
    return source.ArraySource(part["inputs"], part["labels"], part.get("masks", {}))


def _checked_fractions(fractions: Sequence[float]) -> np.ndarray:
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (3,):
        raise ValueError(
            f"fractions {fractions!r}: expected three numbers, for train, validation "
            "and test, such as (0.8, 0.1, 0.1)."
        )
    if (shares < 0).any() or shares[0] <= 0 or abs(shares.sum() - 1.0) > 1e-6:
        raise ValueError(
            f"fractions {tuple(map(float, shares))} sum to {shares.sum():g}: expected "
            "non-negative numbers with a positive first one and the sum 1."
        )
    return shares


def _groups(whole: source.ArraySource, stratify: str) -> list[np.ndarray]:
    """The indices of the examples of each class."""
    if stratify not in whole.labels:
        raise errors.unknown_name("label to stratify by", stratify, whole.labels)
    values = whole.labels[stratify]
    if values.ndim != 1 or values.dtype.kind not in "biu":
        raise ValueError(
            f"cannot stratify by label {stratify!r} of dtype {values.dtype} and shape "
            f"{values.shape}: expected one integer or boolean class an example."
        )
    return [np.flatnonzero(values == value) for value in np.unique(values)]

"""Data in memory: arrays with an example axis in front."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

SPLITS = ("train", "validation", "test")

TOKENS = "tokens"
"""The input that holds the words of a text, int32 `[N, L]`, 0 behind them."""

Inputs: TypeAlias = np.ndarray | dict[str, np.ndarray]
"""Of all examples: one array, or several by name."""


class Source(Protocol):
    """What batches are made of: `ArraySource`, `RecordSource`, or your own."""

    def __len__(self) -> int: ...

    def take(self, indices: np.ndarray) -> dict[str, Any]:
        """The batch of the examples at `indices`, int64 `[B]`."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """One split as arrays; checked when it is made.

    Args:
        inputs: `[N, ...]`, any numeric dtype; kept as it is (uint8 stays uint8). Or
            several such arrays by name, `{"numeric": [N, D], "categories": [N, C]}`.
        labels: for each label name, `[N, ...]`.
        masks: for some of the labels, bool `[N]`: False where the label is missing.
        groups: lengths of blocks of examples, one behind the other, which every batch
            has a part of (the own examples of each task); `()`: one block. See
            `data.per_task`.
        policy: how an epoch goes through blocks of different lengths; see
            `data.GroupedBatches` and, for batches of one block each,
            `data.AlternatingBatches`.
        temperature: of the policy "sampled".
        draws: `[N]`, non-negative: how often each example comes in training, see
            `data.DrawnBatches`; default: once an epoch.

    Raises:
        ValueError: no examples, unequal lengths, non-finite values, a mask of
            another dtype or shape, a mask without its label, groups that are not all
            examples, or draws that are no weights, or with groups.

    Example:
        >>> source = ArraySource(np.eye(3), {"digit": np.arange(3)})
        >>> len(source)
        3
        >>> source.take([2, 0])["labels"]
        {'digit': array([2, 0])}
    """

    inputs: Inputs
    labels: dict[str, np.ndarray]
    masks: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    groups: tuple[int, ...] = ()
    policy: str = "max"
    temperature: float = 1.0
    draws: np.ndarray | None = None

    def __post_init__(self) -> None:
        labels = {name: as_array(value) for name, value in self.labels.items()}
        masks = {name: as_array(value) for name, value in (self.masks or {}).items()}
        object.__setattr__(self, "inputs", each(as_array, self.inputs))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "masks", masks)
        _check(self.inputs, labels, masks)
        if self.groups and sum(self.groups) != len(self):
            raise ValueError(
                f"groups {self.groups} are {sum(self.groups)} examples; there are "
                f"{len(self)}. Give the length of every block."
            )
        if self.draws is not None:
            check_draws(self.draws, len(self))
            if self.groups:
                raise ValueError(
                    "draws were given with groups: where every task has examples of "
                    "its own, their policy says how often each comes. Take one away."
                )

    def __len__(self) -> int:
        return _length(self.inputs)

    def take(self, indices: Any) -> dict[str, Any]:
        """The batch of the examples at `indices`, an integer array `[B]`.

        Returns:
            `{"inputs": [B, ...], "labels": {name: [B, ...]}}`, and `"masks":
            {name: bool [B]}` if the source has any. Inputs by name stay so.
        """
        rows = np.asarray(indices)
        batch: dict[str, Any] = {
            "inputs": each(lambda a: np.asarray(a[rows]), self.inputs),
            "labels": {n: np.asarray(v[rows]) for n, v in self.labels.items()},
        }
        if self.masks:
            batch["masks"] = {n: np.asarray(v[rows]) for n, v in self.masks.items()}
        return batch

    def select(self, indices: Any) -> "ArraySource":
        """A split of some of the examples, in the order of the data.

        Args:
            indices: integers `[M]`, each once.

        Example:
            >>> source = ArraySource(np.eye(4), {"a": np.arange(4)}, groups=(2, 2))
            >>> source.select([3, 0, 2]).groups
            (1, 2)
        """
        rows = np.sort(np.asarray(indices))
        part = self.take(rows)
        groups = np.diff(np.searchsorted(rows, np.cumsum((0, *self.groups))))
        return dataclasses.replace(
            self,
            inputs=part["inputs"],
            labels=part["labels"],
            masks=part.get("masks", {}),
            groups=tuple(int(n) for n in groups),
            draws=None if self.draws is None else self.draws[rows],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a set, each an `ArraySource` or None.

    Attributes:
        facts: what a model or a task must know of the data: the size of a vocabulary,
            the cardinalities of columns, the names of classes.

    Example:
        >>> train = ArraySource(np.eye(3), {"digit": np.arange(3)})
        >>> Dataset("tiny", train).split("test")
        Traceback (most recent call last):
        ValueError: dataset 'tiny' has no split 'test'. Present: train.
    """

    name: str
    train: ArraySource
    validation: ArraySource | None = None
    test: ArraySource | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            other = getattr(self, name)
            if other is None:
                continue
            if set(other.labels) != set(self.train.labels):
                raise ValueError(
                    f"dataset {self.name!r}: train has the labels "
                    f"{_names(self.train.labels)}, {name} has {_names(other.labels)}. "
                    "Give every split the same labels; mark missing ones with masks."
                )
            if shapes(other.inputs) != shapes(self.train.inputs):
                raise ValueError(
                    f"dataset {self.name!r}: an input of train has shape "
                    f"{shapes(self.train.inputs)}, one of {name} "
                    f"{shapes(other.inputs)}. Make them equal."
                )

    def split(self, name: str) -> ArraySource:
        """The split called `name`, or a `ValueError` that lists those present."""
        found = getattr(self, name) if name in SPLITS else None
        if found is None:
            present = [split for split in SPLITS if getattr(self, split) is not None]
            raise ValueError(
                f"dataset {self.name!r} has no split {name!r}. "
                f"Present: {', '.join(present)}."
            )
        return found


def each(function: Callable[[Any], Any], inputs: Any) -> Any:
    """`function` of an array, or of each of several by name.

    Example:
        >>> each(len, {"numeric": np.ones(3)})
        {'numeric': 3}
    """
    if isinstance(inputs, Mapping):
        return {name: function(value) for name, value in inputs.items()}
    return function(inputs)


def shapes(inputs: Inputs) -> Any:
    """The shape of one example: a tuple, or several by name.

    The length of "tokens" is `None`: the texts of one split may be longer than those of
    another.

    Example:
        >>> shapes({"tokens": np.ones((3, 40), np.int32)})
        {'tokens': (None,)}
    """
    if not isinstance(inputs, dict):
        return tuple(inputs.shape[1:])
    found: dict[str, tuple[int | None, ...]] = {}
    for name, array in sorted(inputs.items()):
        found[name] = tuple(array.shape[1:])
        if name == TOKENS:
            found[name] = (None, *array.shape[2:])
    return found


def check_draws(draws: Any, count: int) -> None:
    """Raise `ValueError` where these are no weights of so many examples."""
    found = np.asarray(draws)
    plain = found.shape == (count,) and found.dtype.kind in "biuf"
    sound = plain and np.all(np.isfinite(found)) and np.all(found >= 0)
    if not sound or not found.sum() > 0:
        raise ValueError(
            f"draws of shape {found.shape} ({found.dtype}) are no weights of {count} "
            f"examples: give [{count}] finite, non-negative numbers, not all zero"
        )


def as_array(value: Any) -> np.ndarray:
    """`value` as an array, memory-mapped ones left where they are."""
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def _names(table: Mapping[str, Any]) -> str:
    return ", ".join(sorted(table)) or "(none)"


def _length(inputs: Inputs) -> int:
    return len(next(iter(inputs.values()))) if isinstance(inputs, dict) else len(inputs)


def _check(
    inputs: Inputs, labels: dict[str, np.ndarray], masks: dict[str, np.ndarray]
) -> None:
    if isinstance(inputs, dict) and not inputs:
        raise ValueError(
            "inputs are an empty mapping: name at least one array, as in "
            "inputs={'tokens': array}."
        )
    named = {"inputs": inputs}
    if isinstance(inputs, dict):
        named = {f"input {name!r}": value for name, value in inputs.items()}
    arrays: dict[str, np.ndarray] = dict(named)  # type: ignore[arg-type]
    arrays |= {f"label {name!r}": value for name, value in labels.items()}
    arrays |= {f"mask {name!r}": value for name, value in masks.items()}
    for name, value in arrays.items():
        if value.ndim == 0 or value.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} has dtype {value.dtype} and shape {value.shape}, expected "
                "numbers or booleans with the examples on axis 0. Encode strings as "
                "integers and stack the examples into one array."
            )
        _check_range(name, value)
    length = _length(inputs)
    if length == 0:
        raise ValueError(
            f"inputs are empty: shape {next(iter(arrays.values())).shape}. Give at "
            "least one example."
        )
    if not labels:
        raise ValueError(
            "labels are empty: name at least one, as in labels={'digit': array}."
        )
    for name in masks:
        if name not in labels:
            raise ValueError(
                f"mask {name!r} belongs to no label. Labels: {_names(labels)}."
            )
    first = next(iter(named))
    differing = {name: len(v) for name, v in arrays.items() if len(v) != length}
    if differing:
        listed = ", ".join(f"{name} {other}" for name, other in differing.items())
        raise ValueError(
            f"lengths differ: {first} {length}, but {listed}. Every array holds "
            "one row an example."
        )
    for name, value in masks.items():
        if value.dtype != np.bool_ or value.ndim != 1:
            raise ValueError(
                f"mask {name!r} has dtype {value.dtype} and shape {value.shape}, "
                f"expected bool ({length},): True where the label is present."
            )
    for name in named:
        _check_finite(name, arrays[name], None, "Clean or drop these examples.")
    for name, value in labels.items():
        fix = f"Mark missing labels with masks={{{name!r}: bool array}}."
        _check_finite(f"label {name!r}", value, masks.get(name), fix)


def _check_range(name: str, array: np.ndarray) -> None:
    """On the device integers have 32 bits and floats too; others would wrap."""
    limits: Any = np.iinfo(np.int32) if array.dtype.kind in "iu" else None
    if array.dtype == np.float64:
        limits = np.finfo(np.float32)
    if limits is None or array.dtype.itemsize < 4 or array.size == 0:
        return
    low, high = array.min(), array.max()
    finite = [float(v) for v in (low, high) if np.isfinite(v)]
    if any(not float(limits.min) <= v <= float(limits.max) for v in finite):
        raise ValueError(
            f"{name} has values from {low} to {high} ({array.dtype}), beyond what "
            f"{limits.dtype} holds, in which they are computed. Scale them, or convert "
            "large integers to float32."
        )


def _check_finite(
    name: str, array: np.ndarray, present: np.ndarray | None, fix: str
) -> None:
    if array.dtype.kind != "f" or array.size == 0:
        return
    # Minimum and maximum carry a NaN or an infinity and need no second array.
    if np.isfinite(array.min()) and np.isfinite(array.max()):
        return
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if present is not None:
        bad &= present
    if bad.any():
        raise ValueError(
            f"{name}: {int(bad.sum())} of {len(array)} examples hold non-finite values "
            f"(NaN or infinity), the first at index {int(bad.argmax())}. {fix}"
        )

"""One dataset of several, where every task has examples of its own."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.data import orders
from mtl_jax.data import source as source_lib


def per_task(
    datasets: Mapping[str, source_lib.Dataset],
    *,
    policy: str = "max",
    temperature: float = 1.0,
    name: str = "per_task",
) -> source_lib.Dataset:
    """Join the sets of several tasks into one, with all other labels masked.

    The examples of all tasks go through the trunk in one batch, and a head's outputs
    count where its task has labels: one compiled step for any number of tasks, and any
    weighting method. Shapes are made equal: sequences of another length (axis 1 of
    integer inputs and labels) are padded at the end, inputs with 0 and labels with -1.
    Labels that are as long as the "tokens" of their set stay so: they belong to words.

    Args:
        datasets: for each task (or domain), its set. Sets may have labels of the same
            name: these are then one task with examples in several sets.
        policy: how an epoch goes through sets of different lengths: "max", "min" or
            "proportional", with examples of every set in each batch (see
            `data.GroupedBatches`); "round_robin" or "sampled", with batches of one set
            each (see `data.AlternatingBatches`).
        temperature: of "sampled".
        name: of the new set.

    Returns:
        A `Dataset` whose splits have `groups`; its `facts` are those of all sets.

    Raises:
        ValueError: no set, an unknown policy, inputs that differ in kind or shape, a
            split that some of the sets have and others lack, draws, or facts that
            differ.

    Example:
        >>> from mtl_jax.data import from_splits
        >>> digits = from_splits((np.eye(4), {"digit": np.arange(4)}))
        >>> letters = from_splits((np.ones((2, 4)), {"letter": np.arange(2)}))
        >>> both = per_task({"digits": digits, "letters": letters})
        >>> both.train.groups, both.train.masks["letter"].tolist()
        ((4, 2), [False, False, False, False, True, True])
    """
    if not datasets:
        raise ValueError("per_task was given no sets; give one a task, by name.")
    orders.check_policy(policy, temperature)
    splits: dict[str, source_lib.ArraySource | None] = {}
    for split in source_lib.SPLITS:
        having = {n: getattr(d, split) for n, d in datasets.items()}
        lacking = [n for n, source in having.items() if source is None]
        if len(lacking) == len(having):
            splits[split] = None
            continue
        if lacking:
            raise ValueError(
                f"the sets {', '.join(lacking)} have no split {split!r}, which others "
                "have. Split them alike."
            )
        splits[split] = dataclasses.replace(
            _joined(list(having.items()), split), policy=policy, temperature=temperature
        )
    _pad_splits(splits)
    train = splits["train"]
    assert train is not None  # every Dataset has one
    facts = _facts(datasets)
    return source_lib.Dataset(name, train, splits["validation"], splits["test"], facts)


def _facts(datasets: Mapping[str, source_lib.Dataset]) -> dict[str, Any]:
    """What all sets say of tasks and model; what else each says, under its name."""
    joined: dict[str, Any] = {}
    for name, dataset in datasets.items():
        for part in ("tasks", "model"):
            for key, value in dataset.facts.get(part, {}).items():
                known = joined.setdefault(part, {}).setdefault(key, value)
                if not _same(known, value):
                    raise ValueError(
                        f"the sets say different things of {key!r}: {known!r} and, of "
                        f"{name!r}, {value!r}. Make them with one vocabulary, or one "
                        "numbering of the classes."
                    )
        others = {k: v for k, v in dataset.facts.items() if k not in ("tasks", "model")}
        if others:
            joined[name] = others
    return joined


def _same(one: Any, other: Any) -> bool:
    if hasattr(one, "shape") or hasattr(other, "shape"):
        return np.array_equal(one, other)
    return one == other


def _joined(
    sources: Sequence[tuple[str, source_lib.ArraySource]], split: str
) -> source_lib.ArraySource:
    first_name, first = sources[0]
    for name, source in sources:
        if source.draws is not None:
            raise ValueError(
                f"split {split!r} of {name!r} has draws, which say how often its "
                "examples come; of joined sets that is what the policy says. Take the "
                "draws away, or select examples as often as they should come"
            )
    for name, other in sources[1:]:
        if _kinds(other.inputs) != _kinds(first.inputs):
            raise ValueError(
                f"split {split!r}: the inputs of {first_name!r} are "
                f"{_kinds(first.inputs)}, those of {name!r} {_kinds(other.inputs)} "
                "(name: dtype and number of axes). One trunk reads them all: make them "
                "alike."
            )
    parts = [source.inputs for _, source in sources]
    inputs: Any
    if isinstance(first.inputs, dict):
        inputs = {
            n: _stack([part[n] for part in parts], 0, f"input {n!r}")
            for n in first.inputs
        }
        sources = [(name, _lengthened(source, inputs)) for name, source in sources]
    else:
        inputs = _stack(parts, 0, "inputs")  # type: ignore[arg-type]
    labels, masks = {}, {}
    for label in dict.fromkeys(n for _, source in sources for n in source.labels):
        like = next(s.labels[label] for _, s in sources if label in s.labels)
        rows, known = [], []
        for _, source in sources:
            if label in source.labels:
                rows.append(source.labels[label])
                present = np.ones(len(source), bool)
                known.append(source.masks.get(label, present))
            else:
                rows.append(np.zeros((len(source), *like.shape[1:]), like.dtype))
                known.append(np.zeros(len(source), bool))
        labels[label] = _stack(rows, -1, f"label {label!r}")
        masks[label] = np.concatenate(known)
    groups = tuple(len(source) for _, source in sources)
    return source_lib.ArraySource(inputs, labels, masks, groups)


def _lengthened(
    source: source_lib.ArraySource, joined: dict[str, np.ndarray]
) -> source_lib.ArraySource:
    """The source with its labels of words as long as the joined tokens."""
    if source_lib.TOKENS not in joined or not isinstance(source.inputs, dict):
        return source
    before, now = (of[source_lib.TOKENS].shape[1] for of in (source.inputs, joined))
    labels = {
        name: _padded(a, now, -1) if a.shape[1:] == (before,) else a
        for name, a in source.labels.items()
    }
    return dataclasses.replace(source, labels=labels)


def _kinds(inputs: Any) -> Any:
    return source_lib.each(lambda a: (a.dtype.kind, a.ndim), inputs)


def _stack(arrays: Sequence[np.ndarray], fill: int, what: str) -> np.ndarray:
    """Behind one another; integers `[N, L, …]` padded along L."""
    longest = max((a.shape[1] for a in arrays if a.ndim > 1), default=0)
    padded = [_padded(a, longest, fill) for a in arrays]
    if len({a.shape[1:] for a in padded}) > 1:
        found = ", ".join(str(a.shape[1:]) for a in arrays)
        raise ValueError(
            f"{what} differ in shape between the sets: {found}. Make them alike."
        )
    return np.concatenate(padded)


def _padded(array: np.ndarray, length: int, fill: int) -> np.ndarray:
    if array.ndim != 2 or array.dtype.kind != "i" or array.shape[1] == length:
        return array
    more = np.full((len(array), length - array.shape[1]), fill, array.dtype)
    return np.concatenate([array, more], axis=1)


def _pad_splits(splits: dict[str, source_lib.ArraySource | None]) -> None:
    """Make sequences equally long in all splits, those of tokens apart."""
    present = {name: source for name, source in splits.items() if source is not None}
    inputs: Any = next(iter(present.values())).inputs
    if isinstance(inputs, dict) and source_lib.TOKENS in inputs:
        return

    def longest(arrays: Sequence[np.ndarray]) -> int:
        return max((a.shape[1] for a in arrays if a.ndim == 2), default=0)

    def fitted(arrays: Sequence[np.ndarray], one: np.ndarray, fill: int) -> np.ndarray:
        return _padded(one, longest(arrays), fill)

    for name, source in present.items():
        others = list(present.values())
        inputs = source.inputs
        if isinstance(inputs, dict):
            inputs = {
                n: fitted([s.inputs[n] for s in others], a, 0)
                for n, a in inputs.items()
            }
        else:
            inputs = fitted([s.inputs for s in others], inputs, 0)  # type: ignore[misc]
        labels = {
            n: fitted([s.labels[n] for s in others if n in s.labels], a, -1)
            for n, a in source.labels.items()
        }
        splits[name] = dataclasses.replace(source, inputs=inputs, labels=labels)

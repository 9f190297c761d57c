"""Labels of a training split that are hidden but for a few."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mtl_jax.data.source import ArraySource
from mtl_jax.errors import unknown_name


def few_labels(
    source: ArraySource,
    counts: Mapping[str, int],
    seed: int,
    *,
    half: bool = False,
    ignore: Mapping[str, float] | None = None,
) -> ArraySource:
    """A split of which only so many examples have a label: semi-supervised learning.

    The examples are drawn at random, in one order for all labels, so that labels with
    the same count are those of the same examples (as far as they were there before).
    All other labels are masked; inputs, and labels that are not named, stay.

    Args:
        source: the training split.
        counts: for some of the labels, how many examples keep theirs.
        seed: of the drawing.
        half: order the examples so that every batch has one half of examples with any
            of these labels, which come again and again, and one half of others.
        ignore: for some of the labels, the value that stands for none. An example all
            of whose values are this one has no label.

    Returns:
        The split; with `half` in another order and with `groups`.

    Raises:
        ValueError: a label that there is not, a count that is not positive or more than
            there are labels, or `half` of a split that has groups or no other examples.

    Example:
        >>> whole = ArraySource(np.eye(5), {"a": np.arange(5), "b": np.arange(5)})
        >>> few = few_labels(whole, {"a": 2}, 0)
        >>> int(few.masks["a"].sum()), len(few), sorted(few.masks)
        (2, 5, ['a'])
        >>> few_labels(whole, {"a": 2}, 0, half=True).groups
        (2, 3)
    """
    masks = dict(source.masks)
    order = np.random.default_rng(seed).permutation(len(source))
    kept = np.zeros(len(source), bool)
    for name, count in counts.items():
        if name not in source.labels:
            raise unknown_name("label of data.labelled", name, source.labels)
        there = masks.get(name, np.ones(len(source), bool))
        if ignore and name in ignore:
            values = source.labels[name].reshape(len(source), -1)
            there = there & np.any(values != ignore[name], axis=1)
        known = order[there[order]]
        if not 0 < count <= len(known):
            raise ValueError(
                f"data.labelled asks for {count} examples with the label {name!r}; the "
                f"training split has {len(known)}. Give 1 to {len(known)}"
            )
        masks[name] = np.zeros(len(source), bool)
        masks[name][known[:count]] = True
        kept |= masks[name]
    source = dataclasses.replace(source, masks=masks)
    if not half:
        return source
    groups = (int(kept.sum()), int((~kept).sum()))
    if source.groups or not all(groups):
        raise ValueError(
            "data.labelled_half halves batches between examples with and without the "
            f"labels of data.labelled; the training split has {groups[0]} and "
            f"{groups[1]} of them"
            + (", and groups already" if source.groups else "")
            + ". Take labelled_half away"
        )
    part = source.take(np.argsort(~kept, kind="stable"))
    return ArraySource(part["inputs"], part["labels"], part["masks"], groups, "max")

"""Precision, recall and F1 of chunks, such as named entities, as conlleval counts them.

Outputs are logits `[B, L, C]` of the tags that `labels` names, labels are `[B, L]`; a
word with a negative label is skipped, wherever it is, and its neighbours are adjacent.

A chunk starts at B or S, and at any tag inside a chunk that cannot go on from the word
before: one that has another type, is O, E or S, or is not there. It goes on up to the
next start, O, E or S. So each sequence of tags has chunks, also an ill-formed one: an I
after O starts one. A predicted chunk is right if there is one in the labels with the
same first word, last word and type.

References:
    Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 Shared Task: Chunking",
    2000, and its script conlleval. S, which that does not know, is here as in its later
    versions, where E and S end a chunk whatever follows. Rates are in [0, 1], not in
    percent.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.metrics import base, tags
from mtl_jax.typing import Array

Counts = dict[str, Any]


def span_f1(labels: Sequence[str]) -> base.Metric:
    """F1 of chunks, `2 P R / (P + R)`, of the counts over all types.

    Args:
        labels: the tag of each class, e.g. `("O", "B-PER", "I-PER")`.

    Returns:
        The `Metric`; higher is better. 0 if no chunk is right, NaN if no word was seen.

    Raises:
        ValueError: For a label that is no tag; and in `update`, for another number of
            outputs.

    Example:
        >>> metric, logits = span_f1(("O", "B-PER", "I-PER")), 5 * jnp.eye(3)
        >>> truth, guess = jnp.array([[1, 2, 0, 1]]), jnp.array([[1, 2, 0, 0]])
        >>> state = metric.update(logits[guess], truth, jnp.ones(1))
        >>> round(metric.compute(state), 4)
        0.6667
    """
    return _spans("span_f1", tuple(labels), lambda scores: scores["f1"])


def span_precision(labels: Sequence[str]) -> base.Metric:
    """The share of the predicted chunks that are right.

    Args:
        labels: the tag of each class, e.g. `("O", "B-PER", "I-PER")`.

    Returns:
        The `Metric`; higher is better. 0 if none was predicted, NaN if no word was
        seen.

    Raises:
        ValueError: As `span_f1`.

    Example:
        >>> metric, logits = span_precision(("O", "B-PER", "I-PER")), 5 * jnp.eye(3)
        >>> truth, guess = jnp.array([[1, 2, 0, 1]]), jnp.array([[1, 2, 0, 0]])
        >>> metric.compute(metric.update(logits[guess], truth, jnp.ones(1)))
        1.0
    """
    return _spans("span_precision", tuple(labels), lambda scores: scores["precision"])


def span_recall(labels: Sequence[str]) -> base.Metric:
    """The share of the chunks that are found.

    Args:
        labels: the tag of each class, e.g. `("O", "B-PER", "I-PER")`.

    Returns:
        The `Metric`; higher is better. 0 if there is no chunk, NaN if no word was seen.

    Raises:
        ValueError: As `span_f1`.

    Example:
        >>> metric, logits = span_recall(("O", "B-PER", "I-PER")), 5 * jnp.eye(3)
        >>> truth, guess = jnp.array([[1, 2, 0, 1]]), jnp.array([[1, 2, 0, 0]])
        >>> metric.compute(metric.update(logits[guess], truth, jnp.ones(1)))
        0.5
    """
    return _spans("span_recall", tuple(labels), lambda scores: scores["recall"])


def span_per_type(labels: Sequence[str]) -> base.Metric:
    """Precision, recall and F1 of the chunks of each type.

    Args:
        labels: the tag of each class, e.g. `("O", "B-PER", "I-PER")`.

    Returns:
        The `Metric`; `compute` gives `{"PER_precision": …, "PER_recall": …,
        "PER_f1": …, …}`, 0 for a type that never occurs. Chunks of tags without a type
        are not among them. Higher is better.

    Raises:
        ValueError: As `span_f1`.

    Example:
        >>> metric, logits = span_per_type(("O", "B-PER", "B-LOC")), 5 * jnp.eye(3)
        >>> truth, guess = jnp.array([[1, 2, 0, 1]]), jnp.array([[1, 2, 0, 0]])
        >>> found = metric.compute(metric.update(logits[guess], truth, jnp.ones(1)))
        >>> found["PER_recall"], found["LOC_recall"]
        (0.5, 1.0)
    """
    kinds = tags.parse(labels).kinds

    def compute(state: Counts) -> dict[str, float]:
        rates = _rates(state["correct"], state["guessed"], state["actual"])
        seen = state["words"] > 0
        return {
            f"{kind}_{rate}": float(values[i]) if seen else float("nan")
            for i, kind in enumerate(kinds)
            for rate, values in rates.items()
            if kind
        }

    update = _update(tuple(labels))
    return base.Metric("span_per_type", True, update, base.add, compute)


def _spans(
    name: str, labels: tuple[str, ...], pick: Callable[[Counts], np.ndarray]
) -> base.Metric:
    def compute(state: Counts) -> float:
        if not state["words"]:
            return float("nan")
        each = (state["correct"], state["guessed"], state["actual"])
        return float(pick(_rates(*(base.widen(count).sum() for count in each))))

    return base.Metric(name, True, _update(labels), base.add, compute)


def _rates(correct: np.ndarray, guessed: np.ndarray, actual: np.ndarray) -> Counts:
    return {
        "precision": correct / np.maximum(guessed, 1),
        "recall": correct / np.maximum(actual, 1),
        "f1": 2 * correct / np.maximum(guessed + actual, 1),
    }


# The same function for equal labels: metrics of several tasks are measured together.
@functools.cache
def _update(names: tuple[str, ...]) -> Callable[[Array, Array, Array], Counts]:
    known = tags.parse(names)

    def update(outputs: Array, labels: Array, mask: Array) -> Counts:
        outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
        if outputs.shape != (*labels.shape, len(names)) or labels.ndim != 2:
            raise ValueError(
                f"spans of {len(names)} tags need outputs [B, L, {len(names)}] and "
                f"labels [B, L], but they have {outputs.shape} and {labels.shape}."
            )
        present = jnp.asarray(mask, bool)[:, None] & (labels >= 0)
        order = jnp.argsort(~present, axis=1, stable=True)  # words first, in order
        is_word, truth, guess = (
            jnp.take_along_axis(array, order, axis=1)
            for array in (present, labels, outputs.argmax(-1))
        )
        actual, guessed = _chunks(truth, is_word, known), _chunks(guess, is_word, known)
        same = (actual.last == guessed.last) & (actual.kind == guessed.kind)

        def of_kind(chunks: _Chunks, counted: Array) -> Array:
            none = jnp.zeros(len(known.kinds), jnp.int32)
            return none.at[chunks.kind].add(counted.astype(jnp.int32))

        return {
            "correct": of_kind(actual, actual.starts & guessed.starts & same),
            "guessed": of_kind(guessed, guessed.starts),
            "actual": of_kind(actual, actual.starts),
            "words": present.sum(dtype=jnp.int32),
        }

    return update


class _Chunks(NamedTuple):
    starts: Array  # [B, L] bool, a chunk starts at this word
    last: Array  # [B, L] int32, the last word of a chunk that starts here
    kind: Array  # [B, L] int32, its type


def _chunks(found: Array, is_word: Array, known: tags.Tags) -> _Chunks:
    """The chunks of tags `[B, L]`, all words of which come before the rest."""
    found = jnp.where(is_word, found, 0)
    kind = jnp.asarray(known.kind)[found]
    inside = is_word & ~jnp.asarray(known.outside)[found]
    open_ = inside & ~jnp.asarray(known.ends)[found]
    goes_on = (
        inside[:, 1:]
        & open_[:, :-1]
        & (kind[:, 1:] == kind[:, :-1])
        & ~jnp.asarray(known.begins)[found][:, 1:]
    )
    edge = jnp.zeros((len(found), 1), bool)
    starts = inside & ~jnp.concatenate([edge, goes_on], axis=1)
    length = found.shape[1]
    stays = jnp.concatenate([goes_on, edge], axis=1)
    last = jnp.where(stays, length, jnp.arange(length))
    return _Chunks(starts, jax.lax.cummin(last, axis=1, reverse=True), kind)

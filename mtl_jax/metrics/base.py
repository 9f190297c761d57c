"""A metric is a state of one batch that merges into the state of a data set."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.typing import Array, PyTree


class Metric(NamedTuple):
    """One metric: `update` on the device, `merge` and `compute` on the host."""

    name: str
    higher_is_better: bool
    update: Callable[[Array, Array, Array], PyTree]
    """`(outputs [B, ...], labels [B, ...], mask [B]) -> state` of this batch alone:
    a pytree of arrays. Pure, jittable; under `pmap` one state a device."""
    merge: Callable[[PyTree, PyTree], PyTree]
    """`(state, state) -> state` on NumPy arrays, in float64 and int64. Associative,
    so batches and devices may be split anywhere."""
    compute: Callable[[PyTree], float | dict[str, float]]
    """`state -> float`, or `{suffix: float}` for several values; NaN if nothing was
    seen."""


def evaluate(metric: Metric, states: Iterable[PyTree]) -> dict[str, float]:
    """Merges the states of all batches and names the result.

    Neighbours are merged pairwise, then their sums, and so on: the order is kept, a
    state that concatenates is copied `log2(batches)` times only.

    Args:
        metric: The metric that made the states.
        states: One state per batch (and device).

    Returns:
        `{metric.name: value}`, or `{f"{metric.name}_{suffix}": value}` when `compute`
        gives several. Without states, `{metric.name: nan}`.

    Example:
        >>> from mtl_jax import metrics
        >>> accuracy, mask = metrics.accuracy(), jnp.array([True, True])
        >>> logits = jnp.array([-1.0, 2.0])
        >>> states = [
        ...     accuracy.update(logits, jnp.array([0, 1]), mask),
        ...     accuracy.update(logits, jnp.array([1, 1]), mask),
        ... ]
        >>> evaluate(accuracy, states)
        {'accuracy': 0.75}
    """
    pile = [jax.tree.map(np.asarray, state) for state in states]
    if not pile:
        return {metric.name: float("nan")}
    while len(pile) > 1:
        merged = [
            metric.merge(*pair) for pair in zip(pile[::2], pile[1::2], strict=False)
        ]
        pile = merged + pile[2 * len(merged) :]
    value = metric.compute(pile[0])
    if isinstance(value, dict):
        return {f"{metric.name}_{suffix}": float(v) for suffix, v in value.items()}
    return {metric.name: float(value)}


def add(left: dict[str, Any], right: dict[str, Any]) -> dict[str, np.ndarray]:
    """The merge of states that are sums: counts in int64, totals in float64.

    Args:
        left: Arrays by name.
        right: Arrays of the same names and shapes.

    Returns:
        Their sums.

    Example:
        >>> total = add({"n": np.int32(2)}, {"n": np.int32(3)})["n"]
        >>> int(total), total.dtype.name
        (5, 'int64')
    """
    return {name: widen(left[name]) + widen(right[name]) for name in left}


def widen(array: Any) -> np.ndarray:
    """A NumPy copy in float64, or int64 for integers and bools.

    Args:
        array: Any shape and numeric dtype.

    Returns:
        The same values, wide enough to accumulate.

    Example:
        >>> widen(np.float32(0.5)).dtype.name
        'float64'
    """
    array = np.asarray(array)
    kind = np.float64 if np.issubdtype(array.dtype, np.floating) else np.int64
    return array.astype(kind)


def flatten(values: Array, mask: Array, columns: bool) -> tuple[Array, Array]:
    """Brings labels to rows: `[B, K]` stays, everything else is pooled to one column.

    Args:
        values: `[B, ...]`.
        mask: `[B]` bool.
        columns: Whether `values` is `[B, K]` with one target a column.

    Returns:
        `(values [n, K], mask [n])`, with `K = 1` and `n = B · positions` if pooled.

    Example:
        >>> rows, keep = flatten(jnp.zeros((2, 3)), jnp.array([True, False]), False)
        >>> rows.shape, keep.tolist()
        ((6, 1), [True, True, True, False, False, False])
    """
    mask = jnp.asarray(mask, bool)
    if columns:
        return values, mask
    positions = values.size // max(values.shape[0], 1)
    return values.reshape(-1, 1), jnp.repeat(mask, positions)

"""Areas under the ROC and the precision-recall curve, exact with ties.

The state keeps every score, since no finite summary gives the exact area. Shapes are
those of `mtl_jax.metrics.classification`; a label below 0 is none.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.metrics import base, classification
from mtl_jax.typing import Array


def auc() -> base.Metric:
    """ROC-AUC: the chance that a positive outranks a negative, ties counting half.

        auc = (1 / (P N)) sum_{i in pos, j in neg} [s_i > s_j] + [s_i = s_j] / 2

    Multi-label and multiclass (one class against the rest, by its probability) average
    over the columns that have both positives and negatives.

    Returns:
        The `Metric`; higher is better. NaN if no column has both, or if a score is
        NaN.

    Example:
        >>> metric = auc()
        >>> logits, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
        >>> metric.compute(metric.update(logits, labels, jnp.ones(4)))
        0.75

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating
        characteristic (ROC) curve", Radiology 1982.
    """

    def area(wins: np.ndarray, losses: np.ndarray) -> float | None:
        if not (wins.any() and losses.any()):
            return None
        below = np.cumsum(losses) - losses
        doubled = int((wins * (2 * below + losses)).sum())  # integers until the end
        return doubled / (2 * int(wins.sum()) * int(losses.sum()))

    return _ranking("auc", area)


def average_precision() -> base.Metric:
    """Average precision: the mean precision at the positives, without interpolation.

        ap = sum_n (R_n - R_{n-1}) P_n

    over the distinct scores from the highest, with recall `R_n` and precision `P_n` of
    all examples of at least that score: scikit-learn's definition. Multi-label and
    multiclass (one class against the rest, by its probability) average over the columns
    that have positives; scikit-learn counts a column without as 0.

    Returns:
        The `Metric`; higher is better. NaN if no column has positives, or if a score is
        NaN.

    Example:
        >>> metric = average_precision()
        >>> logits, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
        >>> round(metric.compute(metric.update(logits, labels, jnp.ones(4))), 4)
        0.8333
    """

    def area(wins: np.ndarray, losses: np.ndarray) -> float | None:
        if not wins.any():
            return None
        right = np.cumsum(wins[::-1])
        precision = right / (right + np.cumsum(losses[::-1]))
        return float((wins[::-1] * precision).sum() / right[-1])

    return _ranking("average_precision", area)


def _ranking(
    name: str, area: Callable[[np.ndarray, np.ndarray], float | None]
) -> base.Metric:
    """A metric of scores.

    Args:
        name: of the metric.
        area: `(positives [n], negatives [n])`, how many have each of n rising scores;
            None for a column that does not count.
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        found = classification.rows(outputs, labels, mask)
        dtype = jnp.promote_types(found.outputs.dtype, jnp.float32)
        scores, positive = found.outputs.astype(dtype), found.labels
        if found.kind == "multiclass":
            classes = scores.shape[1]
            if classes == 2:  # both columns rank alike: the margin, without rounding
                scores, positive = scores[:, 1:] - scores[:, :1], positive[:, None] == 1
            else:
                scores = jax.nn.log_softmax(scores)
                positive = positive[:, None] == jnp.arange(classes)
        return {"scores": scores, "positive": positive, "mask": found.mask}

    def merge(left: dict[str, Array], right: dict[str, Array]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([left[name], right[name]]) for name in left}

    def compute(state: dict[str, Array]) -> float:
        scores, positive = np.asarray(state["scores"]), np.asarray(state["positive"])
        keep = np.broadcast_to(np.asarray(state["mask"]), scores.shape)
        if np.isnan(scores[keep]).any():
            return float("nan")
        areas = []
        for column in range(scores.shape[1]):
            here = keep[:, column]
            found = area(*_tally(scores[here, column], positive[here, column]))
            areas += [] if found is None else [found]
        return float(np.mean(areas)) if areas else float("nan")

    return base.Metric(name, True, update, merge, compute)


def _tally(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many positives and negatives have each score, from the lowest: `[n]`."""
    _, place, here = np.unique(scores, return_inverse=True, return_counts=True)
    wins = np.bincount(place[positive], minlength=here.size)
    return wins, here - wins

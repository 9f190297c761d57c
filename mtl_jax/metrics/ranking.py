"""The area under the ROC curve, exact with ties."""

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.metrics import base, classification
from mtl_jax.typing import Array


def auc() -> base.Metric:
    """ROC-AUC: the chance that a positive outranks a negative, ties counting half.

        auc = (1 / (P N)) sum_{i in pos, j in neg} [s_i > s_j] + [s_i = s_j] / 2

    from the ranks of all examples: the state keeps every score, since no finite
    summary gives the exact area. Multi-label and multiclass (one class against the
    rest, by its probability) average over the columns that have both positives and
    negatives.

    Returns:
        The `Metric`; higher is better. NaN if no column has both classes, or if a
        score is NaN. Shapes as in `mtl_jax.metrics.classification`.

    Example:
        >>> metric = auc()
        >>> logits, labels = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
        >>> metric.compute(metric.update(logits, labels, jnp.ones(4)))
        0.75

    References:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating
        characteristic (ROC) curve", Radiology 1982.
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
        keep = np.asarray(state["mask"])
        scores = np.asarray(state["scores"])[keep]
        positive = np.asarray(state["positive"])[keep]
        if np.isnan(scores).any():
            return float("nan")
        areas = [
            _area(scores[:, column], positive[:, column])
            for column in range(scores.shape[1])
            if positive[:, column].any() and not positive[:, column].all()
        ]
        return float(np.mean(areas)) if areas else float("nan")

    return base.Metric("auc", True, update, merge, compute)


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Scores `[n]`, positive `[n]` bool with both values. Integers until the end."""
    _, place, here = np.unique(scores, return_inverse=True, return_counts=True)
    wins = np.bincount(place[positive], minlength=here.size)
    losses = here - wins
    below = np.cumsum(losses) - losses
    doubled = int((wins * (2 * below + losses)).sum())
    return doubled / (2 * int(wins.sum()) * int(losses.sum()))

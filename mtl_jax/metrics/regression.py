"""Mean absolute error, root mean squared error and R².

Outputs `[B]` or `[B, 1]` with labels `[B]`; or both `[B, K]`: `K` targets, each with
its own value, averaged as by scikit-learn. Other shapes (`[B, H, W]` or
`[B, H, W, 1]` with `[B, H, W]`) are positions of one target, pooled.
"""

import jax.numpy as jnp
import numpy as np

from mtl_jax.metrics import base
from mtl_jax.typing import Array


def mae() -> base.Metric:
    """Mean absolute error, `mean |output - label|`.

    Returns:
        The `Metric`; lower is better. NaN if nothing was seen.

    Example:
        >>> state = mae().update(
        ...     jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]), jnp.ones(2)
        ... )
        >>> mae().compute(state)
        1.5
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        outputs, labels, keep = columns(outputs, labels, mask)
        return {"total": jnp.abs(outputs - labels).sum(0), "count": keep.sum(0)}

    def compute(state: dict[str, Array]) -> float:
        return average(base.widen(state["total"]), base.widen(state["count"]))

    return base.Metric("mae", False, update, base.add, compute)


def rmse() -> base.Metric:
    """Root mean squared error, `sqrt(mean (output - label)²)`.

    Returns:
        The `Metric`; lower is better. NaN if nothing was seen.

    Example:
        >>> state = rmse().update(
        ...     jnp.array([1.0, 2.0]), jnp.array([4.0, 6.0]), jnp.ones(2)
        ... )
        >>> round(rmse().compute(state), 4)
        3.5355
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        outputs, labels, keep = columns(outputs, labels, mask)
        return {"total": ((outputs - labels) ** 2).sum(0), "count": keep.sum(0)}

    def compute(state: dict[str, Array]) -> float:
        count = base.widen(state["count"])
        mean = base.widen(state["total"]) / np.maximum(count, 1)
        return average(np.sqrt(mean) * count, count)

    return base.Metric("rmse", False, update, base.add, compute)


def r2() -> base.Metric:
    """Coefficient of determination, `1 - sum (label - output)² / sum (label - mean)²`.

    A batch gives count `n`, mean and `M2 = sum (label - mean)²`; two of them merge as

        d = mean_b - mean_a,  mean = mean_a + d n_b / n,
        M2 = M2_a + M2_b + d² n_a n_b / n

    which never subtracts two large sums, so labels of 1e6 ± 1 keep their digits in
    float32. The batch mean is kept as `shift + offset`, since at 1e6 a float32 cannot
    hold it.

    Returns:
        The `Metric`; higher is better. NaN below two labels. Where the labels are
        constant it is 1 for perfect outputs and 0 otherwise, as in scikit-learn.

    Example:
        >>> labels = jnp.array([1e6, 1e6 + 1, 1e6 + 2])
        >>> r2().compute(r2().update(labels + 0.5, labels, jnp.ones(3)))
        0.625

    References:
        Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for
        Computing Sample Variances", 1979.
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        outputs, labels, keep = columns(outputs, labels, mask)
        count = keep.sum(0)
        divisor = jnp.maximum(count, 1)
        shift = labels.sum(0) / divisor  # 0 where masked
        # Constant labels lie a few units in the last place from the rounded mean, a
        # difference whose sum and mean are exact: they give M2 = 0, not almost 0.
        away = keep * (labels - shift)
        offset = away.sum(0) / divisor
        return {
            "count": count,
            "shift": shift,
            "offset": offset,
            "m2": ((keep * (away - offset)) ** 2).sum(0),
            "residual": ((outputs - labels) ** 2).sum(0),
        }

    def merge(left: dict[str, Array], right: dict[str, Array]) -> dict[str, np.ndarray]:
        a = {name: base.widen(array) for name, array in left.items()}
        b = {name: base.widen(array) for name, array in right.items()}
        count = a["count"] + b["count"]
        share = b["count"] / np.maximum(count, 1)
        gap = (b["shift"] - a["shift"]) + (b["offset"] - a["offset"])
        return {
            "count": count,
            "shift": a["shift"],
            "offset": a["offset"] + gap * share,
            "m2": a["m2"] + b["m2"] + gap**2 * a["count"] * share,
            "residual": a["residual"] + b["residual"],
        }

    def compute(state: dict[str, Array]) -> float:
        s = {name: base.widen(array) for name, array in state.items()}
        if not s["count"].size or s["count"].min() < 2:
            return float("nan")
        constant = s["m2"] == 0
        ratio = s["residual"] / np.where(constant, 1, s["m2"])
        ratio = np.where(constant, s["residual"] > 0, ratio)
        return float((1 - ratio).mean())

    return base.Metric("r2", True, update, merge, compute)


def columns(
    outputs: Array, labels: Array, mask: Array, present: Array | None = None
) -> tuple[Array, Array, Array]:
    """Brings outputs and labels to columns, one a target.

    Args:
        outputs: `[B, ...]` as the labels, or with a last axis of 1.
        labels: `[B, ...]`; may be anything where there is none.
        mask: `[B]` bool.
        present: `[B, ...]` bool, where there is a label; None for wherever the mask
            says.

    Returns:
        `(outputs, labels, present)`, each `[n, K]`; 0 where there is no label, float32
        or wider, and int32.

    Raises:
        ValueError: If the two shapes do not fit.

    Example:
        >>> labels, mask = jnp.array([[3.0], [-1.0]]), jnp.array([True, True])
        >>> outputs, _, here = columns(jnp.ones((2, 1)), labels, mask, labels >= 0)
        >>> outputs.tolist(), here.tolist()
        ([[1.0], [0.0]], [[1], [0]])
    """
    outputs, labels = jnp.asarray(outputs), jnp.asarray(labels)
    if outputs.shape not in (labels.shape, (*labels.shape, 1)):
        raise ValueError(
            f"outputs of shape {outputs.shape} fit no labels of shape {labels.shape}. "
            "Give [B] or [B, 1] with [B], or [B, K] with [B, K]."
        )
    of_columns = outputs.shape == labels.shape and labels.ndim == 2
    dtype = jnp.promote_types(outputs.dtype, jnp.float32)
    labels, keep = base.flatten(labels.astype(dtype), mask, of_columns)
    outputs = outputs.astype(dtype).reshape(labels.shape)
    here = jnp.broadcast_to(keep[:, None], labels.shape)
    if present is not None:
        here = here & present.reshape(labels.shape)
    outputs, labels = jnp.where(here, outputs, 0), jnp.where(here, labels, 0)
    return outputs, labels, here.astype(jnp.int32)


def average(total: np.ndarray, count: np.ndarray) -> float:
    """The mean over the columns of `total / count`; NaN where one is empty."""
    if not count.all() or not count.size:
        return float("nan")
    return float((total / count).mean())

"""Metrics of classes at every position: pixels and tokens.

Outputs are logits `[B, ..., C]` with labels `[B, ...]`; negative labels (padding,
pixels of no class) are left out. All counts are of the whole split, so that an image
with more labelled pixels counts more.
"""

import numpy as np

from mtl_jax.metrics import base, classification
from mtl_jax.typing import Array


def pixel_accuracy() -> base.Metric:
    """The share of labelled pixels whose class is right: `accuracy`, by its name here.

    Returns:
        The `Metric`; higher is better. NaN if no pixel was seen.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]]])
        >>> metric, labels = pixel_accuracy(), jnp.array([[[0, 1, -1]]])
        >>> metric.compute(metric.update(logits, labels, jnp.ones(1)))
        0.5
    """
    return classification.accuracy()._replace(name="pixel_accuracy")


def token_accuracy() -> base.Metric:
    """The share of labelled tokens whose class is right: `accuracy`, by its name here.

    Returns:
        The `Metric`; higher is better. NaN if no token was seen.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]])
        >>> metric, labels = token_accuracy(), jnp.array([[0, 1, -1]])
        >>> metric.compute(metric.update(logits, labels, jnp.ones(1)))
        0.5
    """
    return classification.accuracy()._replace(name="token_accuracy")


def mean_iou() -> base.Metric:
    """Intersection over union of labels and predictions, the mean over the classes.

        iou_c = tp_c / (tp_c + fp_c + fn_c)

    from the counts of the whole split, not a mean over images. A class that is neither
    in the labels nor in the predictions has no IoU and is left out of the mean; one
    that is only predicted counts as 0.

    Returns:
        The `Metric`; higher is better. NaN if no pixel was seen.

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.array([[[[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]]]])
        >>> metric, labels = mean_iou(), jnp.array([[[0, 1]]])
        >>> metric.compute(metric.update(logits, labels, jnp.ones(1)))  # of 1/2 and 0
        0.25

    References:
        Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV
        2010.
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        found = classification.rows(outputs, labels, mask)
        return classification.counts(found)

    def compute(state: dict[str, Array]) -> float:
        total = {name: base.widen(count) for name, count in state.items()}
        seen = total["seen"] > 0
        if not seen.any():
            return float("nan")
        union = total["predicted"] + total["actual"] - total["true"]
        return float((total["true"] / np.maximum(union, 1))[seen].mean())

    return base.Metric("mean_iou", True, update, base.add, compute)

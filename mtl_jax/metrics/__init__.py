"""Metrics whose states merge exactly over batches and devices, and Δm.

`delta_m` here is the function; it hides the module of the same name.
"""

from collections.abc import Callable
from typing import Any

from mtl_jax import factories
from mtl_jax.metrics.angles import angular_error as angular_error
from mtl_jax.metrics.angles import angular_median as angular_median
from mtl_jax.metrics.angles import angular_within as angular_within
from mtl_jax.metrics.base import Metric as Metric
from mtl_jax.metrics.base import evaluate as evaluate
from mtl_jax.metrics.classification import accuracy as accuracy
from mtl_jax.metrics.classification import f1 as f1
from mtl_jax.metrics.classification import f1_per_class as f1_per_class
from mtl_jax.metrics.count import count_mae as count_mae
from mtl_jax.metrics.count import count_rmse as count_rmse
from mtl_jax.metrics.count import count_rmsle as count_rmsle
from mtl_jax.metrics.count import poisson_deviance as poisson_deviance
from mtl_jax.metrics.delta_m import delta_m as delta_m
from mtl_jax.metrics.dense import mean_iou as mean_iou
from mtl_jax.metrics.dense import pixel_accuracy as pixel_accuracy
from mtl_jax.metrics.dense import token_accuracy as token_accuracy
from mtl_jax.metrics.depth import abs_error as abs_error
from mtl_jax.metrics.depth import rel_error as rel_error
from mtl_jax.metrics.ordinal import level_accuracy as level_accuracy
from mtl_jax.metrics.ordinal import level_mae as level_mae
from mtl_jax.metrics.ranking import auc as auc
from mtl_jax.metrics.ranking import average_precision as average_precision
from mtl_jax.metrics.regression import mae as mae
from mtl_jax.metrics.regression import r2 as r2
from mtl_jax.metrics.regression import rmse as rmse
from mtl_jax.metrics.spans import span_f1 as span_f1
from mtl_jax.metrics.spans import span_per_type as span_per_type
from mtl_jax.metrics.spans import span_precision as span_precision
from mtl_jax.metrics.spans import span_recall as span_recall

METRICS: dict[str, Callable[..., Metric]] = {
    "accuracy": accuracy,
    "f1": f1,
    "f1_per_class": f1_per_class,
    "auc": auc,
    "average_precision": average_precision,
    "mae": mae,
    "rmse": rmse,
    "r2": r2,
    "level_accuracy": level_accuracy,
    "level_mae": level_mae,
    "poisson_deviance": poisson_deviance,
    "count_mae": count_mae,
    "count_rmse": count_rmse,
    "count_rmsle": count_rmsle,
    "token_accuracy": token_accuracy,
    "span_f1": span_f1,
    "span_precision": span_precision,
    "span_recall": span_recall,
    "span_per_type": span_per_type,
    "mean_iou": mean_iou,
    "pixel_accuracy": pixel_accuracy,
    "abs_error": abs_error,
    "rel_error": rel_error,
    "angular_error": angular_error,
    "angular_median": angular_median,
    "angular_within": angular_within,
}


def make(name: str, **hyper: Any) -> Metric:
    """The metric of that name.

    Args:
        name: A key of `METRICS`.
        **hyper: The factory's hyper-parameters.

    Returns:
        The `Metric`.

    Raises:
        ValueError: For an unknown name or hyper-parameter; it lists the known ones.

    Example:
        >>> make("f1", average="binary").name
        'f1_binary'
    """
    return factories.make("metric", METRICS, name, hyper)

"""Metrics whose states merge exactly over batches and devices, and Δm.

`delta_m` here is the function; it hides the module of the same name.
"""

from collections.abc import Callable
from typing import Any

from mtl_jax import factories
from mtl_jax.metrics.base import Metric as Metric
from mtl_jax.metrics.base import evaluate as evaluate
from mtl_jax.metrics.classification import accuracy as accuracy
from mtl_jax.metrics.classification import f1 as f1
from mtl_jax.metrics.classification import f1_per_class as f1_per_class
from mtl_jax.metrics.delta_m import delta_m as delta_m
from mtl_jax.metrics.ranking import auc as auc
from mtl_jax.metrics.regression import mae as mae
from mtl_jax.metrics.regression import r2 as r2
from mtl_jax.metrics.regression import rmse as rmse

METRICS: dict[str, Callable[..., Metric]] = {
    "accuracy": accuracy,
    "f1": f1,
    "f1_per_class": f1_per_class,
    "auc": auc,
    "mae": mae,
    "rmse": rmse,
    "r2": r2,
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

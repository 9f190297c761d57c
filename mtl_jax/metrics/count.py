"""Metrics of counts, told by their log-rate: the prediction is `exp(output)`.

Outputs and labels as in `mtl_jax.metrics.regression`; negative labels are left out.
"""

import jax
import jax.numpy as jnp

from mtl_jax.metrics import base, regression
from mtl_jax.typing import Array


def poisson_deviance() -> base.Metric:
    """Mean Poisson deviance, `2 mean(y log(y / μ) - y + μ)` with `μ = exp(output)`.

    Zero for a perfect prediction, and otherwise above. Columns are averaged.

    Returns:
        The `Metric`; lower is better. NaN if nothing was seen.

    Example:
        >>> metric, labels = poisson_deviance(), jnp.array([0, 2])
        >>> state = metric.update(jnp.log(jnp.array([1.0, 2.0])), labels, jnp.ones(2))
        >>> round(metric.compute(state), 4)
        1.0

    References:
        McCullagh and Nelder, "Generalized Linear Models", 1989, chapter 6;
        `sklearn.metrics.mean_poisson_deviance`.
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        rates, counts, keep = _read(outputs, labels, mask)
        positive = counts > 0
        # 2 y (exp(d) - 1 - d), in which nothing large cancels.
        d = jnp.where(positive, rates - jnp.log(jnp.where(positive, counts, 1)), 0)
        each = jnp.where(positive, counts * (jnp.expm1(d) - d), jnp.exp(rates))
        return {"total": 2 * (keep * each).sum(0), "count": keep.sum(0)}

    def compute(state: dict[str, Array]) -> float:
        return regression.average(
            base.widen(state["total"]), base.widen(state["count"])
        )

    return base.Metric("poisson_deviance", False, update, base.add, compute)


def count_mae() -> base.Metric:
    """Mean absolute error of `exp(output)`.

    Returns:
        The `Metric`; lower is better. NaN if nothing was seen.

    Example:
        >>> metric, labels = count_mae(), jnp.array([0, 4])
        >>> metric.compute(metric.update(jnp.zeros(2), labels, jnp.ones(2)))
        2.0
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        error, keep = _errors(outputs, labels, mask)
        return {"total": jnp.abs(error).sum(0), "count": keep.sum(0)}

    return regression.mae()._replace(name="count_mae", update=update)


def count_rmse() -> base.Metric:
    """Root mean squared error of `exp(output)`.

    Returns:
        The `Metric`; lower is better. NaN if nothing was seen.

    Example:
        >>> metric, labels = count_rmse(), jnp.array([0, 8])
        >>> metric.compute(metric.update(jnp.zeros(2), labels, jnp.ones(2)))
        5.0
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        error, keep = _errors(outputs, labels, mask)
        return {"total": (error**2).sum(0), "count": keep.sum(0)}

    return regression.rmse()._replace(name="count_rmse", update=update)


def count_rmsle() -> base.Metric:
    """Root mean squared logarithmic error, of `log(1 + exp(output))`.

    Errors are relative: ten instead of five weighs as much as a hundred instead of
    fifty, about.

    Returns:
        The `Metric`; lower is better. NaN if nothing was seen.

    Example:
        >>> metric, labels = count_rmsle(), jnp.array([1, 1])
        >>> metric.compute(metric.update(jnp.zeros(2), labels, jnp.ones(2)))
        0.0

    References:
        `sklearn.metrics.root_mean_squared_log_error`.
    """

    def update(outputs: Array, labels: Array, mask: Array) -> dict[str, Array]:
        rates, counts, keep = _read(outputs, labels, mask)
        error = jnp.where(keep > 0, jax.nn.softplus(rates) - jnp.log1p(counts), 0)
        return {"total": (error**2).sum(0), "count": keep.sum(0)}

    return regression.rmse()._replace(name="count_rmsle", update=update)


def _errors(outputs: Array, labels: Array, mask: Array) -> tuple[Array, Array]:
    rates, counts, keep = _read(outputs, labels, mask)
    return jnp.where(keep > 0, jnp.exp(rates) - counts, 0), keep


def _read(outputs: Array, labels: Array, mask: Array) -> tuple[Array, Array, Array]:
    return regression.columns(outputs, labels, mask, jnp.asarray(labels) >= 0)

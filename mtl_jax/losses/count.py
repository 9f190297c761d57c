"""The loss of counts."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax.losses import base, checks
from mtl_jax.losses.base import Loss
from mtl_jax.typing import Array

LARGEST = 30.0
"""The log-rate above which `exp` goes on as its tangent: a rate of 10¹³."""


def poisson(full: bool = True, ignore: int | None = None) -> Loss:
    """Negative log-likelihood of counts, `exp(o) - y o + log y!`, of the log-rate `o`.

    The minimum is at `exp(o) = y`, and its gradient `exp(o) - y` is that of the Poisson
    regression with logarithmic link. Above a log-rate of 30 the exponential is
    continued by its tangent, so that a wild output gives a large finite loss and
    gradient.

    Args:
        full: with `log y!`, which no output changes. Without it, as other libraries
            have it, losses are negative, and methods that divide by a loss, take its
            logarithm or learn its scale go astray.
        ignore: the negative label, -1 say, of missing counts; None where none is.

    Returns:
        A `Loss` for outputs `[B]` or `[B, 1]` and labels `[B]`, or both `[B, K]`.
        Labels are at least 0, whole or not. The performance indicator of an example is
        `exp(-deviance / 2)`: its likelihood as a part of the largest possible.

    Raises:
        ValueError: For a count to ignore.

    Example:
        >>> loss = poisson()
        >>> values, _ = loss.per_example(jnp.log(jnp.array([3.0])), jnp.array([2]))
        >>> round(float(values[0]), 4)  # -log(3² exp(-3) / 2!)
        1.4959

    References:
        McCullagh and Nelder, "Generalized Linear Models", 1989, chapter 6.
    """
    checks.check_ignore("poisson", ignore)
    return _poisson(bool(full), ignore)


# Equal arguments give the same loss: tasks of one loss are computed together.
@functools.cache
def _poisson(full: bool, ignore: int | None) -> Loss:
    name = "poisson"
    check_outputs = checks.output_check(name, checks.elementwise_advice)

    def read(outputs: Array, labels: Array) -> tuple[Array, Array, Array, Array]:
        outputs, labels = jnp.asarray(outputs, jnp.float32), jnp.asarray(labels)
        check_outputs(outputs.shape, labels.shape, task=None)
        present = base.present(labels, ignore)
        outputs, labels = outputs.reshape(labels.shape), labels.astype(jnp.float32)
        known = (labels >= 0) & jnp.isfinite(labels)
        return outputs, jnp.where(known, labels, 0), known, present

    def per_example(outputs: Array, labels: Array) -> tuple[Array, Array]:
        outputs, counts, known, present = read(outputs, labels)
        values = _rate(outputs) - counts * outputs
        if full:
            values = values + jax.lax.lgamma(counts + 1)
        values = jnp.where(known, values, jnp.nan)
        return base.over_positions(values, jnp.ones_like(values), present)

    def check_labels(
        labels: Any, mask: Any, *, task: str, num_outputs: int | None
    ) -> None:
        labels, present = checks.present_labels(labels, mask, task)
        checks.check_number(name, labels.dtype, task)
        missing = checks.left_out(labels, ignore, present, task)
        bad = ~((labels >= 0) & np.isfinite(labels)) & ~missing
        fix = (
            f"{checks.where_missing(name, labels, ignore)} For numbers that may be "
            "negative use mse."
        )
        rule = "counts must be finite and at least 0"
        checks.refuse(labels, bad, present, task, rule, fix)

    def hits(outputs: Array, labels: Array) -> Array:
        outputs, counts, _, present = read(outputs, labels)
        best = counts - jax.scipy.special.xlogy(counts, counts)
        ratio = jnp.exp(jnp.minimum(best - (_rate(outputs) - counts * outputs), 0))
        weights = jnp.ones_like(ratio)
        total, share = base.over_positions(ratio, weights, present)
        return total / jnp.where(share > 0, share, 1)

    return Loss(name, per_example, check_labels, check_outputs, hits)


def _rate(outputs: Array) -> Array:
    """`exp`, and its tangent above the largest log-rate."""
    return jnp.exp(jnp.minimum(outputs, LARGEST)) * (
        1 + jnp.maximum(outputs - LARGEST, 0)
    )

"""A method on the logarithms of the losses."""

from typing import TypeVar

import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import rescaled, wrapping

M = TypeVar("M", base.LossWeighting, base.GramianWeighting, base.GradientAggregator)


def with_log_losses(method: M) -> M:
    """Train on `log L_t` in the place of `L_t`: equal steps are equal ratios.

    The method sees `log L` and the gradients `g_t / L_t` of the logarithms, and its
    weights w belong to these: the effective weights of the losses are `w_t / L_t`.
    Multiplying a loss by a constant changes nothing. `with_log_losses(equal())` is the
    sum of the logarithms. (With `at="representation"` too, as the logarithm is taken of
    the loss.)

    Heads are trained on `log L_t` too: they get the weight that the method gives to
    heads, 1 or `w_t`, divided by `L_t`.
    State: `1 / L_t` of the last update, and the method's.

    Args:
        method: of any kind. Methods that take logarithms themselves (famo) see the
            logarithm of a logarithm.

    Returns:
        A method of the same kind; of the Gramian or the gradients, it needs the
        keyword `losses`. All losses must be positive: else the weights are NaN and the
        step is skipped.

    Raises:
        TypeError: what is not a method.
        ValueError: when called without losses.

    Example:
        >>> from mtl_jax.weighting import equal
        >>> method = with_log_losses(equal())
        >>> weights, _ = method.update(jnp.array([0.5, 4.0]), method.init(2))
        >>> weights.tolist()
        [2.0, 0.25]
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    wrapping.check_kind("with_log_losses", method, *kinds)

    def scale(losses: Array | None, squared: Array, keep: Array) -> Array:
        if losses is None:
            raise ValueError(
                "with_log_losses divides the gradients by the losses: update needs "
                "the keyword losses=…"
            )
        return inverse(losses, keep).astype(squared.dtype)

    def log(losses: Array, keep: Array) -> Array:
        positive = keep & (losses > 0)
        return jnp.log(jnp.where(positive, losses, 1))

    return rescaled.rescaled(method, rescaled.Rule(scale, log, heads=True))


def inverse(losses: Array, keep: Array) -> Array:
    """`1 / L`; 0 for absent tasks, NaN where a loss is not positive.

    Example:
        >>> mask = jnp.array([True, True, False])
        >>> inverse(jnp.array([4.0, 0.0, 0.0]), mask).tolist()
        [0.25, nan, 0.0]
    """
    positive = losses > 0
    found = jnp.where(positive, 1 / jnp.where(positive, losses, 1), jnp.nan)
    return jnp.where(keep, found, 0)

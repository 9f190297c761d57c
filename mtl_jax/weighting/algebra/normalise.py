"""A method on gradients of a common size."""

from typing import Literal

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import lifts, log_losses, rescaled, wrapping


def normalise(
    method: base.Method, by: Literal["l2", "loss", "loss+"] = "l2"
) -> base.GramianWeighting | base.GradientAggregator:
    """Divide the gradient of each task by a number before the method sees it.

    The method sees and weighs `g_t / c_t`, so that its effective weights are
    `w_t / c_t`, with `c_t = ‖g_t‖` ("l2"), `L_t` ("loss") or `L_t ‖g_t‖` ("loss+"). A
    task whose c is zero has weight 0. The losses that the method sees are left as they
    are. The lengths are those of the gradients that the Gramian is made of.

    Heads: the method's rule; where it weighs them, with the effective weights. Weights
    that a `GradientAggregator` gives to heads are left as they are.
    State: `1 / c_t` of the last update, and the method's.

    Args:
        method: of any kind; a `LossWeighting` is lifted to a `GramianWeighting`, at the
            cost of one (`normalise(equal())` is the sum of the unit gradients).
        by: what the gradients are divided by. Losses must be positive where they are
            needed: else the weights are NaN and the step is skipped.

    Returns:
        A `GramianWeighting`, or a `GradientAggregator` for one.

    Raises:
        TypeError: what is not a method.
        ValueError: an unknown normaliser; lengths asked of a method of several samples,
            whose matrix does not tell them; when called, no losses.

    Example:
        >>> from mtl_jax.weighting import aggregate, equal
        >>> jacobian = jnp.array([[3.0, 0.0], [0.0, 0.5]])
        >>> aggregate(normalise(equal()), jacobian).direction.tolist()
        [1.0, 1.0]
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    wrapping.check_kind("normalise", method, *kinds)
    if by not in ("l2", "loss", "loss+"):
        raise unknown_name("normaliser", by, ["l2", "loss", "loss+"])
    if by != "loss":
        wrapping.one_sample(
            "normalise", method, "the product of two samples tells no lengths"
        )

    def scale(losses: Array | None, squared: Array, keep: Array) -> Array:
        found = jnp.ones_like(squared)
        if by != "loss":
            root = jnp.sqrt(jnp.where(squared > 0, squared, 1))
            found = jnp.where(squared > 0, 1 / root, 0)
            found = jnp.where(jnp.isfinite(squared), found, jnp.nan)
        if by != "l2":
            if losses is None:
                raise ValueError(
                    f"normalise(method, {by!r}) divides the gradients by the losses: "
                    "update needs the keyword losses=…"
                )
            found = found * log_losses.inverse(losses, keep).astype(found.dtype)
        return found

    rule = rescaled.Rule(scale, lambda losses, keep: losses, heads=False)
    if isinstance(method, base.GradientAggregator):
        return rescaled.rescaled(method, rule)
    return rescaled.rescaled(lifts.as_gramian(method), rule)

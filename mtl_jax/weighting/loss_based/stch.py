"""Smooth Tchebycheff scalarisation (STCH)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.loss_based import scalarization


def stch(
    mu: float,
    weights: Sequence[float] | Array | None = None,
    reference: float | Sequence[float] | Array = 0.0,
) -> base.LossWeighting:
    """Descend a smooth maximum of the weighted losses.

    The objective is `μ log Σ_t exp(λ_t (L_t − z_t) / μ)`, so that
    `w_t = λ_t softmax_t(λ (L − z) / μ)`. For μ → 0 it is the maximum, `tchebycheff`;
    for large μ the weights are `λ / T`. Heads get the same weights. No state.

    Args:
        mu: μ, in the unit of `λ L`; no value fits all losses. The authors use 0.01
            for losses of order one.
        weights: λ, `[T]`, the preference among the tasks, used as it is (not
            normalised); default: 1/T for the T tasks that have labels in the batch.
        reference: z, lower bounds of the losses or their best values, a number or
            `[T]`.

    Returns:
        A `LossWeighting`. Its `init` raises `ValueError` for vectors of another length
        or negative weights.

    Raises:
        ValueError: a hyper-parameter out of its range.

    Example:
        >>> method = stch(mu=0.5, weights=[1.0, 1.0])
        >>> weights, _ = method.update(jnp.array([1.0, 1.5]), method.init(2))
        >>> [round(float(w), 3) for w in weights]
        [0.269, 0.731]

    References:
        Lin, Zhang, Yang, Liu, Wang and Zhang, Smooth Tchebycheff Scalarization for
        Multi-Objective Optimization, ICML 2024.

    The authors' code for multi-task learning differs from this objective: it takes the
    logarithm of the losses and warms up, see `stch_mtl`.
    """
    checks.number("stch", "mu", mu, above=0)
    checks.number("stch", "reference", reference)

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        given = scalarization.preference("stch", weights, keep)
        value = given * scalarization.gap("stch", losses, reference, keep)
        below = value - jnp.max(jnp.where(keep, value, -jnp.inf))
        softmax = jax.nn.softmax(jnp.where(keep, below / mu, -jnp.inf))
        return jnp.where(keep, given * softmax, 0).astype(losses.dtype), state

    return base.LossWeighting(
        scalarization.checked_init("stch", weights, reference), update
    )

"""Conditioned one-shot multi-objective search (COSMOS), its objective."""

from collections.abc import Sequence

import jax.numpy as jnp

from mtl_jax.solvers import precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.loss_based import scalarization


def cosmos(
    lambda_: float = 2.0, weights: Sequence[float] | Array | None = None
) -> base.LossWeighting:
    """Descend a weighted sum, and turn the losses towards a preference.

    The objective is `r·L − λ cos(r, L)`, so that
    `w = r − λ (r̂ − cos(r, L) L̂) / ‖L‖`, where r̂ and L̂ have length 1: the losses shall
    be small and stand to each other as the entries of r do. A weight is negative where
    a loss is too small for its share. Heads get the same weights. No state.

    Args:
        lambda_: λ, of the cosine; the authors' code has 2 by default and 0.01 to 8 for
            its data sets.
        weights: r, `[T]`, the preference, used as it is (not normalised); default: 1/T
            for the T tasks that have labels in the batch.

    Returns:
        A `LossWeighting`. Its `init` raises `ValueError` for weights of another length
        or sign.

    Raises:
        ValueError: a hyper-parameter out of its range.

    Example:
        >>> method = cosmos(lambda_=1.0, weights=[0.5, 0.5])
        >>> weights, _ = method.update(jnp.array([1.0, 0.0]), method.init(2))
        >>> [round(float(w), 3) for w in weights]
        [0.5, -0.207]

    References:
        Ruchte and Grabocka, Scalable Pareto Front Approximation for Deep
        Multi-Objective Learning, ICDM 2021.

    The paper draws a new r for every batch and gives it to the network as an input;
    here r is fixed, and one run finds one point of the front. Where all losses are zero
    the cosine has no gradient, and `w = r`.
    """
    checks.number("cosmos", "lambda_", lambda_, at_least=0)

    @precision.in_float64
    def solve(losses: Array, r: Array, factor: Array) -> Array:
        def unit(x: Array) -> tuple[Array, Array]:
            norm = jnp.linalg.norm(x)
            inverse = jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1), 0)
            return x * inverse, inverse

        (r_hat, _), (l_hat, inverse) = unit(r), unit(losses)
        return r - factor * inverse * (r_hat - jnp.sum(r_hat * l_hat) * l_hat)

    def update(
        losses: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        given = scalarization.preference("cosmos", weights, keep)
        found = scalarization.gap("cosmos", losses, 0.0, keep)
        solved = solve(found, given, jnp.asarray(lambda_, found.dtype))
        return jnp.where(keep, solved, 0).astype(losses.dtype), state

    return base.LossWeighting(scalarization.checked_init("cosmos", weights), update)

"""Conflict-free inverse gradients (ConFIG)."""

import jax.numpy as jnp

from mtl_jax.solvers import precision, spectrum
from mtl_jax.typing import Array
from mtl_jax.weighting import base


def config() -> base.GramianWeighting:
    """Descend at the same angle to every task gradient.

    With the rows `g_t / ‖g_t‖` in U, the direction has the sense `u` of `U⁺ 1`, at the
    same angle to all gradients if they are independent, and the length
    `Σ_t g_t · u`, the sum of the gradients' projections. In weights, with the
    correlation matrix `C = U Uᵀ` and `y = C⁺ 1`, `w_t` is proportional to
    `y_t / ‖g_t‖`. Independent gradients never conflict with d. Heads get weight 1. No
    state.

    Returns:
        A `GramianWeighting`.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(config(), jnp.array([[1.0, 0.0], [0.0, 3.0]]))
        >>> [round(float(d), 4) for d in result.direction]
        [2.0, 2.0]

    References:
        Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed
        Neural Networks, ICLR 2025.

    For dependent gradients U⁺ gives the sense of least squares, with unequal angles. A
    task with zero gradient has no angle and gets weight 0. Where no direction has the
    same non-zero angle to any two of them, as for two opposite gradients, d is 0; the
    authors' code returns NaN in one of its two forms.
    """

    def update(
        gramian: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        rounding = float(jnp.finfo(gramian.dtype).eps)

        @precision.in_float64
        def solve(gramian: Array, mask: Array) -> Array:
            correlation, norms = spectrum.correlation(gramian, mask)
            moving = (norms > 0).astype(norms.dtype)
            y = spectrum.pinv_solve(correlation, moving, rounding, mask)
            projections = correlation @ y  # of U⁺ 1 on the unit rows; ones, if it can
            square = moving @ projections  # ‖U⁺ 1‖² = yᵀ C y = 1ᵀ y
            count = jnp.sum(moving)
            defined = ~(square <= count * rounding * count)
            length = norms @ projections / jnp.where(defined, y @ projections, 1)
            w = length * y / jnp.where(norms > 0, norms, 1)
            return jnp.where(defined, w, 0)

        weights = solve(gramian, base.keep_mask(mask, gramian.shape[0]))
        return weights, state

    return base.GramianWeighting(base.no_state, update)

"""Independent component alignment (Aligned-MTL)."""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.solvers import precision, spectrum, totals
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks

_SCALES = ("min", "median", "rmse")


def aligned_mtl(
    scale_mode: Literal["min", "median", "rmse"] = "min",
    pref: Sequence[float] | Array | None = None,
) -> base.GramianWeighting:
    """Replace the gradients by the nearest ones that are orthogonal and of one length.

    With `G = V Λ Vᵀ`, restricted to the eigenvalues that are not zero, the aligned
    gradients are the rows of `√s V Λ^(−½) Vᵀ J`: their matrix has condition number 1,
    and they span what the gradients span. d is their mean: `w = √s V Λ^(−½) Vᵀ p`. The
    scale s is one of the eigenvalues; the smallest makes the steps safe and short.
    Heads get weight 1. No state.

    Args:
        scale_mode: s is the smallest ("min"), the lower median ("median") or the mean
            ("rmse") of the non-zero eigenvalues.
        pref: p, `[T]`, non-negative; used as they are, whatever their sum. Default:
            1/T for T tasks that are there.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: unknown scale; preferences that are negative or all zero; from
            `init`: another number of them than of tasks.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(aligned_mtl(), jnp.array([[1.0, 0.0], [0.0, 3.0]]))
        >>> [round(float(d), 4) for d in result.direction]
        [0.5, 0.5]

    References:
        Senushkin, Patakin, Kuznetsov and Konushin, Independent Component Alignment for
        Multi-Task Learning, CVPR 2023.

    The authors' code has p = 1 each, so that its direction is T times as long. It calls
    an eigenvalue zero by the rounding of the default dtype, relative to the largest,
    and so loses a short gradient among long ones, which changes d by orders of
    magnitude; here the rank is that of the correlation matrix. A task with zero
    gradient gets weight 0.
    """
    if scale_mode not in _SCALES:
        raise unknown_name("scale_mode of aligned_mtl", scale_mode, _SCALES)
    if pref is not None:
        checks.preference("aligned_mtl", "pref", pref, jnp.asarray(pref).size)

    def scale(found: spectrum.Spectrum) -> Array:
        rank = totals.count(found.keep)
        if scale_mode == "rmse":
            return totals.total(found.values) / jnp.maximum(rank, 1)
        # Ascending; those that are kept are the last.
        t = found.values.shape[0]
        place = t - rank + (0 if scale_mode == "min" else (rank - 1) // 2)
        return found.values[jnp.minimum(place, t - 1)]

    def init(num_tasks: int, params: object = None) -> base.EmptyState:
        checks.preference("aligned_mtl", "pref", pref, num_tasks)
        return base.no_state(num_tasks, params)

    def update(
        gramian: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        t = gramian.shape[0]
        rounding = float(jnp.finfo(gramian.dtype).eps)

        @precision.in_float64
        def solve(gramian: Array, p: Array, mask: Array) -> Array:
            found = spectrum.eigen(gramian, rounding, mask)
            values = found.values
            root = jnp.sqrt(scale(found) / jnp.where(values > 0, values, 1))
            root = jnp.where(values > 0, root, 0)
            weights = found.vectors @ (root * (found.vectors.T @ p))
            return jnp.where(totals.finite(values), weights, jnp.nan)

        keep = base.keep_mask(mask, t)
        p = checks.preference("aligned_mtl", "pref", pref, t)
        if pref is None:
            p = keep / jnp.maximum(jnp.sum(keep), 1)
        return solve(gramian, jnp.where(keep, p, 0), keep), state

    return base.GramianWeighting(init, update)

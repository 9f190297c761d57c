"""Multiple-gradient descent (MGDA)."""

from typing import Literal

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.solvers import min_norm, nonnegative_qp, precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base

_NORMALIZERS = ("none", "l2", "loss", "loss+")


def mgda(
    normalize: Literal["none", "l2", "loss", "loss+"] = "none",
) -> base.GramianWeighting:
    """Descend along the shortest vector in the convex hull of the task gradients.

    `w = argmin ‖Σ_t w_t g_t‖²` over the simplex (eq. 3 of the paper); `d = Jᵀ w` never
    conflicts with a task, and `d = 0` means that the point is Pareto stationary. The
    weights sum to 1. With a normaliser the problem is solved for `g_t / c_t`, with
    `c_t = ‖g_t‖` ("l2"), `L_t` ("loss") or `L_t ‖g_t‖` ("loss+"), and the weights are
    applied to the raw gradients, as in the authors' code. At the representation this is
    MGDA-UB. Heads get weight 1.
    State: the solver's report.

    Args:
        normalize: "none", "l2", "loss" or "loss+"; the last two need positive losses
            (the weights are NaN otherwise, and the step is skipped).

    Returns:
        A `GramianWeighting`; with a loss normaliser it needs the keyword `losses`.

    Raises:
        ValueError: unknown normaliser; losses needed and not given.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(mgda(), jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> [round(float(w), 3) for w in result.weights]
        [0.8, 0.2]

    References:
        Désidéri, Multiple-gradient descent algorithm (MGDA) for multiobjective
        optimization, Comptes Rendus Mathématique 2012; Sener and Koltun, Multi-Task
        Learning as Multi-Objective Optimization, NeurIPS 2018.

    The authors' Frank-Wolfe solver stops after 250 steps, up to 78 % away from the
    minimum; the solver here is exact to rounding. A gradient that is zero is the
    shortest vector and takes the whole weight, as the definition says.
    """
    if normalize not in _NORMALIZERS:
        raise unknown_name("normaliser of mgda", normalize, _NORMALIZERS)

    def normalizer(gramian: Array, losses: Array | None) -> Array:
        norms = jnp.sqrt(jnp.diagonal(gramian))
        if normalize == "none":
            return jnp.ones_like(norms)
        if normalize == "l2":
            return norms
        if losses is None:
            raise ValueError(f"mgda(normalize={normalize!r}) needs the losses")
        return losses if normalize == "loss" else losses * norms

    @precision.in_float64
    def solve(
        gramian: Array, losses: Array | None, mask: Array
    ) -> nonnegative_qp.Solution:
        c = normalizer(gramian, losses)
        scale = jnp.where(c > 0, 1 / jnp.where(c > 0, c, 1), 0)
        if losses is not None and normalize.startswith(
            "loss"
        ):  # undefined where a loss is not positive
            scale = jnp.where((losses <= 0) & mask, jnp.nan, scale)
        return min_norm.min_norm_point(gramian * scale[:, None] * scale[None, :], mask)

    def update(
        gramian: Array,
        state: base.SolverState,
        *,
        losses: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.SolverState]:
        del extra, state
        found = solve(gramian, losses, base.keep_mask(mask, gramian.shape[0]))
        report = base.SolverReport(found.iterations, found.converged)
        return found.x, base.SolverState(report)

    return base.GramianWeighting(base.solver_state, update)

"""Conflict-averse gradient descent (CAGrad)."""

from typing import Literal

import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.solvers import conflict_averse, nonnegative_qp, precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


def cagrad(c: float = 0.5, rescale: Literal[0, 1, 2] = 0) -> base.GramianWeighting:
    """Descend near the mean gradient, where the task that gains least gains most.

    With the mean gradient g0, d maximises `min_t g_t · d` over `‖d − g0‖ ≤ c ‖g0‖`
    (the paper's eq. 3). In weights, `d = g0 + (c ‖g0‖ / ‖g_w‖) g_w`, where `g_w = Jᵀ w`
    and w minimises `g_w · g0 + c ‖g0‖ ‖g_w‖` over the simplex. c = 0 is the mean
    gradient; a larger c is nearer to mgda. For c < 1 the fixed points are those of the
    mean loss. Heads get weight 1. State: the solver's report.

    Args:
        c: radius of the ball over the length of g0, at least 0. The default is that of
            the authors' code; they also run 0.4 and 0.6.
        rescale: 0 is d itself, 1 is `d / (1 + c²)`, 2 is `d / (1 + c)`.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: a negative c; unknown rescale.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(cagrad(), jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> [round(float(d), 4) for d in result.direction]
        [1.059, 1.0]

    References:
        Liu, Liu, Jin, Stone and Liu, Conflict-Averse Gradient Descent for Multi-task
        Learning, NeurIPS 2021.

    Others scale d: by `1 / (1 + c²)` (LibMTL, and the authors' code, which multiplies
    by T as well), by `1 / (1 + c)` (the authors' toy problem) or not (TorchJD, here).
    Their solvers add constants to norms and stop at an absolute tolerance, so that for
    gradients shorter than 1e-2 or longer than 1e3 d is far from the optimum, or zero;
    here it is exact at every scale. Where the best that the worst task can have is 0,
    as with a gradient that is zero, many d are optimal, and d is one of them.
    """
    checks.number("cagrad", "c", c, at_least=0)
    if rescale not in (0, 1, 2):
        raise unknown_name("rescale of cagrad", str(rescale), ["0", "1", "2"])

    def update(
        gramian: Array,
        state: base.SolverState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.SolverState]:
        del extra, state
        rounding = float(jnp.finfo(gramian.dtype).eps)

        @precision.in_float64
        def solve(gramian: Array, c: Array, mask: Array) -> nonnegative_qp.Solution:
            found = conflict_averse.solve(gramian, c, mask, rounding=rounding)
            divisor = {0: jnp.ones_like(c), 1: 1 + c**2, 2: 1 + c}[rescale]
            return found._replace(x=found.x / divisor)

        keep = base.keep_mask(mask, gramian.shape[0])
        found = solve(gramian, jnp.asarray(c), keep)
        report = base.SolverReport(found.iterations, found.converged)
        return found.x, base.SolverState(report)

    return base.GramianWeighting(base.solver_state, update)

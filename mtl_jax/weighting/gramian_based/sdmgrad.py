"""Stochastic direction-oriented multi-objective gradient descent (SDMGrad)."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.solvers import min_norm, precision, simplex
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks, shares

_TOLERANCE = 1e-3


class SDMGradState(NamedTuple):
    """Where the next minimisation begins, updated every step."""

    weights: Array  # [T] float32, w on the simplex
    solver: base.SolverReport


def sdmgrad(
    lambda_: float = 0.3,
    lr: float | None = None,
    momentum: float = 0.5,
    n_iter: int = 20,
    solver: Literal["sgd", "exact"] = "sgd",
    samples: int | None = None,
    eps: float = 0.0,
) -> base.GramianWeighting:
    """Descend between MGDA's direction and the mean gradient.

    `d = Jᵀ(w + λ/T) / (1 + λ)` with `w = argmin ‖Jᵀ(w + λ/T)‖²` over the simplex: λ = 0
    is MGDA, a large λ the mean. The weights of the direction sum to 1. In a stochastic
    setting `J₁ J₂ᵀ` of independent parts of the batch takes the place of `J Jᵀ`, and a
    third part carries the weights; w is then moved by `n_iter` steps of projected
    gradient descent with momentum, from where the last call ended,
    `v ← momentum v + A(w + λ/T)`, `w ← Proj(w − lr v)`, with
    `A = J₁ J₂ᵀ / ((mean_t √diag)² + eps)`. Cost: three small batches in place of one.
    Heads get weight 1. State: w and the solver's report.

    Args:
        lambda_: λ, at least 0.
        lr: learning rate of w. Default: 1 over the largest absolute row sum of A, with
            which the steps converge.
        momentum: of the steps, in [0, 1).
        n_iter: steps a call.
        solver: "sgd", as in the paper; or "exact", the minimiser itself, without
            memory, which needs the Gramian of one sample.
        samples: 3, 2 (the second part also carries the weights) or 1 (the Gramian of
            the whole batch). Default: 3 for "sgd" and 1 for "exact".
        eps: in the scale of A. The authors have 1e-8; any value but 0 makes the steps
            depend on the scale of the losses.

    Returns:
        A `GramianWeighting`. Its report says `converged` where the last step of "sgd"
        was at the minimiser of its matrix to within 0.001.

    Raises:
        ValueError: a number out of its range; unknown solver; an exact one for several
            samples, whose matrix is not symmetric.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> method = sdmgrad(lambda_=0.2, solver="exact")
        >>> result = aggregate(method, jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> [round(float(w), 3) for w in result.weights]
        [0.8, 0.2]

    References:
        Xiao, Ban and Ji, Direction-oriented Multi-objective Learning: Simple and
        Provable Stochastic Algorithms, NeurIPS 2023.

    The authors' lr is 10 (5 elsewhere), with which w jumps between vertices of the
    simplex and the direction is typically off by its own length; `sdmgrad(lr=10.0)` is
    that. Where two samples disagree so much that no diagonal entry of A is positive, w
    stays. An absent task keeps its weight; the others share theirs.
    """
    checks.number("sdmgrad", "lambda_", lambda_, at_least=0)
    if lr is not None:
        checks.number("sdmgrad", "lr", lr, at_least=0)
    checks.number("sdmgrad", "momentum", momentum, at_least=0, below=1)
    checks.number("sdmgrad", "eps", eps, at_least=0)
    checks.integer("sdmgrad", "n_iter", n_iter, at_least=1)
    if solver not in ("sgd", "exact"):
        raise unknown_name("solver of sdmgrad", solver, ["sgd", "exact"])
    if samples is None:
        samples = 3 if solver == "sgd" else 1
    if samples not in ((1, 2, 3) if solver == "sgd" else (1,)):
        raise ValueError(
            f"sdmgrad was given samples={samples!r} and solver={solver!r}; give 1, 2 "
            "or 3 to 'sgd', and 1 to 'exact', which needs a symmetric matrix"
        )

    @precision.in_float64
    def descend(
        gramian: Array,
        weights: Array,
        keep: Array,
        lambda_: Array,
        lr: Array | None,
        momentum: Array,
        eps: Array,
    ) -> tuple[Array, Array, Array]:
        target = shares.uniform(keep, gramian.dtype)
        mean = target @ jnp.sqrt(jnp.maximum(jnp.diagonal(gramian), 0))
        scale = mean**2 + eps
        both = keep[:, None] & keep[None, :] & (scale > 0)
        a = jnp.where(both, gramian / jnp.where(scale > 0, scale, 1), 0)
        bound = jnp.max(jnp.sum(jnp.abs(a), axis=1), initial=0)
        safe = 1 / jnp.where(bound > 0, bound, 1)
        rate = safe if lr is None else lr

        def slope(w: Array) -> Array:
            return a @ (w + lambda_ * target)

        def step(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            w, v = carry
            v = momentum * v + slope(w)
            return simplex.project_simplex(w - rate * v, keep), v

        w = shares.of_present(weights, keep)
        w, _ = jax.lax.fori_loop(0, n_iter, step, (w, jnp.zeros_like(w)))
        away = w - simplex.project_simplex(w - safe * slope(w), keep)
        converged = jnp.max(jnp.abs(away), initial=0) <= _TOLERANCE
        used = (w + lambda_ * target) / (1 + lambda_)
        return used, shares.put_back(weights, w, keep), converged

    @precision.in_float64
    def minimise(
        gramian: Array, keep: Array, lambda_: Array
    ) -> tuple[Array, base.SolverReport]:
        # ‖Jᵀ(w + λ/T)‖ is the norm of Σ_t w_t (g_t + λ mean g), as Σ_t w_t = 1.
        target = shares.uniform(keep, gramian.dtype)
        inner = lambda_ * (gramian @ target)
        shifted = gramian + inner[:, None] + inner[None, :] + lambda_ * (target @ inner)
        found = min_norm.min_norm_point(shifted, keep)
        report = base.SolverReport(found.iterations, found.converged)
        return (found.x + lambda_ * target) / (1 + lambda_), report

    def init(num_tasks: int, params: object = None) -> SDMGradState:
        del params
        weights = jnp.full(num_tasks, 1 / num_tasks, base.state_dtype())
        return SDMGradState(weights, base.no_report())

    def update_sgd(
        gramian: Array,
        state: SDMGradState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, SDMGradState]:
        del extra
        keep = base.keep_mask(mask, gramian.shape[0])
        rate = None if lr is None else jnp.asarray(lr)
        constants = jnp.asarray(lambda_), rate, jnp.asarray(momentum), jnp.asarray(eps)
        used, memory, converged = descend(gramian, state.weights, keep, *constants)
        report = base.SolverReport(jnp.full((), n_iter, jnp.int32), converged)
        return used, SDMGradState(memory.astype(state.weights.dtype), report)

    def update_exact(
        gramian: Array,
        state: base.SolverState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.SolverState]:
        del extra, state
        keep = base.keep_mask(mask, gramian.shape[0])
        used, report = minimise(gramian, keep, jnp.asarray(lambda_))
        return used, base.SolverState(report)

    if solver == "exact":
        return base.GramianWeighting(base.solver_state, update_exact)
    return base.GramianWeighting(init, update_sgd, num_samples=samples)

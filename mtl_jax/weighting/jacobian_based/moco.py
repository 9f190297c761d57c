"""Multi-objective gradient correction (MoCo)."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.errors import unknown_name
from mtl_jax.solvers import precision, simplex
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks, shares, task_rows

_PROJECTIONS = ("simplex", "softmax")


class MoCoState(NamedTuple):
    """The tracked gradients and the task weights, updated every step."""

    tracked: PyTree  # y, leaves [T, ...] float32 or wider
    weights: Array  # [T] float32, λ on the simplex
    num_seen: Array  # [T] int32, steps in which the task had labels
    step: Array  # [] int32, steps with any task


def moco(
    beta: float = 0.5,
    beta_sigma: float = 0.5,
    gamma: float = 0.1,
    gamma_sigma: float = 0.5,
    rho: float = 0.0,
    projection: Literal["simplex", "softmax"] = "simplex",
    normalize: bool = True,
    eps: float = 0.0,
) -> base.GradientAggregator:
    """Track every task's gradient, and move the weights of MGDA on the tracked ones.

    `y_t ← y_t + β_k (h_t − y_t)` with `h_t = L_t g_t / (‖g_t‖ + eps)`, then
    `λ ← Proj(λ − γ_k (y yᵀ + ρ I) λ)` on the simplex and `d = Σ_t λ_t y_t`, with
    `β_k = β / k^σ` and `γ_k = γ / k^σ'` in the k-th step. The tracked gradients have
    less noise than those of a batch, which would bias λ. The weights sum to 1. Heads
    get weight 1.
    State: y, one gradient a task (T times the memory of the shared parameters), λ and
    step counts.

    Args:
        beta: β, in [0, 1].
        beta_sigma: σ, how fast β falls; at least 0.
        gamma: γ, learning rate of λ.
        gamma_sigma: σ', how fast γ falls; at least 0.
        rho: ρ, pulls the weights to equality.
        projection: "simplex", Euclidean, as in the paper; or "softmax", which takes the
            place of Proj in a widespread library: λ then stays nearly uniform.
        normalize: false tracks the gradients themselves, `h_t = g_t`, as the paper's
            algorithm; true is the form of the published experiments, in which tasks
            count by their losses.
        eps: added to the norm. Other code has 1e-8.

    Returns:
        A `GradientAggregator`, with `normalize` one that needs the keyword `losses`.
        It has no meaning at the representation.

    Raises:
        ValueError: a number out of its range; unknown projection; no losses; `init`
            without the parameters.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [0.0, 2.0]])
        >>> result = aggregate(moco(gamma=1.0), jacobian, losses=jnp.array([1.0, 2.0]))
        >>> [round(float(w), 4) for w in result.state.weights]
        [0.6875, 0.3125]

    References:
        Fernando, Shen, Liu, Chaudhury, Murugesan and Chen, Mitigating Gradient Bias in
        Multi-objective Learning: A Provably Convergent Approach, ICLR 2023.

    y begins at 0, without bias correction, as published: the first updates are short.
    A zero gradient is tracked as zero. With `normalize` the direction does not depend
    on the length of the gradients, but on the scale of the losses: `γ y yᵀ` is their
    square. An absent task keeps its y, its λ and its k; the others share theirs.
    """
    for name, value in (("beta", beta), ("gamma", gamma), ("rho", rho)):
        most = 1 if name == "beta" else None
        checks.number("moco", name, value, at_least=0, at_most=most)
    checks.number("moco", "beta_sigma", beta_sigma, at_least=0)
    checks.number("moco", "gamma_sigma", gamma_sigma, at_least=0)
    checks.number("moco", "eps", eps, at_least=0)
    if projection not in _PROJECTIONS:
        raise unknown_name("projection of moco", projection, _PROJECTIONS)

    @precision.in_float64
    def move(
        gramian: Array, weights: Array, keep: Array, gamma: Array, rho: Array
    ) -> tuple[Array, Array]:
        w = shares.of_present(weights, keep)
        w = w - gamma * (gramian @ w + rho * w)
        if projection == "simplex":
            w = simplex.project_simplex(w, keep)
        else:
            w = jnp.where(keep, jax.nn.softmax(jnp.where(keep, w, -jnp.inf)), 0)
        return w, shares.put_back(weights, w, keep)

    def init(num_tasks: int, params: PyTree | None = None) -> MoCoState:
        return MoCoState(
            tracked=task_rows.zeros("moco", num_tasks, params),
            weights=jnp.full(num_tasks, 1 / num_tasks, base.state_dtype()),
            num_seen=jnp.zeros(num_tasks, jnp.int32),
            step=jnp.zeros((), jnp.int32),
        )

    def update(
        task_grads: PyTree,
        state: MoCoState,
        *,
        losses: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, MoCoState]:
        del extra
        dtype = state.weights.dtype
        keep = base.keep_mask(mask, state.weights.shape[0])
        num_seen = state.num_seen + keep.astype(jnp.int32)
        step = state.step + jnp.any(keep).astype(jnp.int32)
        if normalize:
            if losses is None:
                raise ValueError(
                    "moco scales each gradient to its task's loss: update needs "
                    "losses=[T], or use moco(normalize=False)"
                )
            norms = jnp.sqrt(task_rows.squared_norms(task_grads)) + eps
            length = jnp.where(norms > 0, losses / jnp.where(norms > 0, norms, 1), 0)
            task_grads_seen = task_rows.scaled(length, task_grads)
        else:
            task_grads_seen = task_grads
        rate = beta / jnp.maximum(num_seen, 1).astype(dtype) ** beta_sigma
        tracked = task_rows.average(rate, state.tracked, task_grads_seen, keep)
        gamma_k = gamma / jnp.maximum(step, 1).astype(dtype) ** gamma_sigma
        weights, memory = move(
            tree.gramian(tracked), state.weights, keep, gamma_k, jnp.asarray(rho)
        )
        direction = tree.combine(weights, tracked)
        state = MoCoState(tracked, memory.astype(dtype), num_seen, step)
        return task_rows.cast_like(direction, task_grads), keep.astype(dtype), state

    return base.GradientAggregator(init, update, at_representation=False)

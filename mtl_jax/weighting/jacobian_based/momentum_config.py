"""Conflict-free inverse gradients of momenta (M-ConFIG)."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.errors import unknown_name
from mtl_jax.solvers import precision, spectrum
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks, task_rows


class MomentumConFIGState(NamedTuple):
    """The momenta, updated every step."""

    momenta: PyTree  # m_t, leaves [T, ...] float32 or wider, not bias-corrected
    num_seen: Array  # [T] int32, how often each was updated
    step: Array  # [] int32, steps with any task
    turn: Array  # [] int32, the task to be updated next, for update_tasks="one"
    combined: PyTree | None  # m, leaves [...], for output="gradient"


def momentum_config(
    beta1: float = 0.9,
    update_tasks: Literal["all", "one"] = "all",
    output: Literal["gradient", "momentum"] = "gradient",
) -> base.GradientAggregator:
    """Combine the tasks' gradient momenta into a direction equally good for all.

    `m_t ← β₁ m_t + (1 − β₁) g_t`, `m̂_t = m_t / (1 − β₁^k_t)` after k_t updates, and
    `m̂ = (Σ_t m̂_t·u) u` with `u = U(M⁺ 1)`, M the matrix of the unit vectors of the m̂_t:
    u has the same cosine with all of them (ConFIG). In the k-th step the gradient whose
    momentum would be m̂ is `g = (m − β₁ m') / (1 − β₁)`, with `m = (1 − β₁^k) m̂` and m'
    that of the step before. It is the direction: with the optimizer
    `optax.adam(lr, b1=beta1)` the parameters move by `m̂ / (√v̂ + eps)`, v the average of
    g², exactly the paper's update. Heads get weight 1.
    State: m_t, one gradient a task (T times the memory of the shared parameters), m and
    step counts.

    Args:
        beta1: β₁, in [0, 1).
        update_tasks: "all" momenta every step; or "one" after the other in turn, which
            in the paper costs one backward pass a step. Here all gradients are made
            either way, and "one" is for comparison with it.
        output: "gradient", g, for Adam; or "momentum", m̂ itself, for an optimizer
            without a momentum of its own.

    Returns:
        A `GradientAggregator`. It has no meaning at the representation.

    Raises:
        ValueError: a number out of its range; an unknown word; `init` without the
            parameters.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [-3.0, 4.0]])
        >>> direction = aggregate(momentum_config(), jacobian).direction
        >>> [round(float(d), 3) for d in direction]
        [1.2, 2.4]

    References:
        Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed
        Neural Networks, ICLR 2025.

    The authors' code divides by √v̂ itself and is meant for plain gradient descent; g
    leaves that to the optimizer, whose schedule and eps then apply. A task without an
    update yet is left out (there, nothing moves before each had one). Where momenta
    are linearly dependent M⁺ is the pseudo-inverse, with a rank to the rounding of
    their inner products; opposite momenta give 0. An absent task has no part in the
    step and keeps its momentum.
    """
    checks.number("momentum_config", "beta1", beta1, at_least=0, below=1)
    if update_tasks not in ("all", "one"):
        raise unknown_name(
            "update_tasks of momentum_config", update_tasks, ["all", "one"]
        )
    if output not in ("gradient", "momentum"):
        raise unknown_name(
            "output of momentum_config", output, ["gradient", "momentum"]
        )

    def init(num_tasks: int, params: PyTree | None = None) -> MomentumConFIGState:
        momenta = task_rows.zeros("momentum_config", num_tasks, params)
        combined = jax.tree.map(lambda m: jnp.zeros_like(m[0]), momenta)
        return MomentumConFIGState(
            momenta=momenta,
            num_seen=jnp.zeros(num_tasks, jnp.int32),
            step=jnp.zeros((), jnp.int32),
            turn=jnp.zeros((), jnp.int32),
            combined=combined if output == "gradient" else None,
        )

    def refreshed(keep: Array, turn: Array) -> tuple[Array, Array]:
        """The tasks whose momentum gets a new gradient, and the next turn."""
        if update_tasks == "all":
            return keep, turn
        t = keep.shape[0]
        wait = (jnp.arange(t, dtype=jnp.int32) - turn) % t  # steps until its turn
        wait = jnp.where(keep, wait, t)
        least = jnp.min(wait)
        now = keep & (wait == least)
        return now, jnp.where(least < t, (turn + least + 1) % t, turn)

    def update(
        task_grads: PyTree,
        state: MomentumConFIGState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, MomentumConFIGState]:
        del extra
        dtype = base.state_dtype()
        keep = base.keep_mask(mask, state.num_seen.shape[0])
        now, turn = refreshed(keep, state.turn)
        num_seen = state.num_seen + now.astype(jnp.int32)
        step = state.step + jnp.any(keep).astype(jnp.int32)
        rate = jnp.broadcast_to(jnp.asarray(1 - beta1, dtype), keep.shape)
        momenta = task_rows.average(rate, state.momenta, task_grads, now)

        usable = keep & (num_seen > 0)
        gramian = tree.gramian(momenta)
        weigh = precision.in_float64(_config(float(jnp.finfo(gramian.dtype).eps)))
        weights = weigh(gramian, jnp.asarray(beta1, dtype), num_seen, usable)
        found = tree.combine(weights, momenta)  # m̂
        combined = None
        if output == "gradient":
            grown = 1 - jnp.asarray(beta1, dtype) ** jnp.maximum(step, 1)
            moves = jnp.any(keep)

            def grow(new: Array, old: Array) -> Array:
                return jnp.where(moves, (grown * new).astype(old.dtype), old)

            def last_part(new: Array, old: Array) -> Array:
                return jnp.where(moves, (new - beta1 * old) / (1 - beta1), 0)

            combined = jax.tree.map(grow, found, state.combined)
            found = jax.tree.map(last_part, combined, state.combined)
        state = MomentumConFIGState(momenta, num_seen, step, turn, combined)
        return task_rows.cast_like(found, task_grads), keep.astype(dtype), state

    return base.GradientAggregator(init, update, at_representation=False)


def _config(rounding: float) -> Callable[..., Array]:
    """The weights of the momenta; `rounding` is that of the Gramian's entries."""

    def weigh(gramian: Array, beta1: Array, num_seen: Array, keep: Array) -> Array:
        grown = 1 - beta1 ** jnp.maximum(num_seen, 1)
        cosines, norms = spectrum.correlation(gramian, keep)
        kept = norms > 0
        y = spectrum.pinv_solve(cosines, kept.astype(norms.dtype), rounding, kept)
        shared = cosines @ y  # the products of Mᵀy with the unit vectors
        square = y @ shared
        length = jnp.sum(norms / grown * shared)
        scale = jnp.where(square > 0, length / jnp.where(square > 0, square, 1), 0)
        inverse = jnp.where(kept, 1 / jnp.where(kept, norms, 1), 0)
        return scale * y * inverse  # of m_t, which is (1 − β₁^k) m̂_t

    return weigh

"""Multi-objective gradient descent with double sampling (MoDo)."""

from typing import NamedTuple

import jax.numpy as jnp

from mtl_jax.solvers import precision, simplex
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks, shares


class MoDoState(NamedTuple):
    """The task weights, updated every step."""

    weights: Array  # [T] float32, λ on the simplex


def modo(
    gamma: float = 0.1, rho: float = 0.1, samples: int = 3
) -> base.GramianWeighting:
    """Move the weights of MGDA one unbiased stochastic gradient step a batch.

    `λ ← Proj(λ − γ (J₁ J₂ᵀ λ + ρ λ))` on the simplex, one step of descent of
    `½‖Jᵀλ‖² + ½ρ‖λ‖²` from independent parts 1 and 2 of the batch, and `d = J₃ᵀ λ`.
    The square of one noisy gradient would be biased. The weights sum to 1. Cost: three
    small batches in place of one. Heads get weight 1. State: λ.

    Args:
        gamma: γ, learning rate of the weights.
        rho: ρ, pulls the weights to equality.
        samples: 3, as in the paper's analysis; 2, where the second part also carries
            the weights; or 1, the Gramian of the whole batch: biased and cheaper.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> result = aggregate(modo(), jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> [round(float(w), 3) for w in result.weights]
        [0.575, 0.425]

    References:
        Chen, Fernando, Ying and Chen, Three-Way Trade-Off in Multi-Objective Learning:
        Optimization, Generalization and Conflict-Avoidance, NeurIPS 2023.

    Not invariant to the scale of the losses: the step of the weights is γ times a
    squared gradient, as published. Some code of the authors' steps along the sum over
    two parts, twice as far. An absent task keeps its weight; the others share theirs.
    """
    checks.number("modo", "gamma", gamma, at_least=0)
    checks.number("modo", "rho", rho, at_least=0)
    if samples not in (1, 2, 3):
        raise ValueError(f"modo was given samples={samples!r}; it must be 1, 2 or 3")

    @precision.in_float64
    def step(
        gramian: Array, weights: Array, keep: Array, gamma: Array, rho: Array
    ) -> tuple[Array, Array]:
        present = shares.of_present(weights, keep)
        slope = gramian @ present + rho * present
        present = simplex.project_simplex(present - gamma * slope, keep)
        return present, shares.put_back(weights, present, keep)

    def init(num_tasks: int, params: object = None) -> MoDoState:
        del params
        return MoDoState(jnp.full(num_tasks, 1 / num_tasks, base.state_dtype()))

    def update(
        gramian: Array,
        state: MoDoState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, MoDoState]:
        del extra
        keep = base.keep_mask(mask, gramian.shape[0])
        weights, memory = step(
            gramian, state.weights, keep, jnp.asarray(gamma), jnp.asarray(rho)
        )
        return weights, MoDoState(memory.astype(state.weights.dtype))

    return base.GramianWeighting(init, update, num_samples=samples)

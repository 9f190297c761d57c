"""Krum and multi-Krum."""

from collections.abc import Callable

import jax.numpy as jnp

from mtl_jax.solvers import precision
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks, shares


def krum(
    n_byzantine: int = 1, n_selected: int = 1, squared: bool = True
) -> base.GramianWeighting:
    """Take the gradients that lie closest to their neighbours, and drop the rest.

    A task's score is the sum of the squared distances from its gradient to the
    `T − f − 2` nearest others, f = `n_byzantine`. The m = `n_selected` tasks with the
    lowest scores get weight 1/m each, the others 0; m > 1 is multi-Krum. Of equal
    scores the task with the smallest number is taken, as in the paper; scores are equal
    that differ by no more than the rounding of the Gramian. Heads get weight 1. No
    state.

    Args:
        n_byzantine: f, how many gradients may be arbitrarily wrong. The paper's
            guarantee needs `T ≥ 2f + 3`, the definition `T ≥ f + 3`.
        n_selected: m.
        squared: false sums the distances themselves, another published form.

    Returns:
        A `GramianWeighting`.

    Raises:
        ValueError: a number out of its range; too few tasks.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 0.0], [1.1, 0.0], [0.8, 0.1], [-9.0, 9.0]])
        >>> aggregate(krum(), jacobian).weights.tolist()
        [1.0, 0.0, 0.0, 0.0]

    References:
        Blanchard, El Mhamdi, Guerraoui and Stainer, Machine Learning with Adversaries:
        Byzantine Tolerant Gradient Descent, NeurIPS 2017.

    Where so many tasks are absent that less than one neighbour is left, the nearest
    one counts, and of one task alone its gradient is taken; where fewer than m are
    present, m is their number.
    """
    checks.integer("krum", "n_byzantine", n_byzantine, at_least=0)
    checks.integer("krum", "n_selected", n_selected, at_least=1)

    def init(num_tasks: int, params: object = None) -> base.EmptyState:
        del params
        if num_tasks < n_byzantine + 3:
            raise ValueError(
                f"krum(n_byzantine={n_byzantine}) was given {num_tasks} tasks; each "
                f"needs T - {n_byzantine} - 2 neighbours, so give {n_byzantine + 3} "
                "tasks or more, or a smaller n_byzantine"
            )
        if n_selected > num_tasks:
            raise ValueError(
                f"krum was given n_selected={n_selected} and {num_tasks} tasks; it "
                "selects some of the tasks"
            )
        return base.EmptyState()

    def update(
        gramian: Array,
        state: base.EmptyState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, base.EmptyState]:
        del extra
        keep = base.keep_mask(mask, gramian.shape[0])
        rounding = 4 * float(jnp.finfo(gramian.dtype).eps)
        select = precision.in_float64(
            _selection(n_byzantine, n_selected, squared, rounding)
        )
        return select(gramian, keep), state

    return base.GramianWeighting(init, update)


def _selection(
    n_byzantine: int, n_selected: int, squared: bool, rounding: float
) -> Callable[[Array, Array], Array]:
    """The method on arrays; `rounding` is the relative error of a squared distance."""

    def select(gramian: Array, keep: Array) -> Array:
        t = gramian.shape[0]
        index = jnp.arange(t, dtype=jnp.int32)
        n = jnp.sum(keep, dtype=jnp.int32)
        neighbours = jnp.clip(n - n_byzantine - 2, 1, jnp.maximum(n - 1, 0))
        squares = jnp.diagonal(gramian)
        sums = squares[:, None] + squares[None, :]
        distances = sums - gramian - gramian.T
        distances = jnp.where(distances <= rounding * sums, 0, distances)
        if not squared:
            distances = jnp.sqrt(distances)
        others = keep[:, None] & keep[None, :] & (index[:, None] != index[None, :])
        near = jnp.sort(jnp.where(others, distances, jnp.inf), axis=1)
        near = jnp.where(index[None, :] < neighbours, near, 0)
        scores = jnp.where(keep, jnp.sum(near, axis=1), jnp.inf)
        # ‖g_i‖² + ‖g_j‖² ≤ 3 ‖g_i‖² + 2 ‖g_i − g_j‖², and d√x = dx / 2√x.
        far = jnp.where(near > 0, near, 1)
        noise = 3 * squares[:, None] / (1 if squared else far) + 2 * near
        noise = rounding * jnp.sum(jnp.where(near > 0, noise, 0), axis=1)

        m = jnp.minimum(n_selected, n)
        last = jnp.sum(jnp.where(index == m - 1, jnp.sort(scores), 0))
        slack = noise + jnp.max(jnp.where(scores == last, noise, 0), initial=0)
        better = keep & (scores < last - slack)
        tied = keep & ~better & (scores <= last + slack)
        left = m - jnp.sum(better, dtype=jnp.int32)
        taken = better | (tied & (jnp.cumsum(tied, dtype=jnp.int32) <= left))
        return shares.uniform(taken, gramian.dtype)

    return select

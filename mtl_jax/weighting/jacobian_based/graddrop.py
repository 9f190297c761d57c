"""Gradient sign dropout (GradDrop)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks


def graddrop(leak: float | Sequence[float] | Array = 0.0) -> base.GradientAggregator:
    """Keep, coordinate by coordinate, only the gradients of one random sign.

    Per coordinate `P = ½ (1 + Σ_t g_t / Σ_t |g_t|)` (eq. 1 of the paper); with
    probability P the positive entries pass and the negative ones are dropped, else the
    other way round. `d = Σ_t (ℓ_t + (1 − ℓ_t) M_t) ⊙ g_t` with the masks `M_t` and the
    leaks `ℓ_t` (algorithm 1). Heads get weight 1. No state.

    At the representation, gradients of different examples belong to different inputs:
    as in algorithm 1, they are multiplied by the sign of the representation and summed
    over the batch to form P, and one mask serves the whole batch.

    Args:
        leak: ℓ, a number or one a task, in [0, 1]; at 1 nothing is dropped.

    Returns:
        A `GradientAggregator` that needs the keyword `key`.

    Raises:
        ValueError: a leak out of [0, 1], or another number of them than tasks; no key.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> jacobian = jnp.array([[1.0, 2.0], [3.0, -2.0]])
        >>> direction = aggregate(graddrop(), jacobian, key=jax.random.key(0)).direction
        >>> float(direction[0]), abs(float(direction[1]))
        (4.0, 2.0)

    References:
        Chen, Ngiam, Huang, Luong, Kretzschmar, Chai and Anguelov, Just Pick a Sign:
        Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS 2020.

    One published re-implementation reverses the meaning of the leak; here it is the
    paper's.
    """
    checks.number("graddrop", "leak", leak, at_least=0, at_most=1)

    def init(num_tasks: int, params: object = None) -> base.EmptyState:
        del params
        checks.one_or_per_task("graddrop", "leak", leak, num_tasks)
        return base.EmptyState()

    def one_leaf(grads: Array, primal: Array | None, key: Array, kept: Array) -> Array:
        wide = grads.astype(jnp.promote_types(grads.dtype, jnp.float32))
        signed = wide
        if primal is not None:
            signed = jnp.sum(wide * jnp.sign(primal).astype(wide.dtype), axis=1)
        total = jnp.sum(jnp.abs(signed), axis=0)
        share = jnp.sum(signed, axis=0) / jnp.where(total > 0, total, 1)
        purity = 0.5 * (1 + share)
        positive = jax.random.uniform(key, purity.shape, purity.dtype) < purity
        passes = jnp.where(positive, signed > 0, signed < 0)
        if primal is not None:
            passes = jnp.expand_dims(passes, 1)
        ell = kept.astype(wide.dtype).reshape((-1,) + (1,) * (grads.ndim - 1))
        return jnp.sum(wide * jnp.where(passes, 1, ell), axis=0).astype(grads.dtype)

    def update(
        task_grads: PyTree,
        state: base.EmptyState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        primal: PyTree | None = None,
        **extra: object,
    ) -> tuple[PyTree, Array, base.EmptyState]:
        del extra
        if key is None:
            raise ValueError("graddrop draws signs: update needs key=jax.random.key(…)")
        leaves, treedef = jax.tree.flatten(task_grads)
        primals = [None] * len(leaves) if primal is None else jax.tree.leaves(primal)
        t = leaves[0].shape[0]
        kept = jnp.broadcast_to(jnp.asarray(leak, base.state_dtype()), (t,))
        keys = jax.random.split(key, len(leaves))
        direction = [
            one_leaf(g, p, k, kept)
            for g, p, k in zip(leaves, primals, keys, strict=True)
        ]
        heads = base.keep_mask(mask, t).astype(jnp.float32)
        return jax.tree.unflatten(treedef, direction), heads, state

    return base.GradientAggregator(init, update)

"""Gradient normalization (GradNorm)."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks, shares
from mtl_jax.weighting.algebra import restrict

_VARIANTS = ("paper", "libmtl_softmax")
_FLOOR = 1e-3


class GradNormState(NamedTuple):
    """What is learned, and the losses that a task's progress is measured by."""

    learned: Array  # [T] float32, w ("paper") or its logits s ("libmtl_softmax")
    initial: Array  # [T] float32, sum of the first losses
    num_initial: Array  # [T] float32, how many they are; 0 before the first


def gradnorm(
    alpha: float = 1.5,
    lr_w: float = 0.025,
    variant: Literal["paper", "libmtl_softmax"] = "paper",
    where: str | Callable[[Any], Any] = "last",
) -> base.GramianWeighting:
    """Learn weights that let all tasks train at similar rates.

    `G_t = w_t ‖g_t‖` is how strongly task t pulls at the parameters `where`, and
    `r_t = L̃_t / mean L̃`, `L̃_t = L_t / L_t(0)`, how little it has learned. The weights
    make one gradient step per batch towards equal `G_t / r_t^α`: they descend
    `Σ_t |G_t − Ḡ r_t^α|` with the target `Ḡ r_t^α`, `Ḡ = mean G`, held constant (eq. 2
    of the paper), so that w_t moves by `lr_w ‖g_t‖` up or down. Then they are scaled to
    sum T. The gradients of a step get the weights from before it, as in algorithm 1.
    Heads get the same weights. State: the weights and the initial losses.

    Args:
        alpha: α, how strongly slow tasks are favoured, at least 0. Published values are
            0.12 for tasks that are much alike, 1.5 for NYUv2, and 2 in other code.
        lr_w: learning rate of the weights; 0.025 in the paper.
        variant: "paper"; or "libmtl_softmax", the form in a widespread library:
            `w = T softmax(s)` with gradient steps on s, unweighted losses in epoch 0,
            whose mean loss is `L(0)`.
        where: the shared parameters whose gradients are measured, as for `restrict`:
            "last" layer, as in the paper; "all"; a regular expression; a function.

    Returns:
        A `GramianWeighting` that needs the keyword `losses`, positive ones.
        "libmtl_softmax" also reads `epoch`; without, the first call is epoch 0.

    Raises:
        ValueError: a number out of its range; unknown variant or part; no losses.

    Example:
        >>> from mtl_jax.weighting import aggregate
        >>> method, jacobian = gradnorm(), jnp.array([[1.0, 0.0], [0.0, 3.0]])
        >>> state = aggregate(method, jacobian).state
        >>> result = aggregate(method, jacobian, state=state)
        >>> [round(float(w), 3) for w in result.weights]
        [1.051, 0.949]

    References:
        Chen, Badrinarayanan, Lee and Rabinovich, GradNorm: Gradient Normalization for
        Adaptive Loss Balancing in Deep Multitask Networks, ICML 2018.

    Not invariant to the scale of the losses: a weight's step is `lr_w` times a gradient
    norm, as published. Where a step makes a weight negative, or smaller than 0.001 of
    the mean, it becomes that; the paper is silent. A negative loss ratio counts as 0.
    The `L(0)` of a task is its loss when it is first present. In "libmtl_softmax" there
    is no such floor, and large gradients can drive a weight to 0 for good; in that
    library heads get weight 1 and the logits follow the optimizer of the model.
    """
    checks.number("gradnorm", "alpha", alpha, at_least=0)
    checks.number("gradnorm", "lr_w", lr_w, at_least=0)
    if variant not in _VARIANTS:
        raise unknown_name("variant of gradnorm", variant, _VARIANTS)
    softmax = variant == "libmtl_softmax"

    def init(num_tasks: int, params: object = None) -> GradNormState:
        del params
        learned = jnp.ones(num_tasks, base.state_dtype())
        return GradNormState(learned, jnp.zeros_like(learned), jnp.zeros_like(learned))

    def mean_of(x: Array, keep: Array) -> Array:
        return shares.uniform(keep, x.dtype) @ x

    def weights_of(learned: Array, keep: Array) -> Array:
        if softmax:
            present = jax.nn.softmax(jnp.where(keep, learned, -jnp.inf))
            present = jnp.where(keep, present, 0)
        else:
            present = shares.of_present(learned, keep)
        return jnp.sum(keep) * present

    def step(learned: Array, w: Array, slope: Array, keep: Array) -> Array:
        """The learned values after one descent along dL/dw = slope."""
        if softmax:
            slope = w * (slope - mean_of(w * slope, keep))
            return jnp.where(keep, learned - lr_w * slope, learned)
        new = shares.of_present(jnp.maximum(w - lr_w * slope, 0), keep)
        least = _FLOOR * shares.uniform(keep, new.dtype)
        new = shares.of_present(jnp.maximum(new, least), keep)
        return shares.put_back(learned, new, keep)

    def update(
        gramian: Array,
        state: GradNormState,
        *,
        losses: Array | None = None,
        mask: Array | None = None,
        epoch: Array | int | None = None,
        **extra: object,
    ) -> tuple[Array, GradNormState]:
        del extra
        if losses is None:
            raise ValueError("gradnorm compares loss ratios: update needs losses=[T]")
        t, dtype = gramian.shape[0], state.learned.dtype
        keep = base.keep_mask(mask, t)
        losses = losses.astype(dtype)
        started = jnp.any(state.num_initial > 0) if epoch is None else epoch > 0
        first = keep & (state.num_initial == 0)
        if softmax:
            first |= keep & ~jnp.asarray(started)
        initial = state.initial + jnp.where(first, losses, 0)
        num_initial = state.num_initial + first

        norms = jnp.where(keep, jnp.sqrt(jnp.diagonal(gramian).astype(dtype)), 0)
        w = weights_of(state.learned, keep)
        known = keep & (initial > 0)
        ratio = num_initial * losses / jnp.where(known, initial, 1)
        ratio = jnp.where(keep, jnp.where(known, jnp.maximum(ratio, 0), 1), 0)
        mean = mean_of(ratio, keep)
        rate = jnp.where(mean > 0, ratio / jnp.where(mean > 0, mean, 1), 1)
        pull = w * norms
        target = mean_of(pull, keep) * rate**alpha
        learned = step(state.learned, w, jnp.sign(pull - target) * norms, keep)
        if softmax:
            learned = jnp.where(started, learned, state.learned)
        state = GradNormState(learned.astype(dtype), initial, num_initial)
        return w.astype(gramian.dtype), state

    return base.GramianWeighting(
        init,
        update,
        weigh_heads=True,
        needs_epoch=softmax,
        where=restrict.selector(where),
    )

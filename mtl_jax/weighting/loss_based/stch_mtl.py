"""Smooth Tchebycheff scalarisation as its authors train networks with it."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class STCHMTLState(NamedTuple):
    """The losses of the last epoch of the warm-up."""

    # Updated every step
    epoch: Array  # [] int32, the running epoch; -1 before the first step
    # Updated during the warm-up
    of_epoch: Array  # [T] int32, the epoch that `total` belongs to
    total: Array  # [T] float32, sum of that epoch's losses
    num_steps: Array  # [T] float32, steps in which the task had labels


def stch_mtl(
    mu: float = 1.0,
    warmup_epochs: int = 4,
    nadir: Sequence[float] | Array | None = None,
) -> base.LossWeighting:
    """Descend a smooth maximum of the logarithms of the losses, after a warm-up.

    During the warm-up `w_t = 1 / L_t`, as in `si`. After it the objective is
    `T μ log Σ_t exp(log(L_t / n_t) / μ)` with the nadir n, the mean losses of the
    warm-up's last epoch, so that `w_t = T softmax_t(log(L / n) / μ) / L_t`: the task
    whose loss has fallen least counts most. T counts the tasks that have labels in the
    batch. Heads get the same weights. State: the sums for n.

    Args:
        mu: μ; for μ → 0 the largest ratio counts alone, for large μ all count alike.
        warmup_epochs: number of epochs of the warm-up.
        nadir: n, `[T]`, positive; default: measured, which needs a warm-up.

    Returns:
        A `LossWeighting` that reads the keyword `epoch` of `update`. Where `epoch` is
        `None`, every call is an epoch of its own. Losses must be positive: if one is
        not, all weights are NaN, and the step is skipped.

    Raises:
        ValueError: a hyper-parameter out of its range; neither nadir nor warm-up.

    Example:
        >>> method = stch_mtl(mu=0.5, warmup_epochs=1)
        >>> losses = jnp.array([[1.0, 4.0], [0.5, 4.0]])
        >>> weights, state = method.update(losses[0], method.init(2), epoch=0)
        >>> weights.tolist()
        [1.0, 0.25]
        >>> weights, state = method.update(losses[1], state, epoch=1)
        >>> [round(float(w), 3) for w in weights]
        [0.8, 0.4]

    References:
        Lin, Zhang, Yang, Liu, Wang and Zhang, Smooth Tchebycheff Scalarization for
        Multi-Objective Optimization, ICML 2024 (the authors' code for multi-task
        learning).

    The authors' code measures n in one epoch more than its warm-up is said to have: its
    4 is `warmup_epochs=5` here. It adds 1e-20 to `L / n`. A task without labels in the
    warm-up's last epoch has the mean of the last epoch in which it had some, and one
    without any during the warm-up its first loss after it.
    """
    checks.number("stch_mtl", "mu", mu, above=0)
    checks.integer("stch_mtl", "warmup_epochs", warmup_epochs, at_least=0)
    if nadir is not None:
        checks.number("stch_mtl", "nadir", nadir, above=0)
    elif warmup_epochs == 0:
        raise ValueError(
            "stch_mtl was given warmup_epochs=0 and no nadir; it measures the nadir in "
            "the last epoch of the warm-up: give it one epoch at least, or a nadir"
        )

    def init(num_tasks: int, params: object = None) -> STCHMTLState:
        del params
        if nadir is not None:
            checks.per_task("stch_mtl", "nadir", nadir, num_tasks)
        return STCHMTLState(
            epoch=jnp.full((), -1, jnp.int32),
            of_epoch=jnp.full(num_tasks, -1, jnp.int32),
            total=jnp.zeros(num_tasks, base.state_dtype()),
            num_steps=jnp.zeros(num_tasks, base.state_dtype()),
        )

    def measure(
        losses: Array, state: STCHMTLState, usable: Array, now: Array
    ) -> STCHMTLState:
        late = (now >= warmup_epochs) & (state.num_steps == 0)
        counts = usable & ((now < warmup_epochs) | late)
        anew = counts & (state.of_epoch != now)
        total = jnp.where(anew, 0, state.total) + jnp.where(counts, losses, 0)
        num_steps = jnp.where(anew, 0, state.num_steps) + counts
        of_epoch = jnp.where(counts, now, state.of_epoch)
        return STCHMTLState(now, of_epoch, total, num_steps)

    def update(
        losses: Array,
        state: STCHMTLState,
        *,
        mask: Array | None = None,
        epoch: Array | int | None = None,
        **extra: object,
    ) -> tuple[Array, STCHMTLState]:
        del extra
        t = losses.shape[0]
        keep = base.keep_mask(mask, t)
        positive = losses > 0
        wide = jnp.where(positive, losses, 1).astype(state.total.dtype)
        now = jnp.asarray(state.epoch + 1 if epoch is None else epoch, jnp.int32)
        state = measure(wide, state, keep & positive, now)
        if nadir is None:
            seen = state.num_steps > 0
            worst = jnp.where(seen, state.total, 1) / jnp.where(
                seen, state.num_steps, 1
            )
        else:
            worst = checks.per_task("stch_mtl", "nadir", nadir, t)
        fall = jnp.log(wide) - jnp.log(worst)
        below = fall - jnp.max(jnp.where(keep, fall, -jnp.inf))
        softmax = jax.nn.softmax(jnp.where(keep, below / mu, -jnp.inf))
        share = jnp.where(now < warmup_epochs, 1, jnp.sum(keep) * softmax)
        defined = jnp.all(positive | ~keep)
        weights = jnp.where(defined, share / wide, jnp.nan)
        return jnp.where(keep, weights, 0).astype(losses.dtype), state

    return base.LossWeighting(init, update, needs_epoch=True)

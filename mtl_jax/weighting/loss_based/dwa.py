"""Dynamic weight average (DWA)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class DWAState(NamedTuple):
    """Mean losses of the two epochs before, and of the running one."""

    # Updated when an epoch ends
    epoch: Array  # [] int32, the running epoch; -1 before the first step
    last: Array  # [T] float32, mean losses of the epoch before
    second_last: Array  # [T] float32, of the epoch before that
    num_last: Array  # [T] int32, how many of the two are filled, per task
    # Updated every step
    total: Array  # [T] float32, sum of the running epoch's losses
    num_steps: Array  # [T] float32, steps in which the task had labels


class DWAWindowState(NamedTuple):
    """The losses of the last two windows of W steps each, updated every step."""

    losses: Array  # [2W, T] float32, newest last; ones before the first step
    num_steps: Array  # [T] int32, steps in which the task had labels, W + 2 at most


def dwa(temperature: float = 2.0, window: int | None = None) -> base.LossWeighting:
    """Weigh each task by how slowly its loss fell over the last two epochs.

    `w_t = T softmax_t(r_t / temperature)` with `r_t = L_t(e−1) / L_t(e−2)`, the ratio
    of the mean losses of the two epochs before epoch e (eq. 7 of the paper); `w = 1`
    in the first two epochs. The weights sum to T. Heads get the same weights.
    State: the mean losses of two epochs and the running sums.

    With `window=W` the ratio is that of the mean losses of the last W steps and of the
    W steps before them, and epochs play no part. Steps before the first count as losses
    of 1, the weights are equal in the first W + 1 steps, and they sum to 1 (that is how
    the code this variant comes from scales them). State: the losses of 2 W steps.

    Args:
        temperature: softness of the softmax; the paper's 2.
        window: W, a number of steps, instead of epochs; other authors use 25.

    Returns:
        A `LossWeighting`. Without a window it reads the keyword `epoch` of `update`;
        where `epoch` is `None`, every call is an epoch of its own.

    Raises:
        ValueError: a hyper-parameter out of its range.

    Example:
        >>> method = dwa()
        >>> state = method.init(2)
        >>> for epoch, losses in enumerate([[4.0, 4.0], [2.0, 4.0], [1.0, 1.0]]):
        ...     weights, state = method.update(jnp.array(losses), state, epoch=epoch)
        >>> [round(float(w), 3) for w in weights]
        [0.876, 1.124]

    References:
        Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention,
        CVPR 2019, section 4.1.4.

    A task without labels for a whole epoch keeps the history it had, and with a window
    one without labels in a step does; one whose earlier mean loss is zero gets the
    ratio 1.
    """
    checks.number("dwa", "temperature", temperature, above=0)
    if window is None:
        return _by_epochs(temperature)
    checks.integer("dwa", "window", window, at_least=1)
    return _by_windows(temperature, window)


def _softmax_of_ratio(
    last: Array, before: Array, usable: Array, keep: Array, temperature: float
) -> Array:
    usable = usable & (before != 0)
    ratio = jnp.where(usable, last / jnp.where(usable, before, 1), 1)
    return jax.nn.softmax(jnp.where(keep, ratio / temperature, -jnp.inf))


def _by_epochs(temperature: float) -> base.LossWeighting:
    def init(num_tasks: int, params: object = None) -> DWAState:
        del params

        def zeros() -> Array:
            return jnp.zeros(num_tasks, base.state_dtype())

        return DWAState(
            epoch=jnp.full((), -1, jnp.int32),
            last=zeros(),
            second_last=zeros(),
            num_last=jnp.zeros(num_tasks, jnp.int32),
            total=zeros(),
            num_steps=zeros(),
        )

    def close_epoch(state: DWAState, epoch: Array) -> DWAState:
        seen = state.num_steps > 0
        mean = state.total / jnp.where(seen, state.num_steps, 1)
        return DWAState(
            epoch=epoch,
            last=jnp.where(seen, mean, state.last),
            second_last=jnp.where(seen, state.last, state.second_last),
            num_last=jnp.where(
                seen, jnp.minimum(state.num_last + 1, 2), state.num_last
            ),
            total=jnp.zeros_like(state.total),
            num_steps=jnp.zeros_like(state.num_steps),
        )

    def update(
        losses: Array,
        state: DWAState,
        *,
        mask: Array | None = None,
        epoch: Array | int | None = None,
        **extra: object,
    ) -> tuple[Array, DWAState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        now = jnp.asarray(state.epoch + 1 if epoch is None else epoch, jnp.int32)
        closed = close_epoch(state, now)
        state = jax.tree.map(
            lambda a, b: jnp.where(now != state.epoch, a, b), closed, state
        )
        full = state.num_last == 2
        softmax = _softmax_of_ratio(
            state.last, state.second_last, full, keep, temperature
        )
        weights = jnp.sum(keep) * softmax
        started = jnp.all(full | ~keep)
        weights = jnp.where(keep, jnp.where(started, weights, 1), 0)
        state = state._replace(
            total=state.total + jnp.where(keep, losses, 0).astype(state.total.dtype),
            num_steps=state.num_steps + keep,
        )
        return weights.astype(losses.dtype), state

    return base.LossWeighting(init, update, needs_epoch=True)


def _by_windows(temperature: float, window: int) -> base.LossWeighting:
    def init(num_tasks: int, params: object = None) -> DWAWindowState:
        del params
        return DWAWindowState(
            losses=jnp.ones((2 * window, num_tasks), base.state_dtype()),
            num_steps=jnp.zeros(num_tasks, jnp.int32),
        )

    def update(
        losses: Array,
        state: DWAWindowState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, DWAWindowState]:
        del extra
        keep = base.keep_mask(mask, losses.shape[0])
        newest = losses[None].astype(state.losses.dtype)
        moved = jnp.concatenate([state.losses[1:], newest])
        state = DWAWindowState(
            losses=jnp.where(keep, moved, state.losses),
            num_steps=jnp.minimum(state.num_steps + keep, window + 2),
        )
        before, last = jnp.mean(state.losses.reshape(2, window, -1), axis=1)
        full = state.num_steps > window + 1
        softmax = _softmax_of_ratio(last, before, full, keep, temperature)
        equal = 1 / jnp.maximum(jnp.sum(keep), 1)
        weights = jnp.where(jnp.all(full | ~keep), softmax, equal)
        return jnp.where(keep, weights, 0).astype(losses.dtype), state

    return base.LossWeighting(init, update)

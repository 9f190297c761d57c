"""Dynamic weight average (DWA)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base


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


def dwa(temperature: float = 2.0) -> base.LossWeighting:
    """Weigh each task by how slowly its loss fell over the last two epochs.

    `w_t = T softmax_t(r_t / temperature)` with `r_t = L_t(e−1) / L_t(e−2)`, the ratio
    of the mean losses of the two epochs before epoch e (eq. 7 of the paper); `w = 1`
    in the first two epochs. The weights sum to T. Heads get the same weights.
    State: the mean losses of two epochs and the running sums.

    Args:
        temperature: softness of the softmax; the paper's 2.

    Returns:
        A `LossWeighting` that reads the keyword `epoch` of `update`. Where `epoch` is
        `None`, every call is an epoch of its own.

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

    A task without labels for a whole epoch keeps the history it had; one whose loss
    of two epochs ago is zero gets the ratio 1.
    """

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
        usable = (state.num_last == 2) & (state.second_last != 0)
        ratio = jnp.where(
            usable, state.last / jnp.where(usable, state.second_last, 1), 1
        )
        softmax = jax.nn.softmax(jnp.where(keep, ratio / temperature, -jnp.inf))
        weights = jnp.sum(keep) * softmax
        started = jnp.all(jnp.where(keep, state.num_last == 2, True))
        weights = jnp.where(keep, jnp.where(started, weights, 1), 0)
        state = state._replace(
            total=state.total + jnp.where(keep, losses, 0).astype(state.total.dtype),
            num_steps=state.num_steps + keep,
        )
        return weights.astype(losses.dtype), state

    return base.LossWeighting(init, update, needs_epoch=True)

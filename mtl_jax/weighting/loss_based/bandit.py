"""Alternating training whose task is chosen by a bandit on the learning progress."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class BanditState(NamedTuple):
    """What the bandit has learnt, and its last choice; updated every step."""

    log_weights: Array  # [T] float32, the largest is 0
    chosen: Array  # [] int32, the task of this step; -1 where there was none
    probability: Array  # [] float32, with which it was chosen
    num_steps: Array  # [] int32, steps with a task, so far
    total: Array  # [] float32, sum of the sizes of the gains so far


def bandit(step_size: float = 0.01, explore: float = 0.05) -> base.LossWeighting:
    """Train one task a step, and more often those that are learnt from.

    Exp3.S on the prediction gain (sections 3.2 and 4.1.1 of the paper). With N tasks,

        π = (1 − ε) softmax(ω) + ε/N, a drawn from π, and its weight is 1, others' 0
        gain = L_a(θ) − L_a(θ'), of the batch before and after the step
        r = clip(gain / scale, −1, 1), and r̃_a = r / π_a, r̃_i = 0 for the others
        ω_i ← log((1 − α) exp(ω_i + η r̃_i) + α/(N−1) Σ_{j≠i} exp(ω_j + η r̃_j))

    and `α = 1/(t+1)` after step t = 1, 2, …: in the paper, whose `α_t = 1/t` belongs to
    the weights of step t, those of the first step are ω = 0, and its gain enters those
    of the second, with α = 1/2. Heads get the same weights. State: ω and the choice.

    Args:
        step_size: η.
        explore: ε, in [0, 1]; above 0, so that no task is given up.

    Returns:
        A `LossWeighting` that needs the keyword `key` of `update`, and a second forward
        pass for the loss after the step.

    Raises:
        ValueError: a hyper-parameter out of its range; no key.

    Example:
        >>> method, losses = bandit(step_size=0.2), jnp.ones(2)
        >>> state = method.init(2)
        >>> for i in range(200):  # the second task learns, the first does not
        ...     weights, state = method.update(losses, state, key=jax.random.key(i))
        ...     state = method.observe(losses, jnp.array([1.0, 0.8]), state)
        >>> bool(jax.nn.softmax(state.log_weights)[1] > 0.9)
        True

    References:
        Graves, Bellemare, Menick, Munos and Kavukcuoglu, Automated Curriculum Learning
        for Neural Networks, ICML 2017, equations 7 to 9.

    The paper maps gains to [−1, 1] by the quantiles of a sample of all gains; here the
    scale is twice the mean size of the gains so far, which keeps the sign of a gain.
    Its η is 0.001, for runs a hundred times as long as ours. A gain is in units of the
    loss: of losses in different units, the one in the largest numbers is chosen most.
    """
    checks.number("bandit", "step_size", step_size, above=0)
    checks.number("bandit", "explore", explore, above=0, at_most=1)

    def init(num_tasks: int, params: object = None) -> BanditState:
        del params
        dtype = base.state_dtype()
        return BanditState(
            log_weights=jnp.zeros(num_tasks, dtype),
            chosen=jnp.full((), -1, jnp.int32),
            probability=jnp.ones((), dtype),
            num_steps=jnp.zeros((), jnp.int32),
            total=jnp.zeros((), dtype),
        )

    def update(
        losses: Array,
        state: BanditState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, BanditState]:
        del extra
        if key is None:
            raise ValueError(
                "bandit draws the task: update needs key=jax.random.key(…)"
            )
        keep = base.keep_mask(mask, losses.shape[0])
        number = jnp.maximum(jnp.sum(keep), 1)
        omega = jnp.where(keep, state.log_weights, -jnp.inf)
        softmax = jnp.where(jnp.any(keep), jax.nn.softmax(omega), 0)
        policy = jnp.where(keep, (1 - explore) * softmax + explore / number, 0)
        drawn = jax.random.categorical(key, jnp.where(keep, jnp.log(policy), -jnp.inf))
        chosen = jnp.where(jnp.any(keep), drawn, -1).astype(jnp.int32)
        one = (jnp.arange(losses.shape[0]) == chosen) & keep
        probability = jnp.where(jnp.any(one), jnp.sum(jnp.where(one, policy, 0)), 1)
        state = state._replace(
            chosen=chosen, probability=probability.astype(state.probability.dtype)
        )
        return one.astype(losses.dtype), state

    def observe(
        losses_before: Array,
        losses_after: Array,
        state: BanditState,
        *,
        mask: Array | None = None,
        **extra: object,
    ) -> BanditState:
        del extra
        dtype = state.log_weights.dtype
        keep = base.keep_mask(mask, losses_before.shape[0])
        one = (jnp.arange(losses_before.shape[0]) == state.chosen) & keep
        taken = jnp.any(one)
        gain = jnp.sum(jnp.where(one, losses_before - losses_after, 0)).astype(dtype)
        total = state.total + jnp.abs(gain)
        num_steps = state.num_steps + taken
        scale = 2 * total / jnp.maximum(num_steps, 1)
        reward = jnp.clip(gain / jnp.where(scale > 0, scale, 1), -1, 1)
        moved = state.log_weights + jnp.where(
            one, step_size * reward / state.probability, 0
        )
        number = jnp.sum(keep)
        # Alone there is nobody to share with.
        share = jnp.where(number > 1, 1 / (num_steps + 1), 0)
        sizes = jnp.where(keep, jnp.exp(moved - jnp.max(moved)), 0)
        others = (jnp.sum(sizes) - sizes) / jnp.maximum(number - 1, 1)
        # A size too small for the dtype counts as the least that it has: a finite ω.
        least = jnp.finfo(dtype).tiny
        mixed = jnp.log(jnp.maximum((1 - share) * sizes + share * others, least))
        omega = jnp.where(keep, mixed + jnp.max(moved), state.log_weights)
        return BanditState(
            log_weights=jnp.where(
                taken, omega - jnp.max(omega), state.log_weights
            ).astype(dtype),
            chosen=state.chosen,
            probability=state.probability,
            num_steps=num_steps.astype(jnp.int32),
            total=total.astype(dtype),
        )

    return base.LossWeighting(init, update, observe=observe)

"""Alternating training: one task a step."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array
from mtl_jax.weighting import base, checks


class AlternateState(NamedTuple):
    """Whose turn it was, updated every step."""

    last: Array  # [] int32, the task of the step before; -1 before the first


def alternate(
    sizes: Sequence[float] | Array | None = None, temperature: float = 1.0
) -> base.LossWeighting:
    """Train one task a step: its weight is 1, all others are 0.

    Without `sizes` the tasks take turns in their order (round robin). With them, the
    task of a step is drawn with `p_t ∝ sizes[t]^(1/temperature)`: in proportion to the
    sizes at temperature 1, nearer to uniform above it. A task without labels in a batch
    is passed over, as if it were not there. Heads get the same weights. State: the task
    of the step before.

    The batch still passes through the trunk and all heads, since the tasks label the
    same examples. Where each task has examples of its own, the order "round_robin" or
    "sampled" of `data.per_task` makes batches of one task, which cost no more than that
    task.

    Args:
        sizes: `[T]`, positive: numbers of examples, or any measure of how often a task
            should come.
        temperature: τ, positive; without `sizes` it plays no part.

    Returns:
        A `LossWeighting`; with `sizes` it needs the keyword `key` of `update`. Its
        `init` raises `ValueError` where there is not one size a task.

    Raises:
        ValueError: a size or temperature that is not positive; no key.

    Example:
        >>> method = alternate()
        >>> state = method.init(3)
        >>> for _ in range(4):
        ...     weights, state = method.update(jnp.ones(3), state)
        ...     print(weights.tolist())
        [1.0, 0.0, 0.0]
        [0.0, 1.0, 0.0]
        [0.0, 0.0, 1.0]
        [1.0, 0.0, 0.0]

    References:
        Collobert and Weston, A Unified Architecture for Natural Language Processing:
        Deep Neural Networks with Multitask Learning, ICML 2008, section 4.1 (select the
        next task; a random example of it; a step); Arivazhagan et al., Massively
        Multilingual Neural Machine Translation in the Wild, 2019 (the temperature).
    """
    checks.number("alternate", "temperature", temperature, above=0)
    if sizes is not None:
        checks.number("alternate", "sizes", sizes, above=0)

    def init(num_tasks: int, params: object = None) -> AlternateState:
        del params
        if sizes is not None:
            checks.per_task("alternate", "sizes", sizes, num_tasks)
        return AlternateState(jnp.full((), -1, jnp.int32))

    def update(
        losses: Array,
        state: AlternateState,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        **extra: object,
    ) -> tuple[Array, AlternateState]:
        del extra
        num_tasks = losses.shape[0]
        keep = base.keep_mask(mask, num_tasks)
        places = jnp.arange(num_tasks, dtype=jnp.int32)
        if sizes is None:
            waits = (places - state.last - 1) % num_tasks
            chosen = jnp.argmin(jnp.where(keep, waits, num_tasks))
        else:
            if key is None:
                raise ValueError(
                    "alternate with sizes draws the task: update needs "
                    "key=jax.random.key(…)"
                )
            found = checks.per_task("alternate", "sizes", sizes, num_tasks)
            logits = jnp.where(keep, jnp.log(found) / temperature, -jnp.inf)
            chosen = jax.random.categorical(key, logits)
        last = jnp.where(jnp.any(keep), chosen, state.last).astype(jnp.int32)
        weights = ((places == last) & keep).astype(losses.dtype)
        return weights, AlternateState(last)

    return base.LossWeighting(init, update)

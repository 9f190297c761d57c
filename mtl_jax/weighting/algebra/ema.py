"""A method on an average over the last steps."""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base, checks
from mtl_jax.weighting.algebra import wrapping

M = TypeVar("M", base.LossWeighting, base.GramianWeighting, base.GradientAggregator)


class EMAState(NamedTuple):
    """The average, updated every step."""

    total: Any  # float32, like the statistic: [T], [T, T], or leaves [T, ...]
    share: Array  # [T] float32, 1 − β^n after n steps with the task
    inner: Any  # of the method


def ema(method: M, beta: float | Array) -> M:
    """Let a method see an exponential moving average of what it looks at.

    `S_k = (β S_{k−1} + (1 − β) s_k)` with `S_0 = 0`, and the method sees
    `S_k / (1 − β^k)`: of the losses (`LossWeighting`), the Gramian, or the gradients
    (`GradientAggregator`, whose direction is then one of averages). The weights apply
    to the gradients of the present step. Losses that a method of the Gramian or the
    gradients is given, and those that a method observes, are not averaged.

    A task is averaged over the steps in which it was present. The entry (i, j) of the
    Gramian decays by `√β` for each of the two that is present and grows where both
    are, which keeps the average positive semi-definite: for tasks that are never
    present together it is 0.

    Heads: the method's own.
    State: the average, which for a `GradientAggregator` is T gradients in memory, and
    the method's.

    Args:
        method: of any kind.
        beta: β, in [0, 1); at 0 nothing is averaged.

    Returns:
        A method of the same kind. A `GradientAggregator` has no meaning at the
        representation, and its `init` needs the shared parameters.

    Raises:
        TypeError: what is not a method.
        ValueError: β out of range; an aggregator's `init` without parameters.

    Example:
        >>> from mtl_jax.weighting import mgda
        >>> method = ema(mgda(), 0.5)
        >>> state = method.init(2)
        >>> for second in (1.0, 7.0):  # the average is (1 + 2 · 7) / 3 = 5
        ...     gramian = jnp.diag(jnp.array([1.0, second]))
        ...     weights, state = method.update(gramian, state)
        >>> [round(float(w), 4) for w in weights]
        [0.8333, 0.1667]
    """
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    wrapping.check_kind("ema", method, *kinds)
    checks.number("ema", "beta", beta, at_least=0, below=1)

    def shares(state: EMAState, mask: Array | None) -> _Shares:
        keep = base.keep_mask(mask, state.share.shape[0])
        decay = jnp.where(keep, jnp.asarray(beta, state.share.dtype), 1)
        share = decay * state.share + (1 - decay)
        inverse = jnp.where(keep, 1 / jnp.where(share > 0, share, 1), 0)
        return _Shares(share, decay, 1 - decay, inverse)

    def init(num_tasks: int, params: Any = None) -> EMAState:
        inner = method.init(num_tasks, params)
        share = jnp.zeros(num_tasks, base.state_dtype())
        if isinstance(method, base.LossWeighting):
            return EMAState(jnp.zeros_like(share), share, inner)
        if isinstance(method, base.GramianWeighting):
            return EMAState(jnp.zeros((num_tasks,) * 2, share.dtype), share, inner)
        if params is None:
            raise ValueError(
                "ema of a GradientAggregator averages the gradients, and init was not "
                "given the parameters that they are like: init(num_tasks, shared)"
            )

        def zeros(leaf: Array) -> Array:
            wide = jnp.promote_types(leaf.dtype, jnp.float32)
            return jnp.zeros((num_tasks, *leaf.shape), wide)

        return EMAState(jax.tree.map(zeros, params), share, inner)

    def from_losses(
        losses: Array, state: EMAState, **extra: Any
    ) -> tuple[Array, EMAState]:
        now = shares(state, extra.get("mask"))
        total = _grow(state.total, losses, now)
        seen = _rows(now.inverse, total).astype(losses.dtype)
        weights, inner = method.update(seen, state.inner, **extra)
        return weights, EMAState(total, now.share, inner)

    def from_gramian(
        gramian: Array, state: EMAState, **extra: Any
    ) -> tuple[Array, EMAState]:
        now = shares(state, extra.get("mask"))
        pair = (now.new[:, None] > 0) & (now.new[None, :] > 0)
        total = wrapping.scale_gramian(state.total, jnp.sqrt(now.decay))
        # (1 − β) g_ij where both are present
        new = wrapping.scale_gramian(gramian, jnp.sqrt(now.new))
        total = total + jnp.where(pair, new, 0).astype(total.dtype)
        seen = wrapping.scale_gramian(total, jnp.sqrt(now.inverse))
        weights, inner = method.update(seen.astype(gramian.dtype), state.inner, **extra)
        return weights, EMAState(total, now.share, inner)

    def from_gradients(
        task_grads: PyTree, state: EMAState, **extra: Any
    ) -> tuple[PyTree, Array, EMAState]:
        now = shares(state, extra.get("mask"))
        total = jax.tree.map(lambda a, g: _grow(a, g, now), state.total, task_grads)
        seen = jax.tree.map(
            lambda a, g: _rows(now.inverse, a).astype(g.dtype), total, task_grads
        )
        direction, heads, inner = method.update(seen, state.inner, **extra)
        return direction, heads, EMAState(total, now.share, inner)

    observe = wrapping.observe(method)
    if isinstance(method, base.GradientAggregator):
        return method._replace(
            init=init, update=from_gradients, observe=observe, at_representation=False
        )
    rule = wrapping.weigh_heads(method.weigh_heads)
    if isinstance(method, base.LossWeighting):
        return method._replace(
            init=init, update=from_losses, observe=observe, weigh_heads=rule
        )
    hold = wrapping.hold(method)
    return method._replace(
        init=init,
        update=wrapping.honour(from_gramian, hold),
        observe=observe,
        weigh_heads=rule,
        hold=hold,
    )


class _Shares(NamedTuple):
    """Factors of one step, `[T]` each."""

    share: Array  # of the averages that comes from steps at all
    decay: Array  # β, or 1 for an absent task
    new: Array  # 1 − β, or 0
    inverse: Array  # 1 / share, or 0


def _rows(factors: Array, leaf: Array) -> Array:
    """`factors[t] · leaf[t]`."""
    return factors.astype(leaf.dtype).reshape((-1,) + (1,) * (leaf.ndim - 1)) * leaf


def _grow(total: Array, values: Array, now: _Shares) -> Array:
    return _rows(now.decay, total) + _rows(now.new, values.astype(total.dtype))

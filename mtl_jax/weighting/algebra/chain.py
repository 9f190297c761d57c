"""Methods one after the other."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtl_jax import tree
from mtl_jax.typing import Array, PyTree
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import wrapping


class ChainState(NamedTuple):
    """The states of all stages, and what the last update made of the tasks."""

    stages: tuple[Any, ...]
    before: Array  # [S, T] float32, the weights that each stage was given
    heads: Array  # [T] float32, weights of the task-specific parameters


def chain(*methods: base.Method) -> base.Method:
    """Weigh the tasks by one method, and the weighted tasks by the next.

    With v the product of the weights of the stages before it, a stage sees `v·L`, and
    `diag(v) G diag(v)` or the gradients `v_t g_t`; the weights of the chain are the
    product of all. IMTL of its paper is `chain(imtl_l(), imtl_g())`. Stage i gets the
    key `fold_in(key, i)`; a stage that observes is told the losses times the v of the
    last update.

    Heads get the product of what each stage gives to heads: its weight, 1, or a
    function of its state.
    State: those of the stages, v for each and the product for the heads.

    Where a stage holds its weights between steps, it does so in a chain, without its
    solver; but the Gramian is made at every step, as other stages may look at it.
    `every_k(chain(…), k)` spares it.

    Args:
        *methods: the stages, one or more. A `GradientAggregator` can only be the last.
            Stages that see the Gramian must all take the same number of samples (one,
            before an aggregator) and, where none is an aggregator, look at the same
            part of the parameters.

    Returns:
        A method of the kind of the stage that sees most: a `LossWeighting` of losses
        alone, else a `GramianWeighting`, and a `GradientAggregator` with one at the
        end.

    Raises:
        TypeError: what is not a method.
        ValueError: no stage, or stages that do not fit together.

    Example:
        >>> from mtl_jax.weighting import aggregate, mgda, static
        >>> method = chain(static([2.0, 1.0]), mgda())
        >>> result = aggregate(method, jnp.array([[1.0, 0.0], [0.0, 2.0]]))
        >>> result.weights.tolist(), result.direction.tolist()
        ([1.0, 0.5], [1.0, 1.0])
    """
    _check_fit(methods)
    aggregator = methods[-1]
    weighers = [m for m in methods if not isinstance(m, base.GradientAggregator)]
    lookers = [m for m in methods if isinstance(m, base.GramianWeighting)]

    def init(num_tasks: int, params: Any = None) -> ChainState:
        dtype = base.state_dtype()
        return ChainState(
            stages=tuple(m.init(num_tasks, params) for m in methods),
            before=jnp.ones((len(methods), num_tasks), dtype),
            heads=jnp.ones(num_tasks, dtype),
        )

    def from_losses(
        losses: Array, state: ChainState, **extra: Any
    ) -> tuple[Array, ChainState]:
        grams = [None] * len(weighers)
        start = jnp.ones_like(losses)
        walk = _walk(weighers, state.stages, grams, start, losses=losses, **extra)
        return walk.weights, _close(walk, walk.heads)

    def from_gramian(
        gramian: Array, state: ChainState, **extra: Any
    ) -> tuple[Array, ChainState]:
        grams = [gramian] * len(weighers)
        start = jnp.ones_like(gramian[0])
        walk = _walk(weighers, state.stages, grams, start, **extra)
        return walk.weights, _close(walk, walk.heads)

    def from_gradients(
        task_grads: PyTree, state: ChainState, *, primal: Any = None, **extra: Any
    ) -> tuple[PyTree, Array, ChainState]:
        grams = [wrapping.gramian_for(m, task_grads) for m in weighers]
        start = jnp.ones(tree.num_tasks(task_grads), base.state_dtype())
        walk = _walk(weighers, state.stages, grams, start, **extra)
        direction, heads, last = aggregator.update(
            wrapping.scale_rows(task_grads, walk.weights),
            state.stages[-1],
            primal=primal,
            **_for_stage(len(weighers), walk.weights, extra),
        )
        heads = walk.heads * heads.astype(walk.heads.dtype)
        walk = walk._replace(
            stages=[*walk.stages, last], before=[*walk.before, walk.weights]
        )
        return direction, heads, _close(walk, heads)

    def observe(
        losses_before: Array, losses_after: Array, state: ChainState, **extra: Any
    ) -> ChainState:
        def one(method: base.Method, stage: Any, v: Array) -> Any:
            if method.observe is None:
                return stage
            pair = (v.astype(x.dtype) * x for x in (losses_before, losses_after))
            return method.observe(*pair, stage, **extra)

        stages = map(one, methods, state.stages, state.before)
        return state._replace(stages=tuple(stages))

    needs_epoch = any(m.needs_epoch for m in methods)
    observes = any(m.observe is not None for m in methods)
    if len(weighers) < len(methods):
        assert isinstance(aggregator, base.GradientAggregator)
        return base.GradientAggregator(
            init,
            from_gradients,
            observe=observe if observes else None,
            needs_epoch=needs_epoch,
            at_representation=aggregator.at_representation
            and all(m.where is None for m in lookers),
        )
    # Where all stages weigh heads, the product is the weight, which the engine has.
    same = all(m.weigh_heads is True for m in weighers)
    rule: base.HeadWeights = True if same else lambda state: state.heads
    if not lookers:
        return base.LossWeighting(
            init, from_losses, observe if observes else None, needs_epoch, rule
        )
    return base.GramianWeighting(
        init,
        from_gramian,
        rule,
        observe=observe if observes else None,
        num_samples=lookers[0].num_samples,
        needs_epoch=needs_epoch,
        where=lookers[0].where,
        sketch=lookers[0].sketch,
    )


class _Walk(NamedTuple):
    """What is known behind a stage."""

    stages: list[Any]
    before: list[Array]  # [T] each
    weights: Array  # [T]
    heads: Array  # [T]


def _walk(
    weighers: Sequence[Any],
    states: Sequence[Any],
    grams: Sequence[Array | None],
    start: Array,
    **extra: Any,
) -> _Walk:
    """Go through the stages that give weights."""
    walk = _Walk([], [], start, start)
    for i, (stage, gramian) in enumerate(zip(weighers, grams, strict=True)):
        v = walk.weights
        if gramian is not None:
            gramian = wrapping.scale_gramian(gramian, v)
        weights, state = wrapping.weigh(
            stage, gramian, states[i], **_for_stage(i, v, extra)
        )
        heads = base.head_weights(stage.weigh_heads, weights, state)
        heads = wrapping.masked(heads, base.keep_mask(extra.get("mask"), len(v)))
        walk = _Walk(
            stages=[*walk.stages, state],
            before=[*walk.before, v],
            weights=v * weights.astype(v.dtype),
            heads=walk.heads * heads.astype(v.dtype),
        )
    return walk


def _for_stage(i: int, weights: Array, extra: dict[str, Any]) -> dict[str, Any]:
    """The keywords of stage i: a key of its own, and weighted losses."""
    key, losses = extra.get("key"), extra.get("losses")
    if key is not None:
        key = jax.random.fold_in(key, i)
    if losses is not None:
        losses = weights.astype(losses.dtype) * losses
    return {**extra, "key": key, "losses": losses}


def _close(walk: _Walk, heads: Array) -> ChainState:
    dtype = base.state_dtype()
    before = jnp.stack(walk.before).astype(dtype)
    return ChainState(tuple(walk.stages), before, heads.astype(dtype))


def _check_fit(methods: Sequence[base.Method]) -> None:
    if not methods:
        raise ValueError("chain was given no method; give its stages, chain(a, b)")
    kinds = (base.LossWeighting, base.GramianWeighting, base.GradientAggregator)
    for method in methods:
        wrapping.check_kind("chain", method, *kinds)
    *others, last = methods
    if any(isinstance(m, base.GradientAggregator) for m in others):
        raise ValueError(
            "chain was given a GradientAggregator before its last stage; it makes a "
            "direction and no weights that another stage could go on with: put it last"
        )
    lookers = [m for m in methods if isinstance(m, base.GramianWeighting)]
    samples = sorted({m.num_samples for m in lookers})
    if isinstance(last, base.GradientAggregator):
        if samples not in ([], [1]):
            raise ValueError(
                "chain was given a GradientAggregator behind a method of "
                f"{samples[-1]} independent samples a step; an aggregator is given the "
                "gradients of one"
            )
    elif len(samples) > 1:
        raise ValueError(
            f"chain was given methods of {samples} independent samples a step; the "
            "Gramian of one sample and the product of two are different matrices, and "
            "all stages see the same"
        )
    elif len({m.where for m in lookers}) > 1:
        raise ValueError(
            "chain was given methods that look at different parts of the shared "
            "parameters, and all see one Gramian; restrict the chain as a whole, "
            "restrict(chain(…), where)"
        )
    elif len({m.sketch for m in lookers}) > 1:
        raise ValueError(
            "chain was given stages that see an estimated Gramian and others that see "
            "another; estimate that of the chain as a whole, sketch(chain(…))"
        )

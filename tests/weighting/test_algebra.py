"""Functions from methods to methods, against what they say in NumPy."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import engine, train, tree, weighting
from mtl_jax.weighting import base
from mtl_jax.weighting.algebra import paths, restrict
from mtl_jax.weighting.task_rows import squared_norms

T = 3
KEY = jax.random.key(7)
LAYERS = {"Dense_0": {"bias": (3,), "kernel": (2, 3)}, "Dense_1": {"kernel": (3, 2)}}
SIZES = {"Dense_0": slice(0, 9), "Dense_1": slice(9, 15)}  # columns of the matrix
EQUAL, RLW, MGDA = weighting.equal(), weighting.rlw(), weighting.mgda()
PCGRAD, GRADDROP = weighting.pcgrad("ascending"), weighting.graddrop()
LEAKY = weighting.graddrop(0.2)


def problem(seed=0, t=T):
    """Gradients of a small network, and positive losses."""
    rng = np.random.default_rng(seed)
    grads = jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=(t, *shape)), jnp.float32),
        LAYERS,
        is_leaf=lambda x: isinstance(x, tuple),
    )
    return grads, jnp.asarray(rng.uniform(0.5, 2, t), jnp.float32)


def like(task_grads):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:]), task_grads)


def matrix(task_grads):
    """The Jacobian `[T, P]` in float64."""
    leaves = jax.tree.leaves(task_grads)
    return np.concatenate(
        [np.asarray(x, np.float64).reshape(x.shape[0], -1) for x in leaves], axis=1
    )


def flat(direction):
    return matrix(jax.tree.map(lambda leaf: leaf[None], direction))[0]


class Out(NamedTuple):
    """What any method makes of task gradients."""

    direction: Any
    weights: Any  # of the heads, for a `GradientAggregator`
    heads: Any
    state: Any


@functools.partial(jax.jit, static_argnums=0)
def apply(method, task_grads, losses, state, **extra):
    """What the engine does with a method, gradients in hand."""
    extra = {"key": KEY, "nonsense": 1, **extra}
    keep = base.keep_mask(extra.get("mask"), losses.shape[0])
    if isinstance(method, base.GradientAggregator):
        d, heads, state = method.update(task_grads, state, losses=losses, **extra)
        return Out(d, heads, heads, state)
    if isinstance(method, base.LossWeighting):
        weights, state = method.update(losses, state, **extra)
    else:
        part = task_grads if method.where is None else method.where(task_grads)
        gramian = tree.gramian(part)
        weights, state = method.update(gramian, state, losses=losses, **extra)
    heads = base.head_weights(method.weigh_heads, weights, state)
    direction = tree.combine(weights, task_grads)
    return Out(direction, weights, jnp.where(keep, heads, 0), state)


def start(method, t=T):
    return method.init(t, like(problem(t=t)[0]))


def run(method, seeds=(0, 1, 2), t=T, **extra):
    """A few steps, each with what the method observes; the last result."""
    state = start(method, t)
    for seed in seeds:
        out = apply(method, *problem(seed, t), state, **extra)
        state = seen(method, problem(seed, t)[1], out.state)
    return out


def seen(method, losses, state, **extra):
    if method.observe is None:
        return state
    return method.observe(
        losses, losses - 0.1 * jnp.sin(3 * losses) ** 2, state, **extra
    )


def close(a, b, **more):
    np.testing.assert_allclose(a, b, **{"rtol": 2e-4, "atol": 1e-5, **more})


def describe(state):
    return [
        (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False))
        for leaf in jax.tree.leaves(state)
    ], jax.tree.structure(state)


def balanced():
    """A cheap method of the Gramian: `w_i = √G_ii + Σ_j |G_ij|`."""

    def update(gramian, state, *, mask=None, **extra):
        keep = base.keep_mask(mask, gramian.shape[0])
        weights = jnp.sqrt(jnp.diagonal(gramian)) + jnp.sum(jnp.abs(gramian), axis=1)
        return jnp.where(keep, weights, 0), state

    return base.GramianWeighting(base.no_state, update)


# --- What holds of all of them ----------------------------------------------------

FAMO = weighting.famo(w_lr=0.3)
TOY = balanced()
CASES = {
    "as_gramian": weighting.as_gramian(FAMO),
    "as_aggregator of losses": weighting.as_aggregator(FAMO),
    "as_aggregator": weighting.as_aggregator(PCGRAD),
    "chain of losses": weighting.chain(weighting.equal("mean"), FAMO),
    "chain": weighting.chain(FAMO, TOY),
    "chain to an aggregator": weighting.chain(FAMO, TOY, LEAKY),
    "per_group": weighting.per_group(PCGRAD),
    "per_group of losses": weighting.per_group(FAMO, weighting.by_leaf),
    "restrict": weighting.restrict(TOY, "kernel"),
    "every_k of losses": weighting.every_k(FAMO, 2),
    "every_k": weighting.every_k(PCGRAD, 2),
    "log of losses": weighting.with_log_losses(weighting.famo(min_losses=-5.0)),
    "log": weighting.with_log_losses(TOY),
    "log of gradients": weighting.with_log_losses(GRADDROP),
    "normalise losses": weighting.normalise(FAMO),
    "normalise": weighting.normalise(TOY, "loss+"),
    "normalise gradients": weighting.normalise(LEAKY),
    "ema of losses": weighting.ema(FAMO, 0.7),
    "ema": weighting.ema(TOY, 0.7),
    "ema of gradients": weighting.ema(LEAKY, 0.7),
    "matched_scale of losses": weighting.matched_scale(FAMO),
    "matched_scale": weighting.matched_scale(MGDA),
    "matched_scale of gradients": weighting.matched_scale(LEAKY),
    "heads": weighting.with_head_weights(FAMO, "ones"),
    "heads of gradients": weighting.with_head_weights(
        weighting.as_aggregator(FAMO), "ones"
    ),
    "cr_mogm": weighting.cr_mogm(TOY, 0.7),
    "sketch": weighting.sketch(TOY, 4, 0.7),
    "held chain": weighting.every_k(weighting.chain(FAMO, TOY), 2),
    "much at once": weighting.matched_scale(
        weighting.ema(
            weighting.with_log_losses(weighting.every_k(weighting.cr_mogm(PCGRAD), 2)),
            0.5,
        )
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def test_one_compilation_and_a_stable_state(case):
    method = CASES[case]
    state = start(method)
    before = describe(state)
    assert not any(weak for _, _, weak in before[0])
    for seed in range(4):
        task_grads, losses = problem(seed)
        out = apply(
            method, task_grads, losses, state, key=jax.random.fold_in(KEY, seed)
        )
        if seed == 0:
            compiled = apply._cache_size()
        state = seen(method, losses, out.state, nonsense=1)
        assert describe(state) == before
        assert np.all(np.isfinite(flat(out.direction)))
        assert np.all(np.isfinite(out.heads))
        assert out.weights.dtype == out.heads.dtype == jnp.float32
    assert apply._cache_size() == compiled


def test_vmap_over_seeds_equals_a_loop(case):
    method = CASES[case]
    grads, losses = problem(1)
    state = apply(method, *problem(0), start(method), key=KEY).state

    def step(key, scale, state):
        scaled = jax.tree.map(lambda leaf: scale * leaf, grads)
        return apply(method, scaled, losses * scale, state, key=key)

    keys, scales = jax.random.split(KEY, 3), jnp.array([0.5, 1.0, 2.0])
    together = jax.vmap(step, in_axes=(0, 0, None))(keys, scales, state)
    for i in range(3):
        one = step(keys[i], scales[i], state)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            close(a[i], b)


def test_an_absent_task_is_left_out(case):
    method, where = CASES[case], 1
    mask = jnp.ones(T + 1, bool).at[where].set(False)
    narrow, wide = start(method), start(method, T + 1)
    for seed in range(3):
        task_grads, losses = problem(seed)
        more = jax.tree.map(lambda g: jnp.insert(g, where, 0, axis=0), task_grads)
        more_losses = jnp.insert(losses, where, 0)
        expected = apply(method, task_grads, losses, narrow, key=KEY)
        found = apply(method, more, more_losses, wide, mask=mask)
        close(flat(found.direction), flat(expected.direction))
        assert float(found.weights[where]) == float(found.heads[where]) == 0
        close(np.delete(found.heads, where), expected.heads)
        narrow = seen(method, losses, expected.state)
        wide = seen(method, more_losses, found.state, mask=mask)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(wide))
    nobody = jnp.zeros(T + 1, bool)
    nothing = jax.tree.map(jnp.zeros_like, more)
    found = apply(method, nothing, jnp.zeros(T + 1), start(method, T + 1), mask=nobody)
    assert not np.any(flat(found.direction))
    assert not np.any(found.weights)
    assert not np.any(found.heads)


def test_kinds():
    kinds = {name: type(method).__name__[:4] for name, method in CASES.items()}
    losses = {n for n, kind in kinds.items() if kind == "Loss"}
    assert losses == {
        "chain of losses",
        "every_k of losses",
        "log of losses",
        "ema of losses",
        "matched_scale of losses",
        "heads",
    }
    aggregators = {n for n, kind in kinds.items() if kind == "Grad"}
    assert aggregators == {
        "as_aggregator of losses",
        "as_aggregator",
        "chain to an aggregator",
        "per_group",
        "per_group of losses",
        "log of gradients",
        "normalise gradients",
        "ema of gradients",
        "matched_scale of gradients",
        "heads of gradients",
    }


WRAPPERS = {
    "as_gramian": weighting.as_gramian,
    "as_aggregator": weighting.as_aggregator,
    "chain": weighting.chain,
    "per_group": weighting.per_group,
    "restrict": lambda m: weighting.restrict(m, "last"),
    "every_k": lambda m: weighting.every_k(m, 2),
    "with_log_losses": weighting.with_log_losses,
    "normalise": weighting.normalise,
    "ema": lambda m: weighting.ema(m, 0.9),
    "sketch": weighting.sketch,
    "matched_scale": weighting.matched_scale,
    "with_head_weights": lambda m: weighting.with_head_weights(m, "ones"),
    "cr_mogm": weighting.cr_mogm,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_not_a_method_is_a_clear_error(name):
    with pytest.raises(TypeError, match=rf"^{name} takes a .*make\('mgda'\)$"):
        WRAPPERS[name]("mgda")


@pytest.mark.parametrize("name", ["as_gramian", "per_group", "every_k", "cr_mogm"])
def test_what_has_no_weights_is_a_clear_error(name):
    with pytest.raises(TypeError, match="found a GradientAggregator"):
        WRAPPERS[name](GRADDROP)


def test_observation_and_epochs_pass_through():
    watching, counting = weighting.famo(), weighting.dwa()
    for name in WRAPPERS.keys() - {"restrict", "sketch"}:  # of a Gramian alone
        assert WRAPPERS[name](watching).observe is not None, name
        assert WRAPPERS[name](counting).observe is None, name
        assert WRAPPERS[name](counting).needs_epoch, name
        assert not WRAPPERS[name](watching).needs_epoch, name


# --- Lifts ------------------------------------------------------------------------


def test_lifts_keep_the_weights():
    for method in (FAMO, MGDA, PCGRAD):
        plain = run(method)
        lifted = run(weighting.as_aggregator(method))
        close(flat(lifted.direction), flat(plain.direction))
        close(lifted.heads, plain.heads)
    assert weighting.as_gramian(PCGRAD) is PCGRAD
    plain, lifted = run(FAMO), run(weighting.as_gramian(FAMO))
    close(lifted.weights, plain.weights)
    close(lifted.heads, plain.weights)
    assert lifted.state._fields == plain.state._fields
    method = weighting.as_gramian(FAMO)
    with pytest.raises(ValueError, match="losses="):
        method.update(jnp.eye(T), method.init(T))


def test_a_lifted_method_looks_at_its_part():
    task_grads, losses = problem(4)
    method = weighting.restrict(MGDA, "last")
    lifted = weighting.as_aggregator(method)
    assert not lifted.at_representation
    assert weighting.as_aggregator(MGDA).at_representation
    out = apply(lifted, task_grads, losses, start(lifted))
    jacobian = matrix(task_grads)
    part = jnp.asarray(jacobian[:, SIZES["Dense_1"]], jnp.float32)
    weights = weighting.aggregate(MGDA, part).weights
    close(flat(out.direction), np.asarray(weights) @ jacobian)


def test_several_samples_cannot_be_lifted():
    several = PCGRAD._replace(num_samples=2)
    for name in ("as_aggregator", "per_group", "normalise"):
        with pytest.raises(ValueError, match="2 independent samples"):
            WRAPPERS[name](several)


# --- chain ------------------------------------------------------------------------


def test_a_chain_of_losses_multiplies_and_shows_weighted_losses():
    probe = weighting.gls()  # w_t = (Π L)^(1/T) / (T L_t)
    _, losses = problem()
    method = weighting.chain(weighting.static([2.0, 1.0, 0.5]), probe)
    found = apply(method, problem()[0], losses, start(method))
    v = np.array([2.0, 1.0, 0.5])
    shown = v * np.asarray(losses)
    expected = v * np.prod(shown) ** (1 / 3) / (3 * shown)
    close(found.weights, expected)
    assert method.weigh_heads is True
    close(found.heads, expected)
    close(found.state.before, [np.ones(3), v])


def test_a_chain_shows_the_weighted_gramian_and_gradients():
    v = np.array([2.0, 1.0, 0.5])
    task_grads, losses = problem(1)
    static = weighting.static(jnp.asarray(v))
    method = weighting.chain(static, MGDA)
    out = apply(method, task_grads, losses, start(method))
    scaled = matrix(task_grads) * v[:, None]
    alpha = weighting.aggregate(MGDA, scaled.astype(np.float32)).weights
    close(out.weights, v * np.asarray(alpha))
    close(flat(out.direction), np.asarray(alpha) @ scaled)
    # mgda gives heads 1, static gives them its weight
    close(out.heads, v)
    lifted = weighting.chain(static, weighting.as_aggregator(MGDA))
    other = apply(lifted, task_grads, losses, start(lifted))
    close(flat(other.direction), flat(out.direction))
    close(other.heads, v)


def test_a_chain_is_associative_and_one_stage_is_itself():
    a, b, c = weighting.static([2.0, 1.0, 0.5]), FAMO, TOY
    whole = run(weighting.chain(a, b, c))
    left = run(weighting.chain(weighting.chain(a, b), c))
    right = run(weighting.chain(a, weighting.chain(b, c)))
    for other in (left, right):
        close(other.weights, whole.weights)
        close(other.heads, whole.heads)
    close(run(weighting.chain(c)).weights, run(c).weights)


def test_a_stage_observes_the_losses_that_it_was_shown():
    v = jnp.array([2.0, 1.0, 0.5])
    watcher = weighting.famo(w_lr=0.3, min_losses=0.2)  # the bound sees the scale
    method = weighting.chain(weighting.static(v), watcher)
    state, alone = start(method), start(watcher)
    for seed in range(3):
        task_grads, losses = problem(seed)
        state = apply(method, task_grads, losses, state).state
        alone = apply(watcher, task_grads, v * losses, alone).state
        after = losses * jnp.array([0.7, 0.9, 1.1])
        state = method.observe(losses, after, state)
        alone = watcher.observe(v * losses, v * after, alone)
    close(state.stages[1].logits, alone.logits, atol=1e-6)
    assert np.ptp(np.asarray(alone.logits)) > 0.1


def test_each_stage_has_a_key_of_its_own():
    _, losses = problem()
    method = weighting.chain(RLW, RLW)
    weights, _ = method.update(losses, start(method), key=KEY)
    parts = [
        RLW.update(losses, (), key=jax.random.fold_in(KEY, i))[0] for i in range(2)
    ]
    close(weights, parts[0] * parts[1])
    assert not np.allclose(parts[0], parts[1])


def test_heads_of_a_chain_are_the_product_of_what_each_stage_gives():
    task_grads, losses = problem()
    own = PCGRAD._replace(weigh_heads=lambda state: jnp.array([5.0, 6.0, 7.0]))
    ones = weighting.with_head_weights(weighting.static([9.0, 9.0, 9.0]), "ones")
    method = weighting.chain(ones, weighting.static([2.0, 1.0, 0.5]), own)
    out = apply(method, task_grads, losses, start(method))
    close(out.heads, [10.0, 6.0, 3.5])
    mask = jnp.array([True, False, True])
    out = apply(method, task_grads, losses, start(method), mask=mask)
    close(out.heads, [10.0, 0.0, 3.5])
    losses_alone = weighting.chain(ones, ones)
    out = apply(losses_alone, task_grads, losses, start(losses_alone))
    close(out.heads, [1.0, 1.0, 1.0])
    close(out.weights, [81.0, 81.0, 81.0])


def test_imtl_is_a_chain():
    """Equal projections on the gradients of the scaled losses."""
    task_grads, losses = problem(2)
    s = np.array([-0.3, 0.05, 0.4])
    first = weighting.imtl_l()
    method = weighting.chain(first, weighting.imtl_g())
    state = start(method)
    learnt = state.stages[0]._replace(log_scale=jnp.asarray(s, jnp.float32))
    out = apply(
        method, task_grads, losses, state._replace(stages=(learnt, state.stages[1]))
    )
    scaled = np.exp(s)[:, None] * matrix(task_grads)
    units = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    d = flat(out.direction)
    projections = units @ d
    close(projections, np.full(T, projections.mean()), rtol=1e-3)
    alpha = np.asarray(out.weights) / np.exp(s)
    close(alpha.sum(), 1)
    close(alpha @ scaled, d)
    close(out.heads, np.exp(s))


def test_stages_that_do_not_fit():
    chain = weighting.chain
    two, three = (PCGRAD._replace(num_samples=n) for n in (2, 3))
    last = weighting.restrict(PCGRAD, "last")
    cases = [
        ([], "no method"),
        ([GRADDROP, PCGRAD], "put it last"),
        ([two, GRADDROP], "2 independent samples"),
        ([two, three], r"\[2, 3\] independent samples"),
        ([two, PCGRAD], r"\[1, 2\] independent samples"),
        ([last, PCGRAD], "restrict the chain as a whole"),
    ]
    for stages, text in cases:
        with pytest.raises(ValueError, match=text):
            chain(*stages)
    assert chain(FAMO, two, two).num_samples == 2
    assert chain(FAMO, last, last).where is last.where
    assert chain(last, PCGRAD, GRADDROP).at_representation is False
    assert chain(PCGRAD, GRADDROP).at_representation is True


def test_a_stage_that_holds_its_weights_holds_them_in_a_chain():
    static, held = weighting.static([2.0, 1.0, 0.5]), weighting.every_k(PCGRAD, 2)
    method = weighting.chain(static, held)
    assert method.hold is None
    first, second = (run(method, seeds) for seeds in ([0], [0, 1]))
    close(first.weights, second.weights)
    assert not np.allclose(
        run(weighting.chain(static, PCGRAD), [1]).weights, first.weights
    )


# --- per_group --------------------------------------------------------------------


def test_each_group_is_weighed_by_itself():
    task_grads, losses = problem(3)
    jacobian = matrix(task_grads)
    method = weighting.per_group(MGDA)
    out = apply(method, task_grads, losses, start(method))
    for columns in SIZES.values():
        part = jnp.asarray(jacobian[:, columns], jnp.float32)
        expected = weighting.aggregate(MGDA, part).direction
        close(flat(out.direction)[columns], expected)
    close(out.heads, np.ones(T))
    assert not method.at_representation


def test_labels_are_a_function_or_a_pytree():
    task_grads, losses = problem(3)
    jacobian = matrix(task_grads)
    names = ["Dense_0/bias", "Dense_0/kernel", "Dense_1/kernel"]
    assert paths.names(like(task_grads)) == names
    given = {
        "Dense_0": {"bias": ("x", 1), "kernel": 2},
        "Dense_1": {"kernel": ("x", 1)},
    }
    method = weighting.per_group(PCGRAD, given)
    out = apply(method, task_grads, losses, start(method))
    groups = [np.r_[0:3, 9:15], np.r_[3:9]]
    for columns in groups:
        part = jnp.asarray(jacobian[:, columns], jnp.float32)
        expected = weighting.aggregate(PCGRAD, part).direction
        close(flat(out.direction)[columns], expected)
    one = weighting.per_group(PCGRAD, lambda path: None)
    close(
        flat(apply(one, task_grads, losses, start(one)).direction),
        flat(apply(PCGRAD, task_grads, losses, start(PCGRAD)).direction),
    )
    bare = weighting.per_group(PCGRAD)  # a bare array is one group
    found = weighting.aggregate(bare, jnp.asarray(jacobian, jnp.float32)).direction
    close(found, flat(apply(PCGRAD, task_grads, losses, ()).direction))


def test_groups_have_states_keys_and_observations_of_their_own():
    method = weighting.per_group(RLW, weighting.by_leaf)
    task_grads, losses = problem()
    out = apply(method, task_grads, losses, start(method))
    jacobian, keys = matrix(task_grads), jax.random.split(KEY, 3)
    draws = [np.asarray(RLW.update(losses, (), key=k)[0]) for k in keys]
    for draw, columns in zip(
        draws, (slice(0, 3), slice(3, 9), slice(9, 15)), strict=True
    ):
        close(flat(out.direction)[columns], draw @ jacobian[:, columns])
    close(out.heads, np.mean(draws, axis=0))
    watched = weighting.per_group(FAMO)
    state = run(watched).state
    assert state.groups.logits.shape == (2, T)
    close(state.groups.logits[0], state.groups.logits[1])
    plain = run(FAMO)
    close(state.groups.logits[0], plain.state.logits)


def test_groups_that_are_wrong():
    with pytest.raises(ValueError, match=r"init\(num_tasks, shared\)"):
        weighting.per_group(PCGRAD).init(T)
    with pytest.raises(ValueError, match="give one label an array"):
        start(weighting.per_group(PCGRAD, {"Dense_0": 1, "Dense_2": 2}))
    with pytest.raises(ValueError, match="each group is a part already"):
        weighting.per_group(weighting.restrict(PCGRAD, "last"))


# --- restrict ---------------------------------------------------------------------


def test_selectors():
    grads = {
        "block": {f"Dense_{i}": {"kernel": jnp.ones((2, i))} for i in (2, 9, 10)},
        "a": jnp.ones((2, 5)),
    }

    def names(where):
        return sorted(restrict.selector(where)(grads))

    assert names("last") == ["block/Dense_10/kernel"]
    assert names("Dense_9/") == ["block/Dense_9/kernel"]
    assert names("^a$|Dense_2") == ["a", "block/Dense_2/kernel"]
    assert restrict.selector("all") is None
    assert restrict.selector(len) is len
    bare = jnp.ones((2, 4))
    assert restrict.selector("last")(bare)[""] is bare
    with pytest.raises(ValueError) as error:
        names("Dense_3")
    assert "'a', 'block/Dense_10/kernel', 'block/Dense_2/kernel'" in str(error.value)
    with pytest.raises(ValueError, match="neither 'all' nor 'last' nor a function"):
        restrict.selector("(")
    with pytest.raises(TypeError, match="restrict takes a GramianWeighting"):
        weighting.restrict(FAMO, "last")


# --- every_k ----------------------------------------------------------------------


class Count(NamedTuple):
    """How often a method was really called."""

    calls: Any


def counting(kind):
    def init(num_tasks, params=None):
        return Count(jnp.zeros((), jnp.int32))

    def update(statistic, state, **extra):
        return statistic.reshape(T, -1)[:, 0], Count(state.calls + 1)

    return kind(init, update)


@pytest.mark.parametrize("kind", [base.LossWeighting, base.GramianWeighting])
def test_new_weights_every_k_steps(kind):
    method = weighting.every_k(counting(kind), 3)
    assert isinstance(method, kind)
    state = method.init(T)
    found = []
    for step in range(8):
        value = jnp.full(T, 1.0 + step)
        statistic = (
            value if kind is base.LossWeighting else jnp.diag(value).at[:, 0].set(value)
        )
        weights, state = method.update(statistic, state)
        found.append(float(weights[1]))
    assert found == [1, 1, 1, 4, 4, 4, 7, 7]
    assert int(state.inner.calls) == 3
    assert int(state.step) == 8


def test_the_engine_is_told_what_is_held():
    method = weighting.every_k(PCGRAD, 2)
    state = start(method)
    assert bool(method.hold(state).due)
    out = apply(method, *problem(0), state)
    held = method.hold(out.state)
    assert not bool(held.due)
    close(held.weights, out.weights)
    again = apply(method, *problem(1), out.state)
    close(again.weights, held.weights)
    np.testing.assert_array_equal(again.state.step, held.state.step)
    assert bool(method.hold(again.state).due)


def test_a_task_keeps_its_weight_where_a_refresh_misses_it():
    method = weighting.every_k(counting(base.LossWeighting), 2)
    state = method.init(T)
    masks = ([1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1])
    found = []
    for step, mask in enumerate(masks):
        losses = jnp.where(jnp.array(mask), 10.0 * (step + 1), 0)
        weights, state = method.update(losses, state, mask=jnp.array(mask, bool))
        found.append(weights.tolist())
    # Task 1 waits for a refresh that sees it, task 0 keeps what it had at step 0.
    assert found == [[10, 0, 10], [10, 0, 10], [0, 30, 30], [10, 30, 30]]


def test_holding_passes_through_wrappers():
    """On a held step all say the same of the weights within, with or without G."""
    inner = weighting.every_k(TOY, 3)
    for name in ("with_log_losses", "normalise", "ema", "matched_scale", "cr_mogm"):
        method = WRAPPERS[name](inner)
        first = apply(method, *problem(0), start(method))
        held = method.hold(first.state)
        assert not bool(held.due), name
        close(held.weights, first.weights, err_msg=name)
        second = apply(method, *problem(1), first.state)
        close(second.weights, first.weights, err_msg=name)
        close(second.heads, first.heads, err_msg=name)
        for a, b in zip(
            jax.tree.leaves(second.state), jax.tree.leaves(held.state), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        assert run(method, range(4)).weights.shape == (T,)
    for k in (0, 1.5, True):
        with pytest.raises(ValueError, match="whole number, at least 1"):
            weighting.every_k(PCGRAD, k)


# --- with_log_losses --------------------------------------------------------------

A = np.random.default_rng(3).normal(size=(T, 6)).astype(np.float32)


def positive_losses(shared, specific):
    return (A @ shared) ** 2 + specific["b"] ** 2 + 0.5


@pytest.mark.parametrize(
    "method",
    [
        EQUAL,
        weighting.with_head_weights(weighting.static([1.0, 2.0, 3.0]), "ones"),
        PCGRAD,
        weighting.with_head_weights(TOY, "weights"),
        weighting.graddrop(0.3),
    ],
    ids=["equal", "static ones", "pcgrad", "weights", "graddrop"],
)
def test_log_losses_are_those_of_a_logarithmic_loss_function(method):
    shared, specific = jnp.linspace(-1, 1, 6), {"b": jnp.array([0.5, 1.0, 2.0])}

    def logs(shared, specific):
        return jnp.log(positive_losses(shared, specific))

    wrapped = weighting.with_log_losses(method)
    outs = [
        engine.gradients(m, f, shared, specific, m.init(T, shared), key=KEY)
        for m, f in ((wrapped, positive_losses), (method, logs))
    ]
    close(outs[0].shared, outs[1].shared)
    close(outs[0].specific["b"], outs[1].specific["b"])
    assert isinstance(wrapped, type(method))


def test_an_observer_of_log_losses_sees_logarithms():
    inner = weighting.famo(w_lr=0.3, min_losses=-5.0)
    method = weighting.with_log_losses(inner)
    _, losses = problem()
    after = losses * jnp.array([0.5, 0.9, 1.2])
    _, state = method.update(losses, method.init(T))
    state = method.observe(losses, after, state)
    _, alone = inner.update(jnp.log(losses), inner.init(T))
    alone = inner.observe(jnp.log(losses), jnp.log(after), alone)
    close(state.inner.logits, alone.logits)
    close(state.scale, 1 / losses)


@pytest.mark.parametrize("bad", [0.0, -1.0])
@pytest.mark.parametrize("inner", [FAMO, TOY, GRADDROP], ids=["loss", "G", "J"])
def test_a_loss_that_is_not_positive_has_no_logarithm(inner, bad):
    task_grads, losses = problem()
    losses = losses.at[1].set(bad)
    for wrapper in (
        weighting.with_log_losses,
        lambda m: weighting.normalise(m, "loss"),
    ):
        method = wrapper(inner)
        out = apply(method, task_grads, losses, start(method))
        assert not np.all(np.isfinite(flat(out.direction)))
        mask = jnp.array([True, False, True])
        out = apply(method, task_grads, losses, start(method), mask=mask)
        assert np.all(np.isfinite(flat(out.direction))), "absent tasks have loss zero"


def test_a_loss_that_is_not_positive_skips_the_step():
    method, optimizer = weighting.with_log_losses(PCGRAD), optax.sgd(0.1)

    def losses_fn(shared, specific, batch):
        return jnp.stack([jnp.sum(shared**2), jnp.sum(shared) - batch["x"][0]])

    state = train.create(
        jnp.ones(2), {}, method=method, optimizer=optimizer, num_tasks=2
    )
    step = train.make_train_step(losses_fn, method, optimizer, parallel="jit")
    state, out = step(state, {"x": jnp.array([3.0])})
    assert not bool(out.finite)
    assert state.shared.tolist() == [1, 1]
    state, out = step(state, {"x": jnp.array([1.0])})
    assert bool(out.finite)


def test_the_losses_are_needed():
    for wrapper in (
        weighting.with_log_losses,
        lambda m: weighting.normalise(m, "loss+"),
    ):
        method = wrapper(PCGRAD)
        with pytest.raises(ValueError, match="losses="):
            method.update(jnp.eye(T), method.init(T))


# --- normalise --------------------------------------------------------------------


@pytest.mark.parametrize("by", ["l2", "loss", "loss+"])
def test_normalised_gradients(by):
    task_grads, losses = problem(5)
    jacobian, plain = matrix(task_grads), np.asarray(losses, np.float64)
    norms = np.linalg.norm(jacobian, axis=1)
    c = {"l2": norms, "loss": plain, "loss+": norms * plain}[by]
    scaled = jnp.asarray(jacobian / c[:, None], jnp.float32)
    for inner in (EQUAL, TOY):
        method = weighting.normalise(inner, by)
        out = apply(method, task_grads, losses, start(method))
        expected = weighting.aggregate(inner, scaled)
        close(flat(out.direction), expected.direction)
        close(out.weights, np.asarray(expected.weights) / c)
        close(out.state.scale, 1 / c)
    inner = weighting.as_aggregator(TOY)
    out = apply(weighting.normalise(inner, by), task_grads, losses, start(method))
    close(flat(out.direction), weighting.aggregate(TOY, scaled).direction)


def test_normalised_mgda_is_that_of_the_literature():
    """Its weights are for g/c; applied to g/c they are w/c of g."""
    task_grads, losses = problem(6)
    wrapped = weighting.normalise(MGDA, "loss+")
    out = apply(wrapped, task_grads, losses, start(wrapped))
    own = weighting.mgda("loss+")
    simplex = apply(own, task_grads, losses, start(own)).weights
    close(out.weights / out.state.scale, simplex, rtol=1e-3, atol=1e-4)


def test_a_zero_gradient_has_weight_zero():
    task_grads, losses = problem()
    task_grads = jax.tree.map(lambda g: g.at[1].set(0), task_grads)
    for inner in (EQUAL, PCGRAD, weighting.graddrop(1.0)):
        method = weighting.normalise(inner)
        out = apply(method, task_grads, losses, start(method))
        assert np.all(np.isfinite(flat(out.direction)))
        assert float(out.state.scale[1]) == 0
    close(squared_norms(task_grads), np.sum(matrix(task_grads) ** 2, axis=1), rtol=1e-5)
    with pytest.raises(ValueError, match="unknown normaliser 'l1'"):
        weighting.normalise(PCGRAD, "l1")


def test_lengths_that_overflow_are_not_taken_for_zero():
    task_grads = jax.tree.map(lambda g: g.at[1].mul(1e25), problem()[0])
    method = weighting.normalise(weighting.graddrop(1.0))
    out = apply(method, task_grads, problem()[1], start(method))
    assert not np.all(np.isfinite(flat(out.direction)))


# --- ema --------------------------------------------------------------------------


class Shown(NamedTuple):
    """The statistic of the last call."""

    statistic: Any


def probe(kind):
    """A method that remembers what it was shown."""

    def init(num_tasks, params=None):
        shape = (num_tasks,) * (2 if kind is base.GramianWeighting else 1)
        return Shown(jnp.zeros(shape))

    def update(statistic, state, **extra):
        return jnp.ones(statistic.shape[0]), Shown(statistic)

    def aggregate(task_grads, state, **extra):
        ones = jnp.ones(T)
        return tree.combine(ones, task_grads), ones, state

    if kind is base.GradientAggregator:
        return kind(base.no_state, aggregate)
    return kind(init, update)


def test_the_average_of_losses_counts_steps_with_the_task():
    beta, state = 0.8, None
    method = weighting.ema(probe(base.LossWeighting), beta)
    state = method.init(T)
    rng = np.random.default_rng(0)
    history = [[] for _ in range(T)]
    for step in range(6):
        present = np.array([True, step % 2 == 1, step % 3 == 0])
        losses = np.where(present, rng.uniform(1, 2, T), 0)
        _, state = method.update(
            jnp.asarray(losses, jnp.float32), state, mask=jnp.asarray(present)
        )
        expected = np.zeros(T)
        for t in range(T):
            if present[t]:
                history[t].append(losses[t])
                decay = beta ** np.arange(len(history[t]))[::-1]
                expected[t] = decay @ history[t] / decay.sum()
        close(state.inner.statistic, expected)


def test_the_average_of_gramians():
    beta = 0.6
    method = weighting.ema(probe(base.GramianWeighting), beta)
    state = method.init(T)
    total = np.zeros((T, T))
    for step in range(4):
        jacobian = matrix(problem(step)[0])
        total = beta * total + (1 - beta) * jacobian @ jacobian.T
        gramian = jnp.asarray(jacobian @ jacobian.T, jnp.float32)
        _, state = method.update(gramian, state)
        close(state.inner.statistic, total / (1 - beta ** (step + 1)))


def test_the_average_of_gramians_stays_one_of_a_gramian():
    """Positive semi-definite, with the right diagonal, whoever is present."""
    beta, rng = 0.7, np.random.default_rng(1)
    method = weighting.ema(probe(base.GramianWeighting), beta)
    update = jax.jit(method.update)
    state = method.init(5)
    diagonals = [[] for _ in range(5)]
    for _ in range(60):
        present = rng.random(5) < 0.5
        jacobian = rng.normal(size=(5, 2)) * present[:, None]
        gramian = jacobian @ jacobian.T
        _, state = update(jnp.asarray(gramian, jnp.float32), state, mask=present)
        shown = np.asarray(state.inner.statistic, np.float64)
        assert np.linalg.eigvalsh(shown).min() > -1e-5
        for t in np.flatnonzero(present):
            diagonals[t].append(gramian[t, t])
            decay = beta ** np.arange(len(diagonals[t]))[::-1]
            close(shown[t, t], decay @ diagonals[t] / decay.sum())
        assert not np.any(shown[~present])
    apart = weighting.ema(probe(base.GramianWeighting), beta)
    state = apart.init(2)
    for step in range(6):
        present = jnp.array([step % 2 == 0, step % 2 == 1])
        _, state = apart.update(
            jnp.diag(present.astype(jnp.float32)), state, mask=present
        )
    both = jnp.array([[4.0, 2.0], [2.0, 1.0]])
    _, state = apart.update(both, state)
    close(state.inner.statistic[0, 1], (1 - beta) * 2 / (1 - beta**4))
    # Long ago both had a large gradient; since then each came alone, with a small one.
    state = apart.init(2)
    _, state = apart.update(jnp.full((2, 2), 100.0), state)
    for step in range(10):
        present = jnp.array([step % 2 == 0, step % 2 == 1])
        _, state = apart.update(jnp.diag(0.01 * present), state, mask=present)
    _, state = apart.update(0.01 * jnp.eye(2), state)
    assert np.linalg.eigvalsh(np.asarray(state.inner.statistic, float)).min() > -1e-4


def test_the_average_of_gradients():
    beta = 0.6
    method = weighting.ema(probe(base.GradientAggregator), beta)
    assert not method.at_representation
    state = start(method)
    total = np.zeros((T, 15))
    for step in range(3):
        task_grads, losses = problem(step)
        total = beta * total + (1 - beta) * matrix(task_grads)
        out = apply(method, task_grads, losses, state)
        state = out.state
    close(flat(out.direction), total.sum(0) / (1 - beta**3))
    low = jax.tree.map(lambda g: g.astype(jnp.bfloat16), task_grads)
    state = method.init(T, jax.tree.map(lambda g: g[0], low))
    out = apply(method, low, losses, state)
    assert all(d.dtype == jnp.bfloat16 for d in jax.tree.leaves(out.direction))
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(out.state.total))
    with pytest.raises(ValueError, match=r"init\(num_tasks, shared\)"):
        method.init(T)


def test_no_memory_is_no_average():
    for inner in (FAMO, PCGRAD, LEAKY):
        plain, averaged = run(inner), run(weighting.ema(inner, 0.0))
        close(flat(averaged.direction), flat(plain.direction))
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        weighting.ema(PCGRAD, 1.0)
    gramians = [jnp.diag(jnp.arange(1.0, 1 + T) ** i) for i in range(3)]

    def last(beta):
        method = weighting.ema(TOY, beta)
        state = method.init(T)
        for gramian in gramians:
            weights, state = method.update(gramian, state)
        return weights

    found = jax.jit(jax.vmap(last))(jnp.array([0.0, 0.9]))
    close(found[1], last(0.9))
    assert not np.allclose(found[0], found[1])


# --- matched_scale ----------------------------------------------------------------

SCALED = {
    "rlw": RLW,
    "famo": FAMO,
    "mgda": MGDA,
    "pcgrad": PCGRAD,
    "third": weighting.as_gramian(weighting.static([1 / 3] * T)),
    "short": weighting.normalise(EQUAL),
    "graddrop": GRADDROP,
    "mean of gradients": weighting.as_aggregator(weighting.equal("mean")),
}


SCALE_MGDA = CASES["matched_scale"]


@pytest.mark.parametrize("name", SCALED)
def test_equal_gradients_give_the_plain_sum(name):
    method = SCALE_MGDA if name == "mgda" else weighting.matched_scale(SCALED[name])
    task_grads, losses = problem(1)
    equal = jax.tree.map(lambda g: jnp.broadcast_to(g[:1], g.shape), task_grads)
    out = apply(method, equal, losses, start(method))
    close(flat(out.direction), T * matrix(task_grads)[0])
    mask = jnp.array([True, True, False])
    equal = jax.tree.map(lambda g: g.at[2].set(0), equal)
    if name != "third":
        out = apply(method, equal, losses.at[2].set(0), start(method), mask=mask)
        close(flat(out.direction), 2 * matrix(task_grads)[0])


def test_the_factor_of_the_scale():
    task_grads, losses = problem(2)
    jacobian = matrix(task_grads)
    plain = apply(MGDA, task_grads, losses, start(MGDA))
    method = SCALE_MGDA
    out = apply(method, task_grads, losses, start(method))
    close(out.weights, T * plain.weights)
    close(out.heads, np.ones(T))
    method = weighting.matched_scale(SCALED["short"])  # Σ w = n / √m at equal gradients
    out = apply(method, task_grads, losses, start(method))
    squared = np.sum(jacobian**2, axis=1)
    close(out.state.factor, np.sqrt(squared.mean()))
    close(out.weights, np.sqrt(squared.mean() / squared))
    method = weighting.matched_scale(RLW)
    out = apply(method, task_grads, losses, start(method))
    close(out.weights, T * RLW.update(losses, (), key=KEY)[0])
    close(out.heads, out.weights)
    aggregator = weighting.matched_scale(SCALED["mean of gradients"])
    out = apply(aggregator, task_grads, losses, start(aggregator))
    close(flat(out.direction), jacobian.sum(0))


def test_where_there_is_no_factor_it_is_one():
    task_grads, losses = problem(2)
    opposite = jax.tree.map(lambda g: jnp.stack([g[0], -g[0], 0 * g[0]]), task_grads)
    backwards = weighting.as_aggregator(weighting.static([-1.0, -1.0, -1.0]))
    for inner, grads in (
        (SCALED["graddrop"], opposite),
        (backwards, task_grads),
        (weighting.static([-1.0, -1.0, -1.0]), task_grads),
        (weighting.as_gramian(weighting.static([0.0, 0.0, 0.0])), task_grads),
    ):
        method = weighting.matched_scale(inner)
        out = apply(method, grads, losses, start(method))
        assert float(out.state.factor) == 1
        close(flat(out.direction), flat(apply(inner, grads, losses, ()).direction))


def test_only_the_real_call_is_remembered():
    for kind in (base.LossWeighting, base.GramianWeighting):
        method = weighting.matched_scale(counting(kind))
        assert int(run(method, range(3)).state.inner.calls) == 3
    aggregator = weighting.as_aggregator(counting(base.GramianWeighting))
    method = weighting.matched_scale(aggregator)
    assert int(run(method, range(3)).state.inner.calls) == 3
    # What it remembers is of the real problem, not of the reference.
    probed = weighting.matched_scale(probe(base.GramianWeighting))
    jacobian = matrix(problem(4)[0])
    close(run(probed, [4]).state.inner.statistic, jacobian @ jacobian.T)


# --- with_head_weights ------------------------------------------------------------


def test_heads_as_asked():
    task_grads, losses = problem()
    mask = jnp.array([True, False, True])
    for inner in (FAMO, TOY):
        plain = apply(inner, task_grads, losses, start(inner), mask=mask)
        for word, expected in (("ones", mask), ("weights", plain.weights)):
            method = weighting.with_head_weights(inner, word)
            out = apply(method, task_grads, losses, start(method), mask=mask)
            close(out.heads, expected)
            close(flat(out.direction), flat(plain.direction))
    lifted = weighting.as_aggregator(FAMO)
    plain = apply(lifted, task_grads, losses, start(lifted), mask=mask)
    assert not np.allclose(plain.heads, mask)
    method = weighting.with_head_weights(lifted, "ones")
    out = apply(method, task_grads, losses, start(lifted), mask=mask)
    close(out.heads, mask)
    close(flat(out.direction), flat(plain.direction))
    with pytest.raises(ValueError, match="a direction without weights"):
        weighting.with_head_weights(lifted, "weights")
    with pytest.raises(ValueError, match="Did you mean 'ones'"):
        weighting.with_head_weights(FAMO, "one")


# --- cr_mogm ----------------------------------------------------------------------


def test_smoothed_weights():
    alpha = 0.7
    method = weighting.cr_mogm(PCGRAD, alpha)
    state, smooth = start(method), None
    for seed in range(4):
        task_grads, losses = problem(seed)
        now = np.asarray(apply(PCGRAD, task_grads, losses, ()).weights)
        smooth = now if smooth is None else alpha * smooth + (1 - alpha) * now
        out = apply(method, task_grads, losses, state)
        close(out.weights, smooth)
        close(flat(out.direction), smooth @ matrix(task_grads))
        close(out.heads, np.ones(T))
        state = out.state


def test_an_absent_task_keeps_its_smoothed_weight():
    method = weighting.cr_mogm(counting(base.LossWeighting), 0.5)
    assert isinstance(method, base.GramianWeighting)
    assert method.weigh_heads is True
    state, found = method.init(T), []
    masks = ([1, 0, 1], [1, 1, 0], [0, 1, 1])
    for step, mask in enumerate(masks):
        keep = jnp.array(mask, bool)
        losses = jnp.where(keep, 4.0 * (step + 1), 0)
        weights, state = method.update(jnp.eye(T), state, losses=losses, mask=keep)
        found.append(weights.tolist())
    assert found == [[4, 0, 4], [6, 8, 0], [0, 10, 8]]
    assert state.weights.tolist() == [6, 10, 8]


def test_heads_of_smoothed_weights_follow_the_rule():
    weighed = weighting.with_head_weights(PCGRAD, "weights")
    out = run(weighting.cr_mogm(weighed, 0.5))
    close(out.heads, out.weights)
    own = PCGRAD._replace(weigh_heads=lambda state: jnp.arange(3.0))
    close(run(weighting.cr_mogm(own, 0.5)).heads, jnp.arange(3.0))


def test_the_method_within_by_name():
    def last(**arguments):
        return run(weighting.make("cr_mogm", **arguments)).weights

    mapping = {"name": "equal", "reduction": "mean"}
    close(last(method=mapping, alpha=0.5), np.full(T, 1 / T))
    close(last(method=EQUAL, alpha=0.5), np.ones(T))
    close(last(method="equal"), np.ones(T))
    nested = {"name": "cr_mogm", "method": mapping, "alpha": 0.5}
    close(last(method=nested, alpha=0.5), np.full(T, 1 / T))
    default = weighting.make("cr_mogm")
    close(run(default, [0]).weights, run(weighting.upgrad(), [0]).weights)
    wrong = [
        ({"method": "pcgrda"}, "Did you mean 'pcgrad'"),
        ({"method": {"order": "ascending"}}, "names none"),
        ({"method": {"name": "pcgrad", "ordr": 1}}, "Did you mean 'order'"),
        ({"method": "graddrop"}, "found a GradientAggregator"),
        ({"method": 3}, "found a int"),
        ({"alpha": 1.0}, "at least 0 and below 1"),
    ]
    for arguments, text in wrong:
        with pytest.raises(ValueError, match=text):
            weighting.make("cr_mogm", **arguments)
    with pytest.raises(ValueError, match="hyper-parameter of method 'mgda' 'method'"):
        weighting.make("mgda", method="pcgrad")

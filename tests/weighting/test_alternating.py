"""One task a step, curricula and phases, against what they say in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import engine, train, weighting
from mtl_jax.weighting import base

KEY = jax.random.key(3)


def turns(method, steps, t=3, mask=None, **extra):
    state, found = method.init(t), []
    update = jax.jit(method.update)
    for i in range(steps):
        key = jax.random.fold_in(KEY, i)
        weights, state = update(jnp.ones(t), state, key=key, mask=mask, **extra)
        assert sorted(np.asarray(weights)) == [0.0] * (t - 1) + [1.0]
        found.append(int(np.argmax(weights)))
    return found


def test_round_robin_passes_over_who_is_absent():
    assert turns(weighting.alternate(), 7) == [0, 1, 2, 0, 1, 2, 0]
    here = jnp.array([True, False, True])
    assert turns(weighting.alternate(), 4, mask=here) == [0, 2, 0, 2]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_tasks_are_drawn_by_their_sizes(temperature):
    sizes = np.array([1.0, 8.0, 27.0])
    method = weighting.alternate(sizes, temperature)
    found = jax.vmap(
        lambda key: method.update(jnp.ones(3), method.init(3), key=key)[0]
    )(jax.random.split(KEY, 4000))
    expected = sizes ** (1 / temperature) / np.sum(sizes ** (1 / temperature))
    np.testing.assert_allclose(np.mean(found, axis=0), expected, atol=0.03)


def test_the_first_gain_of_the_bandit_goes_half_to_the_task_that_had_it():
    """The weights of step t = 2, with α = 1/t = 1/2, by equation 8 of the paper."""
    method = weighting.bandit(step_size=0.2)
    weights, state = method.update(jnp.ones(3), method.init(3), key=KEY)
    chosen = int(np.argmax(weights))
    state = method.observe(jnp.ones(3), jnp.full(3, 0.5), state)
    size = np.exp(0.2 * 0.5 * 3)  # r = 1/2, and every task was drawn with 1/3
    expected = np.full(3, (1 + (1 + size) / 2) / 2)
    expected[chosen] = (size + 1) / 2
    found = np.exp(np.asarray(state.log_weights))
    np.testing.assert_allclose(found, expected / expected.max(), rtol=1e-5)
    assert np.argmax(found) == chosen


def exp3s(omega, chosen, pi, reward, share, eta):
    """Equation 7 to 9 of the paper, as they stand."""
    n = len(omega)
    estimate = np.zeros(n)
    estimate[chosen] = reward / pi[chosen]
    moved = np.exp(omega + eta * estimate)
    new = np.zeros(n)
    for i in range(n):
        others = sum(moved[j] for j in range(n) if j != i)
        new[i] = np.log((1 - share) * moved[i] + share / (n - 1) * others)
    return new


def test_the_bandit_is_exp3s_on_prediction_gains():
    rng, eta, explore, t = np.random.default_rng(0), 0.3, 0.2, 4
    method = weighting.bandit(eta, explore)
    state, omega, sizes = method.init(t), np.zeros(t), []
    for step in range(1, 12):
        pi = (1 - explore) * np.exp(omega) / np.exp(omega).sum() + explore / t
        before = rng.uniform(1, 2, t)
        after = before - rng.uniform(-0.2, 1, t)
        weights, state = method.update(
            jnp.asarray(before, jnp.float32), state, key=jax.random.fold_in(KEY, step)
        )
        chosen = int(np.argmax(weights))
        np.testing.assert_allclose(state.probability, pi[chosen], rtol=1e-4)
        state = method.observe(jnp.asarray(before), jnp.asarray(after), state)
        gain = before[chosen] - after[chosen]
        sizes.append(abs(gain))
        reward = np.clip(gain / (2 * np.mean(sizes)), -1, 1)
        omega = exp3s(omega, chosen, pi, reward, 1 / (step + 1), eta)
        np.testing.assert_allclose(
            state.log_weights, omega - omega.max(), rtol=1e-3, atol=1e-5
        )


def test_errors_of_alternation():
    with pytest.raises(ValueError, match=r"alternate was given sizes=\[1, 0\]"):
        weighting.alternate([1, 0])
    with pytest.raises(ValueError, match="alternate of 3 tasks was given sizes"):
        weighting.alternate([1.0, 2.0]).init(3)
    for method in (weighting.alternate([1.0, 2.0]), weighting.bandit()):
        with pytest.raises(ValueError, match="draws the task: update needs key"):
            method.update(jnp.ones(2), method.init(2))


# Curricula. Two tasks of three have joined, so that the third is not there.

GRAMIAN = jnp.asarray(np.cov(np.random.default_rng(1).normal(size=(3, 9))), jnp.float32)
LOSSES = jnp.array([0.5, 1.0, 2.0])


def test_a_task_that_is_yet_to_come_is_not_there():
    few, both = np.array([0, 1]), np.ix_([0, 1], [0, 1])
    for inner in (weighting.uw(), weighting.si()):
        method = weighting.curriculum(inner, [0, 0, 3])
        found, state = method.update(LOSSES, method.init(3), epoch=2)
        alone, _ = inner.update(LOSSES[few], inner.init(2))
        np.testing.assert_allclose(found, [*alone, 0], rtol=1e-6)
        assert state.joined.tolist() == [True, True, False]
        last, _ = method.update(LOSSES, state, epoch=3)
        assert float(last[2]) > 0
    method = weighting.curriculum(weighting.mgda(), [0, 0, 3], "steps")
    found, state = method.update(GRAMIAN, method.init(3), step=1)
    alone, _ = weighting.mgda().update(GRAMIAN[both], weighting.mgda().init(2))
    np.testing.assert_allclose(found, [*alone, 0], rtol=1e-5)
    heads = base.head_weights(method.weigh_heads, found, state)
    assert heads.tolist() == [1, 1, 0]
    rows = {"w": jnp.asarray(np.random.default_rng(2).normal(size=(3, 4)))}
    method = weighting.curriculum(weighting.trimmed_mean(0), [0, 0, 3])
    direction, heads, _ = method.update(
        rows, method.init(3, {"w": jnp.zeros(4)}), epoch=0, losses=LOSSES
    )
    np.testing.assert_allclose(direction["w"], rows["w"][:2].mean(0), rtol=1e-5)
    assert float(heads[2]) == 0


def test_errors_of_curricula_and_phases():
    equal, mgda = weighting.equal(), weighting.mgda()
    with pytest.raises(ValueError, match="unit of curriculum 'epoch'"):
        weighting.curriculum(equal, [0, 1], "epoch")
    with pytest.raises(ValueError, match="starts=-1; it must be a whole number"):
        weighting.curriculum(equal, [0, -1])
    with pytest.raises(ValueError, match="no task to train before step 2: let"):
        weighting.curriculum(equal, [3, 2], "steps")
    with pytest.raises(ValueError, match="curriculum of 3 tasks was given starts"):
        weighting.curriculum(equal, [0, 1]).init(3)
    with pytest.raises(ValueError, match="curriculum counts epochs"):
        method = weighting.curriculum(equal, [0, 1])
        method.update(jnp.ones(2), method.init(2))
    with pytest.raises(ValueError, match=r"every_k\(curriculum"):
        weighting.curriculum(weighting.every_k(mgda, 2), [0, 1])
    with pytest.raises(ValueError, match=r"\(restrict\).*one Gramian between them"):
        weighting.switch(equal, weighting.restrict(mgda, "last"), 2)
    with pytest.raises(TypeError, match="switch takes a LossWeighting"):
        weighting.switch(equal, weighting.moml(), 2)
    with pytest.raises(ValueError, match=r"'switch' was given then=\{'k': 1\}"):
        weighting.wrap(equal, "switch", then={"k": 1}, after=2)
    with pytest.raises(ValueError, match="needs the hyper-parameter after"):
        weighting.wrap(equal, "switch", then="mgda")


# Phases, in the engine: the gradients of every step are those of the method whose turn
# it is, for every pair of kinds.

PAIRS = {
    "losses": (weighting.famo(), weighting.uw()),
    "Gramian": (weighting.alternate(), weighting.mgda()),
    "heads": (weighting.fairgrad(), weighting.alternate()),
    "gradients": (weighting.alternate(), weighting.graddrop()),
}
TARGETS = jnp.array([[1.0, -1.0, 0.5], [-2.0, 0.5, 1.0]])


def losses_fn(shared, specific, batch):
    del batch
    return jnp.stack(
        [jnp.sum((shared - t) ** 2 + h**2) for t, h in zip(TARGETS, specific)]  # noqa: B905
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_a_switch_is_one_method_and_then_the_other(pair):
    one, other = PAIRS[pair]
    method = weighting.switch(one, other, 2, "steps")
    params, heads = jnp.array([0.3, 0.2, 0.1]), [jnp.ones(3), jnp.ones(3)]

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(which, state, step):
        return engine.gradients(
            which,
            lambda shared, specific: losses_fn(shared, specific, None),
            params,
            heads,
            state,
            key=jax.random.fold_in(KEY, step),
            step=step,
        )

    state = method.init(2, params)
    alone = {0: one.init(2, params), 1: other.init(2, params)}
    for step in range(4):
        late = int(step >= 2)
        found = gradients(method, state, step)
        expected = gradients((one, other)[late], alone[late], step)
        np.testing.assert_allclose(found.shared, expected.shared, rtol=1e-4, atol=1e-6)
        for a, b in zip(found.specific, expected.specific, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        state, alone[late] = found.state, expected.state
        if method.observe is not None:
            state = method.observe(LOSSES[:2], LOSSES[:2] / 2, state)
        which = (one, other)[late]
        if which.observe is not None:
            alone[late] = which.observe(LOSSES[:2], LOSSES[:2] / 2, alone[late])


def test_alternation_then_joint_steps_in_a_compiled_step():
    method = weighting.switch(weighting.alternate(), weighting.equal(), 1)
    optimizer = optax.sgd(0.1)
    step = train.make_train_step(
        losses_fn, method, optimizer, parallel="jit", steps_per_epoch=2
    )
    state = train.create(
        jnp.zeros(3),
        [jnp.zeros(3)] * 2,
        method=method,
        optimizer=optimizer,
        num_tasks=2,
    )
    seen = []
    for _ in range(4):
        state, output = step(state, {"x": jnp.zeros(2)})
        seen.append(output.weights.tolist())
    assert seen == [[1, 0], [0, 1], [1, 1], [1, 1]]

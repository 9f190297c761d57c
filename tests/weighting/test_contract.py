"""Every method keeps the contract of `mtl_jax.weighting.base`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import BILEVEL, TABLE

from mtl_jax import checkpoint, weighting

T, P = 5, 12
KEY = jax.random.key(7)


@pytest.fixture(params=TABLE, ids=lambda row: row.name)
def row(request):
    return request.param


def problem(seed=0, t=T):
    rng = np.random.default_rng(seed)
    jacobian = jnp.asarray(rng.normal(size=(t, P)), jnp.float32)
    return jacobian, jnp.asarray(rng.uniform(0.5, 2, t), jnp.float32)


def apply(method, jacobian, losses, state, key=KEY, epoch=0, **extra):
    """One step of a method, and what it observes after it.

    Always with the same keywords: what one test has compiled, the next one uses.
    """
    out = weighting.aggregate(
        method,
        jacobian,
        losses=losses,
        state=state,
        key=key,
        epoch=jnp.int32(epoch),
        **extra,
    )
    state = out.state
    if getattr(method, "observe", None) is not None:
        after = losses * jnp.linspace(0.8, 1.1, len(losses))
        state = method.observe(losses, after, state, nonsense=1)
    return out.direction, state


def describe(tree):
    return [
        (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False))
        for leaf in jax.tree.leaves(tree)
    ], jax.tree.structure(tree)


def test_the_table_has_every_method():
    assert sorted([*(row.name for row in TABLE), *BILEVEL]) == sorted(weighting.METHODS)


def test_state_is_stable_and_one_program_serves_all_steps(row):
    method = row.make()
    state = method.init(T, jnp.zeros(P))
    before = describe(state)
    leaves = jax.tree.leaves(state)
    assert len({id(leaf) for leaf in leaves}) == len(leaves), "donated twice"
    traces = []

    @jax.jit
    def step(jacobian, losses, state, key, epoch):
        traces.append(1)
        more = {"nonsense": 3, "step": 1}
        return apply(method, jacobian, losses, state, key, epoch, **more)

    for i in range(60):
        jacobian, losses = problem(i)
        key = jax.random.fold_in(KEY, i)
        direction, state = step(jacobian, losses, state, key, jnp.int32(i // 6))
        assert describe(state) == before
        assert direction.shape == (P,)
        assert direction.dtype == jnp.float32
        assert np.all(np.isfinite(direction))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
        if i == 0:  # compiled as a whole, and with keywords that it does not know
            plain, _ = apply(
                method, jacobian, losses, method.init(T, jnp.zeros(P)), key
            )
            np.testing.assert_allclose(direction, plain, rtol=1e-5, atol=1e-6)
    assert len(traces) == 1
    assert not any(weak for _, _, weak in before[0]), "give dtypes in init"


def test_vmap_over_seeds_equals_a_loop(row):
    method = row.make()
    jacobians, losses = zip(*(problem(i) for i in range(3)), strict=True)
    keys = jax.random.split(KEY, 3)
    state = method.init(T, jnp.zeros(P))
    together, states = jax.vmap(lambda j, x, k: apply(method, j, x, state, k))(
        jnp.stack(jacobians), jnp.stack(losses), keys
    )
    for i in range(3):
        alone, one = apply(method, jacobians[i], losses[i], state, keys[i])
        np.testing.assert_allclose(together[i], alone, rtol=1e-5, atol=1e-6)
        for a, b in zip(jax.tree.leaves(states), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-6)


def test_numeric_hyper_parameters_may_be_tracers(row):
    if not row.tuned:
        pytest.skip("this method has no numeric hyper-parameter")
    jacobian, losses = problem()
    before, _ = problem(1)
    fall = jnp.array([0.9, 0.5, 1.0, 0.7, 1.1])
    for name, value in row.tuned.items():

        def run(value, name=name):
            method = row.make(**{name: value})
            _, state = apply(method, before, losses, method.init(T, jnp.zeros(P)))
            _, state = apply(method, jacobian, losses * fall, state, epoch=1)
            return apply(method, jacobian, losses * fall**2, state, epoch=2)[0]

        values = jnp.array([value, 2 * value], jnp.float32)
        swept = jax.vmap(run)(values)
        np.testing.assert_allclose(swept[0], run(value), rtol=1e-4, atol=1e-5)
        assert not np.array_equal(swept[0], swept[1]), f"{name} has no effect"


def test_same_key_same_result_other_key_other_result(row):
    method = row.make()
    jacobian, losses = problem(3)
    jacobian = jacobian[:, :3]  # few dimensions, many conflicts
    state = method.init(T, jacobian[0])
    results = [
        apply(method, jacobian, losses, state, jax.random.key(i))[0]
        for i in (1, 1, *range(2, 8))
    ]
    np.testing.assert_array_equal(results[0], results[1])
    differ = any(not np.allclose(results[0], r) for r in results[2:])
    assert differ == (row.random or bool(row.fixed))


def test_checkpoint_round_trip_in_mid_sequence(row, tmp_path):
    method = row.make()
    state = method.init(T, jnp.zeros(P))
    for i in range(3):
        _, state = apply(method, *problem(i), state, epoch=i)
    like = method.init(T, jnp.zeros(P))
    if jax.tree.leaves(state):
        with checkpoint.Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(3, state, meta={})
            restored = checkpoints.restore(like).state
    else:
        restored = like
    a, _ = apply(method, *problem(4), state, epoch=4)
    b, _ = apply(method, *problem(4), restored, epoch=4)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("t", [1, 5])
def test_an_absent_task_is_left_out(row, t):
    """Its weight is zero and the others are weighed as if it were not there."""
    if row.name == "static":
        pytest.skip("static weights belong to a fixed number of tasks")
    t = t if t >= row.min_tasks else row.min_tasks
    method = row.make_fixed()
    jacobian, losses = problem(1, t)
    where = 2 if t > 1 else t
    mask = jnp.ones(t + 1, bool).at[where].set(False)
    wide = jnp.insert(jacobian, where, 0, axis=0)
    wide_losses = jnp.insert(losses, where, 0)
    state, wide_state = (method.init(n, jnp.zeros(P)) for n in (t, t + 1))
    for i in range(3):
        out = weighting.aggregate(
            method,
            wide,
            losses=wide_losses,
            state=wide_state,
            key=KEY,
            mask=mask,
            epoch=jnp.int32(i),
        )
        direction, wide_state = out.direction, out.state
        if getattr(method, "observe", None) is not None:
            wide_state = method.observe(
                wide_losses, fall(wide_losses), wide_state, mask=mask
            )
        alone, state = apply_plain(method, jacobian, losses, state, i)
        if out.weights is not None:
            assert out.weights[where] == 0
        assert np.all(np.isfinite(direction))
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(wide_state))
        if not row.random:
            np.testing.assert_allclose(direction, alone, rtol=1e-4, atol=1e-5)


def fall(losses):
    """Losses after a step, another fall for each."""
    return losses - 0.1 * jnp.sin(3 * losses) ** 2


def apply_plain(method, jacobian, losses, state, epoch):
    out = weighting.aggregate(
        method, jacobian, losses=losses, state=state, key=KEY, epoch=jnp.int32(epoch)
    )
    state = out.state
    if getattr(method, "observe", None) is not None:
        state = method.observe(losses, fall(losses), state)
    return out.direction, state


def test_no_task_at_all_gives_zero(row):
    method = row.make()
    out = weighting.aggregate(
        method,
        jnp.zeros((T, P)),
        losses=jnp.zeros(T),
        key=KEY,
        mask=jnp.zeros(T, bool),
        epoch=jnp.int32(0),
    )
    np.testing.assert_array_equal(out.direction, 0)


@pytest.mark.parametrize("t", [1, 128])
def test_any_number_of_tasks(row, t):
    """Those between are in test_properties.py."""
    if t < row.min_tasks:
        with pytest.raises(ValueError, match="tasks"):
            row.make_for(t).init(t, jnp.zeros(P))
        return
    method = row.make_for(t)
    jacobian, losses = problem(2, t)
    direction, _ = apply(method, jacobian, losses, method.init(t, jnp.zeros(P)))
    assert np.all(np.isfinite(direction))
    if t <= P or not row.non_conflicting:  # else the point is Pareto stationary
        assert np.any(direction != 0)


def test_bfloat16_gradients(row):
    method = row.make_fixed()
    jacobian, losses = problem(5)
    state = method.init(T, jnp.zeros(P))
    low, _ = apply(method, jacobian.astype(jnp.bfloat16), losses, state)
    high, _ = apply(method, jacobian, losses, state)
    assert low.dtype == jnp.bfloat16
    if not row.random:
        scale = np.abs(high).max()
        np.testing.assert_allclose(low.astype(jnp.float32), high, atol=0.05 * scale)


def test_no_two_methods_agree_on_a_generic_jacobian():
    losses = problem(11)[1]
    seen = {}
    for row in TABLE:
        method = row.make()
        state = method.init(T, jnp.zeros(P))
        for i in range(4):  # far enough for methods that begin like another
            jacobian = problem(11 + i)[0]
            direction, state = apply(method, jacobian, losses * 0.9**i, state, epoch=i)
            losses = losses * jnp.array([0.9, 1.0, 0.95, 1.05, 0.8])
        seen[row.name] = np.asarray(direction)
        losses = problem(11)[1]
    names = list(seen)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert not np.allclose(seen[a], seen[b], rtol=1e-3), (a, b)

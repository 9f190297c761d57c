"""The methods that see the task gradients, against independent NumPy."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import optimize

from mtl_jax import weighting
from mtl_jax.weighting import task_rows
from mtl_jax.weighting.jacobian_based.db_mtl import db_mtl
from mtl_jax.weighting.jacobian_based.excess_mtl import excess_mtl
from mtl_jax.weighting.jacobian_based.graddrop import graddrop
from mtl_jax.weighting.jacobian_based.moco import moco
from mtl_jax.weighting.jacobian_based.momentum_config import momentum_config
from mtl_jax.weighting.jacobian_based.trimmed_mean import trimmed_mean

PRECISIONS = ["float64", "float32"]
REMEMBERING = {
    "moco": moco(gamma=0.5),
    "moco, raw": moco(normalize=False),
    "db_mtl": db_mtl(),
    "db_mtl, debiased": db_mtl(beta_sigma=0.5, debias=True),
    "excess_mtl": excess_mtl(0.5),
    "momentum_config": momentum_config(),
    "momentum_config, in turn": momentum_config(update_tasks="one", output="momentum"),
}


@pytest.fixture(scope="module")
def golden(shared_dir):
    return json.loads((shared_dir / "golden" / "public.json").read_text())


def entries(golden, strategy, precision):
    """The entries to be compared in a precision, their cases and tolerances."""
    for entry in golden["entries"]:
        if entry["strategy"] != strategy or entry["expected"] is None:
            continue
        bits = precision.removeprefix("float")
        tolerance = entry["tolerance"]
        relative = tolerance.get(f"d_rel_f{bits}", tolerance.get(f"rel_f{bits}"))
        if relative is None or entry.get("optional"):
            continue
        absolute = tolerance.get("d_abs", 0.0)
        yield entry, golden["cases"][entry["case"]], relative, absolute


def check(name, found, expected, relative, absolute=0.0):
    found, expected = np.asarray(found, np.float64), np.asarray(expected)
    error = np.linalg.norm(found - expected)
    bound = relative * np.linalg.norm(expected) + absolute
    assert error <= bound, f"{name}: found {found}, expected {expected}"


def run(method, steps, dtype=jnp.float32, keeps=None):
    """Directions `[K, P]`, head weights `[K, T]` and states of a sequence."""
    jacobian = jnp.asarray(steps[0][0], dtype)
    state = method.init(len(jacobian), jacobian[0])
    directions, heads, states = [], [], []
    update = jax.jit(method.update)
    for k, (jacobian, losses) in enumerate(steps):
        extra = {} if keeps is None else {"mask": jnp.asarray(keeps[k])}
        d, h, state = update(
            jnp.asarray(jacobian, dtype),
            state,
            losses=jnp.asarray(losses, dtype),
            **extra,
        )
        directions.append(np.asarray(d, np.float64))
        heads.append(np.asarray(h, np.float64))
        states.append(state)
    return np.stack(directions), np.stack(heads), states


def steps_of(rng, k, t, p):
    return [(rng.normal(size=(t, p)), rng.uniform(0.5, 2, t)) for _ in range(k)]


# What all that remember gradients have in common


@pytest.mark.parametrize("method", REMEMBERING.values(), ids=REMEMBERING)
def test_an_absent_task_keeps_its_memory(method):
    """It comes and goes; while it is away the others are a problem of their own."""
    rng = np.random.default_rng(0)
    steps, t = steps_of(rng, 6, 4, 5), 4
    keeps = [np.array([True, True, k % 2 == 1, True]) for k in range(6)]
    keeps[3][:] = False  # a batch without labels
    wide = [
        (np.where(k[:, None], j, 0), np.where(k, x, 0))
        for (j, x), k in zip(steps, keeps, strict=True)
    ]
    found, heads, states = run(method, wide, keeps=keeps)
    others = [0, 1, 3]
    alone, _, _ = run(method, [(j[others], x[others]) for j, x in steps[:1]])
    np.testing.assert_allclose(found[0], alone[0], rtol=1e-4, atol=1e-6)
    assert not np.any(found[3])
    assert heads[0][2] == 0
    assert not np.any(heads[3])
    before = jax.tree.leaves(method.init(t, jnp.zeros(5)))
    for old, new in zip(before, jax.tree.leaves(states[0]), strict=True):
        if old.ndim and old.shape[0] == t:
            np.testing.assert_array_equal(old[2], new[2])
    for old, new in zip(
        jax.tree.leaves(states[2]), jax.tree.leaves(states[3]), strict=True
    ):
        np.testing.assert_array_equal(old, new)
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize("method", REMEMBERING.values(), ids=REMEMBERING)
def test_memory_of_bfloat16_gradients_is_float32(method):
    rng = np.random.default_rng(1)
    params = {"a": jnp.zeros((2, 3), jnp.bfloat16), "b": jnp.zeros(4, jnp.bfloat16)}
    state = method.init(3, params)
    grads = {
        name: jnp.asarray(rng.normal(size=(3, *leaf.shape)), jnp.bfloat16)
        for name, leaf in params.items()
    }
    update, losses = jax.jit(method.update), jnp.ones(3)
    for _ in range(3):
        direction, _, new = update(grads, state, losses=losses)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
            assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
            assert a.dtype in (jnp.float32, jnp.int32)
        for name, leaf in direction.items():
            assert (leaf.shape, leaf.dtype) == (params[name].shape, jnp.bfloat16)
        state = new


@pytest.mark.parametrize("method", REMEMBERING.values(), ids=REMEMBERING)
def test_the_leaves_of_a_tree_are_columns_of_one_matrix(method):
    rng = np.random.default_rng(2)
    steps = steps_of(rng, 3, 3, 10)
    found, _, _ = run(method, steps)

    def as_tree(x):
        return {"b": x[..., :4].reshape(*x.shape[:-1], 2, 2), "a": x[..., 4:]}

    state, update = method.init(3, as_tree(jnp.zeros(10))), jax.jit(method.update)
    for k, (jacobian, losses) in enumerate(steps):
        grads = as_tree(jnp.asarray(jacobian, jnp.float32))
        d, _, state = update(grads, state, losses=jnp.asarray(losses))
        flat = np.concatenate([np.ravel(d["b"]), d["a"]])
        np.testing.assert_allclose(flat, found[k], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in REMEMBERING if n != "moco, raw"])
def test_the_scale_of_the_losses_changes_the_length_at_most(name):
    method, rng = REMEMBERING[name], np.random.default_rng(3)
    steps = steps_of(rng, 5, 4, 6)
    plain, _, _ = run(method, steps)
    for scale in (1e-6, 1e6):
        scaled, _, _ = run(method, [(scale * j, x) for j, x in steps])
        length = np.linalg.norm(scaled[0]) / np.linalg.norm(plain[0])
        assert length == pytest.approx(
            1 if name.startswith("moco") else scale, rel=1e-4
        )
        np.testing.assert_allclose(scaled / length, plain, rtol=1e-3, atol=1e-4)


def test_init_without_parameters_is_a_clear_error():
    for method in REMEMBERING.values():
        assert not method.at_representation
        with pytest.raises(ValueError, match=r"init\(num_tasks, params\)"):
            method.init(3)


def test_losses_are_needed():
    grads = jnp.ones((2, 3))
    for method in (moco(), db_mtl()):
        with pytest.raises(ValueError, match="update needs losses"):
            method.update(grads, method.init(2, grads[0]))
    method = moco(normalize=False)
    method.update(grads, method.init(2, grads[0]))


def test_average_leaves_the_dtype_of_the_memory():
    memory = jnp.zeros((2, 3))
    rate = jnp.array([0.5, 0.5], jnp.bfloat16)
    new = task_rows.average(rate, memory, jnp.ones((2, 3)), jnp.ones(2, bool))
    assert new.dtype == jnp.float32


# MoCo


@pytest.mark.parametrize("normalize", [True, False])
def test_moco_by_hand(normalize):
    rng = np.random.default_rng(4)
    steps = steps_of(rng, 6, 3, 5)
    hyper = {"beta": 0.7, "beta_sigma": 0.3, "gamma": 0.9, "gamma_sigma": 0.2}
    method = moco(**hyper, rho=0.4, normalize=normalize)
    found, heads, states = run(method, steps)
    y, w = np.zeros((3, 5)), np.full(3, 1 / 3)
    for k, (g, losses) in enumerate(steps, 1):
        if normalize:
            g = losses[:, None] * g / np.linalg.norm(g, axis=1, keepdims=True)
        y = y - 0.7 / k**0.3 * (y - g)
        x = w - 0.9 / k**0.2 * (y @ y.T @ w + 0.4 * w)
        shift = optimize.brentq(
            lambda s, x=x: np.maximum(x - s, 0).sum() - 1, x.min() - 2, x.max() + 1
        )
        w = np.maximum(x - shift, 0)
        np.testing.assert_allclose(states[k - 1].weights, w, atol=1e-5)
        np.testing.assert_allclose(found[k - 1], w @ y, atol=1e-5)
    np.testing.assert_array_equal(heads, 1)


def test_moco_with_the_softmax_stays_uniform_and_with_the_projection_does_not():
    steps = [(np.diag([1.0, 2.0]), np.array([1.0, 3.0]))] * 200
    _, _, states = run(moco(gamma_sigma=0.0, projection="softmax"), steps)
    assert np.abs(states[-1].weights - 0.5).max() < 0.15
    _, _, states = run(moco(gamma_sigma=0.0), steps)
    np.testing.assert_allclose(states[-1].weights, [0.9, 0.1], atol=1e-3)  # of MGDA


def test_moco_errors():
    with pytest.raises(ValueError, match="beta=2"):
        moco(beta=2)
    with pytest.raises(ValueError, match="Did you mean 'softmax'"):
        moco(projection="soft")


# DB-MTL


def test_db_mtl_by_hand():
    rng = np.random.default_rng(5)
    steps = steps_of(rng, 5, 3, 6)
    found, heads, _ = run(db_mtl(0.8, 0.4), steps)
    debiased, _, _ = run(db_mtl(0.8, 0.4, debias=True), steps)
    b, left = np.zeros((3, 6)), 1.0
    for k, (g, losses) in enumerate(steps, 1):
        rate = 0.8 / k**0.4
        logs = g / losses[:, None]
        b, left = logs + rate * (b - logs), rate * left
        norms = np.linalg.norm(b, axis=1)
        expected = (norms.max() / norms) @ b
        np.testing.assert_allclose(found[k - 1], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            debiased[k - 1], expected / (1 - left), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(heads[k - 1], 1 / losses, rtol=1e-6)


def test_db_mtl_does_not_see_the_unit_of_a_loss():
    rng = np.random.default_rng(6)
    steps = steps_of(rng, 4, 3, 6)
    unit = np.array([1e4, 1.0, 1e-4])
    found, _, _ = run(db_mtl(), steps)
    scaled, _, _ = run(db_mtl(), [(unit[:, None] * j, unit * x) for j, x in steps])
    np.testing.assert_allclose(found, scaled, rtol=1e-4, atol=1e-5)


def test_db_mtl_of_losses_that_have_no_logarithm():
    grads = jnp.array([[0.0, 0.0], [1.0, 2.0]])
    method = db_mtl(beta=0.0)
    d, heads, _ = method.update(
        grads, method.init(2, grads[0]), losses=jnp.array([0.0, 2.0])
    )
    assert d.tolist() == [0.5, 1.0]
    assert heads.tolist() == [0.0, 0.5]
    d, _, _ = method.update(
        grads, method.init(2, grads[0]), losses=jnp.array([-1.0, 2.0])
    )
    assert np.all(np.isnan(d))
    with pytest.raises(ValueError, match="beta=1"):
        db_mtl(beta=1.5)


# ExcessMTL


def test_excess_mtl_by_hand():
    rng = np.random.default_rng(7)
    steps = steps_of(rng, 6, 3, 5)
    found, heads, _ = run(excess_mtl(0.7), steps)
    w, sums, first = np.ones(3), 0, None
    for k, (g, _) in enumerate(steps):
        sums = sums + g**2
        excess = np.sum(g**2 / np.sqrt(sums), axis=1)
        if first is None:
            first = excess
        else:
            w = w * np.exp(0.7 * excess / first)
            w = 3 * w / w.sum()
        np.testing.assert_allclose(heads[k], w, rtol=1e-4)
        np.testing.assert_allclose(found[k], w @ g, rtol=1e-4, atol=1e-4)


def test_excess_mtl_keeps_a_weight_that_is_nearly_nothing():
    """As a number it would be 0 after this; the task could never come back."""
    quiet = (np.diag([1.0, 1e-3]), np.ones(2))
    loud = (np.diag([1e-3, 1e3]), np.ones(2))
    steps = [(np.eye(2), np.ones(2))] + [quiet] * 40 + [loud] * 40
    _, heads, _ = run(excess_mtl(20.0), steps)
    assert np.all(np.isfinite(heads))
    assert heads[40][1] < 1e-30
    assert heads[-1][1] > 1.9


def test_excess_mtl_waits_for_a_gradient():
    steps = [(np.diag([1.0, 0.0]), np.ones(2))] * 3 + [(np.eye(2), np.ones(2))] * 3
    found, heads, states = run(excess_mtl(1.0), steps)
    assert np.all(np.isfinite(found))
    assert states[2].baseline.tolist() == [1.0, 0.0]
    np.testing.assert_allclose(states[3].baseline, [1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(heads.sum(1), 2, rtol=1e-6)
    with pytest.raises(ValueError, match="Known: official, torchjd"):
        excess_mtl(convention="mine")


# Trimmed mean


def test_trimmed_mean_counts_the_present():
    rng = np.random.default_rng(8)
    jacobian = rng.normal(size=(8, 5)).astype(np.float32)
    update = jax.jit(trimmed_mean(2).update)
    for present in range(9):
        keep = np.isin(np.arange(8), rng.permutation(8)[:present])
        masked = jnp.asarray(np.where(keep[:, None], jacobian, 0))
        d, heads, _ = update(masked, weighting.EmptyState(), mask=jnp.asarray(keep))
        rows = np.sort(jacobian[keep], axis=0)
        if present > 4:
            expected = rows[2:-2].mean(0)
        else:  # too few to drop four
            expected = np.median(rows, axis=0) if present else np.zeros(5)
        np.testing.assert_allclose(d, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(heads, keep)


def test_trimmed_mean_withstands_what_the_mean_does_not():
    rng = np.random.default_rng(9)
    good = rng.normal(size=(5, 4)) * 0.1 + 1
    bad = np.array([[1e6] * 4, [-1e6] * 4])
    jacobian = jnp.asarray(np.vstack([good, bad]), jnp.float32)
    d = weighting.aggregate(trimmed_mean(2), jacobian).direction
    assert np.all(np.abs(np.asarray(d) - 1) < 0.4)


def test_trimmed_mean_errors():
    with pytest.raises(ValueError, match=r"4 tasks and drops 4 of them"):
        trimmed_mean(2).init(4)
    with pytest.raises(ValueError, match="trim=-1"):
        trimmed_mean(-1)
    assert trimmed_mean(2).init(5) == ()


# M-ConFIG


def config_by_hand(rows):
    """From the pseudo-inverse of the matrix of unit vectors itself."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    u = np.linalg.pinv(unit, rcond=1e-6) @ np.ones(len(rows))
    if np.linalg.norm(u) < 1e-9:
        return np.zeros_like(u)
    u = u / np.linalg.norm(u)
    return np.sum(rows @ u) * u


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_momentum_config_without_momentum_is_config(golden, precision):
    checked = 0
    with jax.enable_x64(precision == "float64"):
        update = jax.jit(momentum_config(beta1=0.0).update)
        state = momentum_config().init(20, jnp.zeros(50, precision))
        for entry, case, relative, absolute in entries(golden, "config", precision):
            t, p = case["T"], case["D"]
            jacobian = np.zeros((20, 50))  # one shape for all, with absent tasks
            jacobian[:t, :p] = case["J"]
            d, _, _ = update(
                jnp.asarray(jacobian, precision), state, mask=jnp.arange(20) < t
            )
            check(entry["id"], d[:p], entry["expected"]["d"], relative, absolute)
            checked += 1
    assert checked >= 15


@pytest.mark.parametrize("update_tasks", ["all", "one"])
def test_momentum_config_by_hand(update_tasks):
    """The published update in full, Adam-like, in NumPy; here optax's Adam makes it."""
    rng = np.random.default_rng(10)
    beta1, beta2, lr = 0.8, 0.95, 0.01
    steps = steps_of(rng, 9, 3, 7)
    found, heads, _ = run(momentum_config(beta1, update_tasks), steps)
    plain, _, _ = run(momentum_config(beta1, update_tasks, "momentum"), steps)
    adam = optax.adam(lr, b1=beta1, b2=beta2, eps=1e-8)
    theta = jnp.zeros(7)
    optimizer = adam.init(theta)
    by_hand = np.zeros(7)
    momenta, seen = np.zeros((3, 7)), np.zeros(3)
    m = v = np.zeros(7)
    for k, (g, _) in enumerate(steps, 1):
        turns = range(3) if update_tasks == "all" else [(k - 1) % 3]
        for t in turns:
            momenta[t] = beta1 * momenta[t] + (1 - beta1) * g[t]
            seen[t] += 1
        known = seen > 0
        hats = momenta[known] / (1 - beta1 ** seen[known])[:, None]
        mean = config_by_hand(hats)
        np.testing.assert_allclose(plain[k - 1], mean, rtol=1e-3, atol=1e-4)
        new = (1 - beta1**k) * mean
        gradient = (new - beta1 * m) / (1 - beta1)
        m = new
        v = beta2 * v + (1 - beta2) * gradient**2
        by_hand -= lr * mean / (np.sqrt(v / (1 - beta2**k)) + 1e-8)
        updates, optimizer = adam.update(jnp.asarray(found[k - 1]), optimizer, theta)
        theta = optax.apply_updates(theta, updates)
        np.testing.assert_allclose(theta, by_hand, rtol=2e-3, atol=2e-5)
    np.testing.assert_array_equal(heads, 1)


def test_the_momentum_may_be_a_tracer():
    rng = np.random.default_rng(12)
    grads = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.float32)

    def second(beta1):
        method = momentum_config(beta1)
        state = method.init(3, grads[0, 0])
        for g in grads:
            d, _, state = method.update(g, state)
        return d

    swept = jax.jit(jax.vmap(second))(jnp.array([0.0, 0.9]))
    for one, beta1 in zip(swept, (0.0, 0.9), strict=True):
        np.testing.assert_allclose(one, second(beta1), rtol=1e-3, atol=1e-4)
    assert not np.allclose(swept[0], swept[1])


def test_momentum_config_agrees_with_every_momentum_alike():
    rng = np.random.default_rng(11)
    steps = [(np.array([[1], [10], [0.1]]) * j, x) for j, x in steps_of(rng, 4, 3, 9)]
    found, _, states = run(momentum_config(output="momentum"), steps)
    momenta = np.asarray(states[-1].momenta, np.float64)
    cosines = momenta @ found[-1] / np.linalg.norm(momenta, axis=1)
    assert np.all(cosines > 0)
    np.testing.assert_allclose(cosines, cosines[0], rtol=1e-4)


def test_momentum_config_takes_turns_among_the_present():
    keeps = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)
    steps = [(np.eye(4), np.ones(4))] * 4
    method = momentum_config(update_tasks="one")
    _, _, states = run(method, steps, keeps=keeps)
    seen = [s.num_seen.tolist() for s in states]
    assert seen == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 1], [2, 1, 0, 1]]
    assert int(states[-1].turn) == 1


def test_momentum_config_of_opposite_momenta_is_zero():
    steps = [(np.array([[1.0, 2.0], [-1.0, -2.0]]), np.ones(2))] * 3
    found, _, _ = run(momentum_config(), steps)
    np.testing.assert_allclose(found, 0, atol=1e-5)
    with pytest.raises(ValueError, match="Known: all, one"):
        momentum_config(update_tasks="each")
    with pytest.raises(ValueError, match="Known: gradient, momentum"):
        momentum_config(output="adam")


# GradDrop


def test_graddrop_checks_its_leaks():
    with pytest.raises(ValueError, match=r"leak=1\.5; it must be a number, at least 0"):
        graddrop(1.5)
    with pytest.raises(ValueError, match="each must be a number"):
        graddrop([0.5, -0.1])
    with pytest.raises(ValueError, match="2 tasks was given leak of shape"):
        graddrop([0.1, 0.2, 0.3]).init(2)
    graddrop([0.1, 0.2]).init(2)
    jax.jit(lambda leak: graddrop(leak).init(2))(0.5)


def test_graddrop_leaks_what_it_is_told():
    jacobian = jnp.array([[1.0, -2.0, 3.0], [-1.0, 1.0, 2.0]])
    out = weighting.aggregate(graddrop([1.0, 1.0]), jacobian)
    np.testing.assert_allclose(out.direction, jacobian.sum(0))
    for seed in range(5):
        found = weighting.aggregate(
            graddrop([0.0, 1.0]), jacobian, key=jax.random.key(seed)
        ).direction
        rest = np.asarray(found - jacobian[1])  # all of task 1 and part of task 0
        assert np.all((rest == 0) | np.isclose(rest, jacobian[0]))

"""Gramian-based methods against solutions that are written from their definitions.

The references are NumPy and SciPy in float64 on the Jacobian; the methods see its
Gramian, in float64 too unless a test is about float32.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from mtl_jax import tree, weighting
from mtl_jax.solvers import conflict_averse
from mtl_jax.solvers.nonnegative_qp import Solution
from mtl_jax.weighting import base

T, P = 5, 12
RNG = np.random.default_rng(0)
GENERIC = RNG.normal(size=(6, T, P))
CONFLICTING = GENERIC - 0.8 * GENERIC.mean(1, keepdims=True)
MANY = RNG.normal(size=(1, 64, 80)) + 0.05 * RNG.normal(size=(1, 1, 80))
BOTH = [pytest.param(CONFLICTING, id="5 tasks"), pytest.param(MANY, id="64 tasks")]
# Points where no direction is good for all: opposite pairs, and sums that are zero.
STATIONARY = np.stack(
    [
        np.outer([1.0, -1.0, 1.0, -1.0, 1.0], GENERIC[0, 0]),
        GENERIC[1] - GENERIC[1].mean(0),
        np.vstack([GENERIC[2, :2], -3 * GENERIC[2, :2], -GENERIC[2, :1]]),
        np.vstack([GENERIC[3, :4], [[0.1, 0.2, 0.3, 0.4]] @ -GENERIC[3, :4]]),
        np.vstack([GENERIC[4, :2], GENERIC[4, :1], -GENERIC[4, :2]]),
        np.outer([3.0, -1.0, -1.0, 2.0, -3.0], GENERIC[5, 0]),
    ]
)
# Two opposite pairs, and a task that could gain at no cost to them.
ONE_FREE = np.stack([np.vstack([j[:2], -j[:2], j[2:3]]) for j in GENERIC])
make = functools.cache(weighting.make)  # one object, one compilation
_COMPILED = {}


def run(method, jacobians, dtype="float64"):
    """Weights `[N, T]`, directions `[N, P]` and the states of a stack of Jacobians."""

    def one(jacobian):
        state = method.init(jacobian.shape[0])
        return method.update(tree.gramian(jacobian), state)

    with jax.enable_x64(dtype == "float64"):
        known = (method.update, jacobians.shape, dtype)
        if known not in _COMPILED:
            _COMPILED[known] = jax.jit(jax.vmap(one))
        w, states = _COMPILED[known](jnp.asarray(jacobians, dtype))
    w = np.asarray(w, np.float64)
    return w, np.einsum("nt,ntp->np", w, jacobians), states


def sweep(factory, values, jacobians):
    """The methods `factory(value)`: weights `[V, N, T]` and the states."""

    def one(value, jacobian):
        method = factory(value)
        state = method.init(jacobian.shape[0])
        return method.update(tree.gramian(jacobian), state)

    with jax.enable_x64(True):
        both = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
        w, states = both(jnp.asarray(values), jnp.asarray(jacobians))
    return np.asarray(w), states


def close(found, expected, relative=1e-9):
    error = np.linalg.norm(found - expected)
    assert error <= relative * np.linalg.norm(expected), (found, expected)


def project(jacobian, g):
    """The nearest vector to g without conflict, as least squares in the multipliers."""
    multipliers, _ = scipy.optimize.nnls(jacobian.T, -g, maxiter=1000)
    return g + jacobian.T @ multipliers


def test_the_examples_conflict():
    for jacobian in (*CONFLICTING, *MANY):
        assert np.min(jacobian @ jacobian.mean(0)) < 0
        assert np.linalg.norm(project(jacobian, jacobian.mean(0))) > 0.1


# GradVac


def turn(jacobian, targets, beta):
    """GradVac on the gradients themselves, with angles."""
    t = len(jacobian)
    targets, total = targets.copy(), 0
    for i in range(t):
        g = jacobian[i]
        for j in range(t):
            if i == j:
                continue
            h = jacobian[j]
            angle = np.arccos(g @ h / np.linalg.norm(g) / np.linalg.norm(h))
            goal = np.arccos(targets[i, j])
            if angle > goal:
                size = np.linalg.norm(g) / np.linalg.norm(h)
                g = g + size * np.sin(angle - goal) / np.sin(goal) * h
                now = g @ h / np.linalg.norm(g) / np.linalg.norm(h)
                assert abs(now - targets[i, j]) < 1e-9, "the reference itself"
            targets[i, j] += beta * (np.cos(angle) - targets[i, j])
        total = total + g
    return total, targets


def test_gradvac_turns_each_gradient_to_the_target_angle():
    method = weighting.gradvac(beta=0.3, order="ascending")
    jacobians = (
        CONFLICTING + GENERIC[:1, :1] * np.array([2, 0, 1, 0, 0, 1])[:, None, None]
    )
    with jax.enable_x64(True):
        step = jax.jit(lambda j, s: method.update(tree.gramian(j), s))
        state, targets = method.init(T), np.zeros((T, T))
        for jacobian in jacobians:
            w, state = step(jnp.asarray(jacobian), state)
            d, targets = turn(jacobian, targets, 0.3)
            close(jacobian.T @ np.asarray(w), d)
            close(np.asarray(state.targets), targets)
        assert np.any(targets > 0) and np.any(targets < 0)


def test_gradvac_begins_as_pcgrad():
    _, d, _ = run(make("gradvac", order="ascending"), CONFLICTING)
    _, same, _ = run(make("pcgrad", order="ascending"), CONFLICTING)
    close(d, same)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradvac_does_not_weigh_by_rounding_errors(dtype):
    """Targets of equal gradients approach 1 and of opposite ones −1."""
    jacobian = np.outer([1.0, 1.7, -0.3], np.random.default_rng(1).normal(size=7))
    method = weighting.gradvac(order="ascending")
    with jax.enable_x64(dtype == "float64"):
        step = jax.jit(lambda j, s: method.update(tree.gramian(j), s))
        state = method.init(3)
        for _ in range(70):
            w, state = step(jnp.asarray(jacobian, dtype), state)
            found = jacobian.T @ np.asarray(w, np.float64)
            # Turned off the third, the first two vanish, and the third off the first.
            assert np.linalg.norm(found) <= 1e-5 * np.linalg.norm(jacobian)
        np.testing.assert_allclose(state.targets[0], [0, 1, -1], atol=1e-6)
        # The targets ask for cosines of ±1 that other gradients do not have.
        other = np.random.default_rng(2).normal(size=(3, 7))
        w, _ = step(jnp.asarray(other, dtype), state)
        assert np.all(np.isfinite(w))


def test_gradvac_leaves_pairs_with_an_absent_task_alone():
    method = weighting.gradvac(order="ascending")
    state = method.init(T)._replace(targets=jnp.full((T, T), 0.25))
    mask = jnp.arange(T) != 2
    gramian = tree.gramian(jnp.asarray(CONFLICTING[0], jnp.float32))
    _, after = jax.jit(method.update)(gramian, state, mask=mask)
    moved = np.asarray(after.targets != state.targets)
    pairs = np.outer(mask, mask) & ~np.eye(T, dtype=bool)
    np.testing.assert_array_equal(moved, pairs)


def test_gradvac_needs_a_key_or_an_order():
    method = weighting.gradvac()
    with pytest.raises(ValueError, match=r"random order.*key"):
        method.update(jnp.eye(2), method.init(2))
    with pytest.raises(ValueError, match="order of gradvac 'sorted'"):
        weighting.gradvac(order="sorted")


# IMTL-G, ConFIG, Aligned-MTL


def test_imtl_g_has_equal_projections_and_weights_of_sum_one():
    w, _, states = run(make("imtl_g"), CONFLICTING)
    for j, found in zip(CONFLICTING, w, strict=True):
        units = j / np.linalg.norm(j, axis=1, keepdims=True)
        system = np.block(
            [[units @ j.T, -np.ones((T, 1))], [np.ones((1, T)), np.zeros((1, 1))]]
        )
        close(found, np.linalg.solve(system, np.eye(T + 1)[T])[:T], 1e-8)
    assert np.all(states.solver.converged)


def test_imtl_g_of_dependent_gradients_is_least_squares():
    jacobians = np.abs(GENERIC) * (np.arange(P) < 3)
    jacobians[:, 4] = 2 * jacobians[:, 3]
    w, _, _ = run(make("imtl_g"), jacobians)
    for j, found in zip(jacobians, w, strict=True):
        v = np.linalg.pinv(j.T) @ np.linalg.pinv(j) @ np.linalg.norm(j, axis=1)
        close(found, v / v.sum(), 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_imtl_g_stands_still_at_opposite_gradients_and_says_where_it_has_no_answer(
    dtype,
):
    jacobians = np.zeros((6, T, P))
    jacobians[:, [1, 3]] = np.stack([GENERIC[:, 0], -GENERIC[:, 0]], 1)
    jacobians[2, 4] = -jacobians[2, 1]  # and three against one another
    jacobians[2, 0] = jacobians[2, 1]
    w, d, states = run(make("imtl_g"), jacobians, dtype)
    # Two opposite gradients have equal projections, zero; more are bound too often.
    np.testing.assert_array_equal(states.solver.converged, np.arange(6) != 2)
    assert np.all(np.abs(d) <= 1e-6)
    np.testing.assert_allclose(w.sum(1), 1, rtol=1e-6)
    assert np.all(w >= 0) and np.all(w[3, [0, 2, 4]] == 0)


@pytest.mark.parametrize("jacobians", BOTH)
def test_config_has_equal_cosines_and_the_length_of_the_projections(jacobians):
    _, directions, _ = run(make("config"), jacobians)
    for j, d in zip(jacobians, directions, strict=True):
        units = j / np.linalg.norm(j, axis=1, keepdims=True)
        sense = np.linalg.pinv(units) @ np.ones(len(j))
        sense /= np.linalg.norm(sense)
        close(d, (j @ sense).sum() * sense)
        assert np.ptp(units @ d / np.linalg.norm(d)) <= 1e-9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_config_of_opposite_gradients_is_zero(dtype):
    jacobians = GENERIC.copy()
    jacobians[:, 1:] = 0
    jacobians[:, 3] = -3 * jacobians[:, 0]
    _, d, _ = run(make("config"), jacobians, dtype)
    np.testing.assert_array_equal(d, 0)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_mtl_is_the_mean_of_the_polar_factor(scale):
    method = make("aligned_mtl") if scale == "min" else weighting.aligned_mtl(scale)
    _, directions, _ = run(method, CONFLICTING)
    for j, d in zip(CONFLICTING, directions, strict=True):
        u, singular, v = np.linalg.svd(j, full_matrices=False)
        eigen = singular**2
        s = {"min": eigen.min(), "median": np.median(eigen), "rmse": eigen.mean()}
        close(d, np.sqrt(s[scale]) * (u @ v).mean(0))


def test_aligned_mtl_takes_the_lower_median_and_has_condition_number_one():
    jacobian = CONFLICTING[:1, :4]
    rows, _ = sweep(
        lambda p: weighting.aligned_mtl("median", pref=p), np.eye(4), jacobian
    )
    singular = np.linalg.svd(rows[:, 0] @ jacobian[0], compute_uv=False)
    lower = np.sort(np.linalg.svd(jacobian[0], compute_uv=False))[1]
    close(singular, np.full(4, lower))


def test_aligned_mtl_of_dependent_gradients_ignores_the_missing_directions():
    jacobians = GENERIC * (np.arange(P) < 3)
    jacobians[:, 4] = 0
    _, directions, _ = run(make("aligned_mtl"), jacobians)
    for j, d in zip(jacobians, directions, strict=True):
        u, singular, v = np.linalg.svd(j[:, :3], full_matrices=False)
        close(d[:3], singular[2] * (u @ v).mean(0), 1e-8)


# UPGrad, DualProj


@pytest.mark.parametrize("jacobians", BOTH)
def test_upgrad_is_the_mean_of_the_projections(jacobians):
    _, directions, states = run(make("upgrad"), jacobians)
    for j, d in zip(jacobians, directions, strict=True):
        close(d, np.mean([project(j, g) for g in j], axis=0), 1e-7)
    assert np.all(states.solver.converged)


@pytest.mark.parametrize("jacobians", BOTH)
def test_dualproj_is_the_projection_of_the_mean(jacobians):
    _, directions, states = run(make("dualproj"), jacobians)
    for j, d in zip(jacobians, directions, strict=True):
        close(d, project(j, j.mean(0)), 1e-7)
    assert np.all(states.solver.converged)


def test_preferences_weigh_the_projections():
    prefs = np.array([[3.0, 0.0, 1.0, 0.5, 0.2], [0.0, 0.0, 0.0, 0.0, 0.7]])
    up, _ = sweep(weighting.upgrad, prefs, CONFLICTING[:2])
    dual, _ = sweep(weighting.dualproj, prefs, CONFLICTING[:2])
    for i, p in enumerate(prefs):
        for k, j in enumerate(CONFLICTING[:2]):
            close(j.T @ up[i, k], p @ [project(j, g) for g in j], 1e-7)
            close(j.T @ dual[i, k], project(j, j.T @ p), 1e-7)


def test_upgrad_of_two_conflicting_tasks_is_half_of_pcgrad():
    jacobians = CONFLICTING.copy()
    jacobians[:, 2:] = 0  # three tasks without gradients
    _, d, _ = run(make("upgrad"), jacobians)
    _, twice, _ = run(make("pcgrad", order="ascending"), jacobians)
    for (a, b, *_), found, double in zip(jacobians, d, twice, strict=True):
        conflict = min(a @ b, 0)
        close(double, a + b - conflict * (a / (a @ a) + b / (b @ b)))
        close(found, double / 2 * (2 / T))


@pytest.mark.parametrize("name", ["upgrad", "dualproj", "aligned_mtl"])
def test_wrong_preferences_are_named(name):
    with pytest.raises(ValueError, match=f"{name} was given pref.*non-negative"):
        weighting.make(name, pref=[1.0, -1.0])
    with pytest.raises(ValueError, match=f"{name} of 3 tasks was given pref"):
        weighting.make(name, pref=[1.0, 1.0]).init(3)


# CAGrad


@pytest.mark.parametrize("jacobians", BOTH)
def test_cagrad_meets_the_conditions_of_optimality(jacobians):
    radii = [0.0, 0.2, 0.5, 0.9]
    weights, states = sweep(weighting.cagrad, radii, jacobians)
    assert np.all(states.solver.converged)
    for c, ws in zip(radii, weights, strict=True):
        for j, w in zip(jacobians, ws, strict=True):
            mean, multipliers, d = j.mean(0), w - 1 / len(j), j.T @ w
            radius = c * np.linalg.norm(mean)
            assert abs(np.linalg.norm(d - mean) - radius) <= 1e-9 * radius + 1e-14
            assert np.all(multipliers >= -1e-12)
            gains, size = j @ d, np.linalg.norm(j, axis=1) * np.linalg.norm(d)
            on = multipliers > 1e-9 * max(multipliers.max(), 1e-9)
            assert np.any(on) == (c > 0)
            assert np.all((gains - gains.min())[on] <= 1e-8 * size[on])


def test_cagrad_rescales(monkeypatch):
    def ones(gramian, c, mask, **extra):
        return Solution(jnp.ones(T), jnp.int32(1), jnp.array(True))

    monkeypatch.setattr(conflict_averse, "solve", ones)
    for rescale, divisor in ((0, 1), (1, 1.36), (2, 1.6)):
        w, _ = weighting.cagrad(0.6, rescale).update(jnp.eye(T), ())
        np.testing.assert_allclose(w, 1 / divisor, rtol=1e-6)
    with pytest.raises(ValueError, match="rescale of cagrad '3'"):
        weighting.cagrad(rescale=3)


# Nash-MTL, FairGrad


def bargain(gramian, alpha):
    """The root of `log w + α log (G w) = 0`, in the logarithm of w."""

    def residual(x):
        return x + alpha * np.log(np.maximum(gramian @ np.exp(x), 1e-300))

    start = -alpha / (1 + alpha) * np.log(np.diagonal(gramian))
    # The convex potential leads near the root from anywhere.
    p = 1 - 1 / alpha

    def potential(x):
        w = np.exp(x)
        second = -x.sum() if p == 0 else -np.sum(np.exp(p * x)) / p
        return 0.5 * w @ gramian @ w + second

    start = scipy.optimize.minimize(potential, start, method="BFGS").x
    found = scipy.optimize.root(residual, start, tol=1e-13)
    assert np.abs(residual(found.x)).max() < 1e-9, "the reference itself"
    return np.exp(found.x)


def test_fairgrad_solves_its_equation():
    alphas = [0.5, 1.0, 2.0, 5.0]
    weights, states = sweep(weighting.fairgrad, alphas, CONFLICTING)
    for alpha, ws in zip(alphas, weights, strict=True):
        for j, w in zip(CONFLICTING, ws, strict=True):
            close(w, bargain(j @ j.T, alpha), 1e-8)
    assert np.all(states.solver.converged)


@pytest.mark.parametrize("jacobians", BOTH)
def test_nash_mtl_gives_every_task_the_same_from_its_share(jacobians):
    _, d, states = run(make("nash_mtl"), jacobians)
    for j, alpha in zip(jacobians, np.asarray(states.alpha), strict=True):
        np.testing.assert_allclose(alpha * (j @ j.T @ alpha), 1, rtol=1e-9)
        assert np.all(alpha > 0)
    np.testing.assert_allclose(np.linalg.norm(d, axis=1), 1)
    assert np.all(states.solver.converged)


def test_nash_mtl_limits_the_direction_and_not_the_heads():
    limits = np.array([0.0, 0.5, 2.0, 9.0])
    weights, states = sweep(weighting.nash_mtl, limits, CONFLICTING)
    heads = base.head_weights(make("nash_mtl").weigh_heads, weights, states)
    for limit, w, head in zip(limits, weights, np.asarray(heads), strict=True):
        share = limit / T**0.5 if 0 < limit < T**0.5 else 1
        close(w, share * head)
        close(head, weights[0])


def test_nash_mtl_uses_its_weights_again():
    method = weighting.nash_mtl(update_weights_every=3)
    fresh, _, states = run(make("nash_mtl"), CONFLICTING, "float32")
    step, state = jax.jit(method.update), method.init(T)
    for i, jacobian in enumerate(CONFLICTING):
        assert bool(method.hold(state).due) == (i % 3 == 0)
        w, state = step(tree.gramian(jnp.asarray(jacobian, jnp.float32)), state)
        heads = base.head_weights(method.weigh_heads, w, state)
        last = i - i % 3
        np.testing.assert_allclose(w, fresh[last], rtol=1e-5)
        np.testing.assert_allclose(heads, states.alpha[last], rtol=1e-5)


@pytest.mark.parametrize("name", ["nash_mtl", "fairgrad"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_bargain_without_a_solution_says_so(name, dtype):
    method = make(name)
    w, d, states = run(method, STATIONARY, dtype)
    assert not np.any(states.solver.converged)
    np.testing.assert_array_equal(d, 0)
    heads = np.asarray(base.head_weights(method.weigh_heads, w, states))
    assert np.all(heads > 0)
    assert np.all(heads <= 1.001 / np.linalg.norm(STATIONARY, axis=2))
    _, d, states = run(method, ONE_FREE, dtype)
    assert not np.any(states.solver.converged)
    gains = np.einsum("ntp,np->nt", ONE_FREE, d)
    assert np.all(np.abs(gains[:, :4]) <= 1e-2 * gains[:, 4:])


@pytest.mark.parametrize("name", ["nash_mtl", "fairgrad"])
def test_a_bargain_leaves_out_a_task_without_a_gradient(name):
    jacobians = CONFLICTING.copy()
    jacobians[:, 2] = 0
    w, _, states = run(make(name), jacobians)
    assert not np.any(states.solver.converged) and np.all(w[:, 2] == 0)
    for j, found in zip(jacobians, w, strict=True):
        others = np.delete(found, 2)
        gains = np.delete(j @ (j.T @ found), 2)
        # Nash-MTL: the same from every share; without the limit on d it is 1.
        assert np.ptp(others * gains) <= 1e-8 * np.max(others * gains)


# All of them

NAMES = ["gradvac", "imtl_g", "config", "aligned_mtl", "upgrad", "dualproj"]
NAMES += ["cagrad", "nash_mtl", "fairgrad"]


@pytest.mark.parametrize("name", NAMES)
def test_float32_keeps_the_digits_of_short_gradients(name):
    """Norms from 1e-4 to 1e4: each task's part of d is that of float64."""
    method = make(name, **({"order": "ascending"} if name == "gradvac" else {}))
    norms = np.geomspace(1e-4, 1e4, T)[:, None]
    jacobians = np.asarray(np.float32(CONFLICTING * norms), np.float64)
    exact, _, _ = run(method, jacobians)
    sizes = np.linalg.norm(jacobians, axis=2)
    for scale in (1e-6, 1.0, 1e6):
        w, _, _ = run(method, scale * jacobians, "float32")
        for found, expected in zip(w * sizes, exact * sizes, strict=True):
            found = found / np.linalg.norm(found)
            expected = expected / np.linalg.norm(expected)
            assert np.all(np.abs(found - expected) <= 1e-3 * np.abs(expected) + 1e-6)


@pytest.mark.parametrize("name", ["mgda", "upgrad", "dualproj", "nash_mtl", "fairgrad"])
def test_nothing_moves_at_a_pareto_stationary_point(name):
    _, d, _ = run(make(name), STATIONARY)
    sizes = np.linalg.norm(STATIONARY, axis=(1, 2))
    assert np.all(np.linalg.norm(d, axis=1) <= 1e-6 * sizes)
    _, d, _ = run(make(name), CONFLICTING)
    assert np.all(np.linalg.norm(d, axis=1) > 0.05)

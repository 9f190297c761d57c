"""Bargaining weights against the equations solved in extended precision."""

import bank
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from mtl_jax.solvers import bargaining, precision

ALPHAS = (0.5, 1.0, 2.0, 5.0)
EPS32 = float(np.finfo(np.float32).eps)
LONG = np.longdouble

solve = jax.jit(bargaining.solve)
solve32 = jax.jit(
    precision.in_float64(
        lambda gramian, alpha: bargaining.solve(gramian, alpha, eps=EPS32)
    )
)
extended = pytest.mark.skipif(
    np.finfo(LONG).eps > 1e-18, reason="no extended precision on this machine"
)


def newton_step(matrix, residual):
    """`matrix⁻¹ residual` in extended precision, by Cholesky's method."""
    a, x = matrix.copy(), residual.copy()
    t = len(a)
    for k in range(t):
        a[k:, k] /= np.sqrt(a[k, k])
        a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k + 1 :, k])
    for k in range(t):
        x[k] = (x[k] - a[k, :k] @ x[:k]) / a[k, k]
    for k in reversed(range(t)):
        x[k] = (x[k] - a[k + 1 :, k] @ x[k + 1 :]) / a[k, k]
    return x


def compare(gramian, w, alpha):
    """The error of `Jᵀw`, and how much of it the terms of its square cancel.

    The solution is unique, so w is only where Newton's method begins; where it ends,
    the equations are checked.
    """
    gramian, start = np.asarray(gramian, LONG), np.asarray(w, LONG)
    w, power = start.copy(), -1 / LONG(float(alpha))
    for _ in range(8):
        target = w**power
        diagonal = -power * target / w
        residual = target - gramian @ w
        # With a unit diagonal the factorisation does not see the norms.
        scale = 1 / np.sqrt(np.diag(gramian) + diagonal)
        matrix = (gramian + np.diag(diagonal)) * scale[:, None] * scale
        w = w + np.maximum(scale * newton_step(matrix, scale * residual), -0.9 * w)
    terms = np.abs(gramian) @ w
    assert np.all(np.abs(w**power - gramian @ w) <= 1e-17 * terms)
    change = w - start
    square = w @ gramian @ w
    error = np.sqrt(np.abs(change @ gramian @ change) / square)
    return float(error), float(square / (w @ terms))


def distance(jacobian):
    """From zero to the convex hull of the gradients, scaled to unit length."""
    units = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
    rows = np.concatenate([units.T, 100 * np.ones((1, len(units)))])
    x, _ = nnls(rows, np.append(np.zeros(len(rows) - 1), 100.0))
    return np.linalg.norm(units.T @ x) / np.sum(x)


def defined(t, least):
    for name, jacobian in bank.jacobians(t).items():
        if name not in ("opposed", "zero row") and distance(jacobian) > least:
            yield name, jacobian


@extended
@pytest.mark.parametrize("t", bank.SIZES)
def test_direction(t):
    names = []
    with jax.enable_x64(True):
        for name, jacobian in defined(t, 1e-7):
            gramian = jacobian @ jacobian.T
            for alpha in ALPHAS if t < 128 else (1.0, 2.0):
                found = solve(jnp.asarray(gramian), alpha)
                assert bool(found.converged), (name, alpha)
                assert int(found.iterations) <= 40, (name, alpha)
                error, cancelled = compare(gramian, found.x, alpha)
                # What rounding the entries of G alone may do to it.
                assert error <= 1e-14 / cancelled, (name, alpha)
                assert error <= 1e-9 or cancelled < 1e-6, (name, alpha)
            names.append(name)
    assert len(names) >= 6


@extended
@pytest.mark.parametrize("t", bank.SIZES)
def test_direction_from_a_gramian_in_float32(t):
    for name, jacobian in defined(t, 1e-2):
        jacobian = jnp.asarray(jacobian, jnp.float32)
        gramian = jacobian @ jacobian.T
        for alpha in (1.0,) if t == 128 else (0.5, 1.0, 2.0):
            found = solve32(gramian, jnp.float32(alpha))
            assert found.x.dtype == jnp.float32
            assert bool(found.converged), (name, alpha)
            error, cancelled = compare(gramian, found.x, alpha)
            # The solution in float64, its weights rounded once.
            assert error <= 1e-7 / np.sqrt(cancelled), (name, alpha)
            assert error <= 1e-6 or cancelled < 1e-2, (name, alpha)


@pytest.mark.parametrize("t", [1, 5, 40])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.0, 20.0])
def test_equations_with_norms_of_any_ratio(t, alpha):
    rng = np.random.default_rng(t)
    jacobian = rng.uniform(size=(t, 60)) * np.logspace(-4, 4, t)[:, None]
    with jax.enable_x64(True):
        gramian = jacobian @ jacobian.T
        found = solve(jnp.asarray(gramian), alpha)
        w = np.asarray(found.x)
        assert bool(found.converged)
        np.testing.assert_allclose(w ** (1 / alpha) * (gramian @ w), 1, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 0.25, 20.0])
def test_conflict_with_norms_of_any_ratio(alpha):
    """The short gradients force the long ones to be orthogonal to them."""
    rng = np.random.default_rng(3)
    jacobian = (
        rng.normal(size=(12, 20)) * rng.permutation(np.logspace(-4, 4, 12))[:, None]
    )
    with jax.enable_x64(True):
        found = solve(jnp.asarray(jacobian @ jacobian.T), alpha)
        assert bool(found.converged)
        assert np.all(found.x > 0)
        direction = np.asarray(found.x) @ jacobian
        cosines = (jacobian @ direction) / np.linalg.norm(jacobian, axis=1)
        assert np.all(cosines >= -1e-14 * np.linalg.norm(direction))


@pytest.mark.parametrize("alpha", [0.1, 1.0, 20.0])
def test_many_tasks_of_low_rank_close_to_stationary(alpha):
    """All gradients within a thousandth of a plane in which they surround zero."""
    t, rng = 40, np.random.default_rng(0)
    parts = rng.normal(size=(t, 3)) * [1, 1, 0] + 1e-3 * np.array([0, 0, 1])
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    frame = np.linalg.qr(rng.normal(size=(t + 5, 3)))[0].T
    jacobian = parts @ frame
    for norms in (np.ones(t), np.logspace(-4, 4, t), np.tile([1e-4, 1e4], t // 2)):
        rows = norms[:, None] * jacobian
        gramian = rows @ rows.T
        with jax.enable_x64(True):
            found = solve(jnp.asarray(gramian), alpha)
            assert bool(found.converged)
            assert int(found.iterations) <= (80 if alpha != 1 else 20)
        direction = np.asarray(found.x) @ rows
        cosines = jacobian @ (direction / np.linalg.norm(direction))
        assert np.all(cosines > -1e-12)
        if alpha == 1:  # w G w = T, and the norms do not matter
            np.testing.assert_allclose(direction @ direction, t, rtol=1e-7)


@pytest.mark.parametrize("gap", [1.0, 1e-4, 1e-8])
def test_two_tasks_in_closed_form(gap):
    """`w_i = 1 / (‖g_i‖ √(1 + cos))` at α = 1."""
    cos = gap - 1
    with jax.enable_x64(True):
        found = solve(jnp.array([[16.0, 4 * cos], [4 * cos, 1.0]]), 1.0)
        assert bool(found.converged)
        expected = 1 / np.sqrt(1 + cos) / np.array([4.0, 1.0])
        np.testing.assert_allclose(found.x, expected, rtol=3e-16 / gap)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_scaling_the_jacobian(alpha):
    with jax.enable_x64(True):
        for name, jacobian in defined(8, 1e-3):
            gramian = jnp.asarray(jacobian @ jacobian.T)
            w = np.asarray(solve(gramian, alpha).x)
            for s in (1e-6, 1e-3, 0.7, 1e3, 1e6):
                scaled = solve(s**2 * gramian, alpha)
                assert bool(scaled.converged)
                np.testing.assert_allclose(
                    scaled.x,
                    w * s ** (-2 * alpha / (1 + alpha)),
                    rtol=1e-9,
                    err_msg=name,
                )


@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_task_left_out_is_a_smaller_problem(alpha):
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(6, 20))
    mask = np.array([True, False, True, True, False, True])
    with jax.enable_x64(True):
        gramian = jacobian @ jacobian.T
        small = solve(jnp.asarray(gramian[np.ix_(mask, mask)]), alpha)
        gramian[1] = gramian[:, 1] = np.nan
        for full in (gramian, np.where(np.isnan(gramian), 0, gramian)):
            found = solve(jnp.asarray(full), alpha, jnp.asarray(mask))
            assert bool(found.converged)
            np.testing.assert_allclose(np.asarray(found.x)[mask], small.x, rtol=1e-12)
            assert np.all(np.asarray(found.x)[~mask] == 0)
        nothing = solve(jnp.asarray(gramian), alpha, jnp.zeros(6, bool))
        assert nothing.x.tolist() == [0] * 6


def test_a_zero_gradient_is_left_out_and_reported():
    with jax.enable_x64(True):
        for t in (2, 8):
            jacobian = bank.jacobians(t)["zero row"]
            gramian = jnp.asarray(jacobian @ jacobian.T)
            found, rest = solve(gramian, 2.0), solve(gramian[:-1, :-1], 2.0)
            assert not bool(found.converged)
            assert found.x[-1] == 0
            np.testing.assert_allclose(found.x[:-1], rest.x, rtol=1e-10)
    found = solve(jnp.zeros((3, 3)), 1.0)
    assert found.x.tolist() == [0, 0, 0]
    assert not bool(found.converged)


def stationary():
    """Jacobians with zero in the convex hull of the rows."""
    rng = np.random.default_rng(1)
    for t in bank.SIZES:
        yield f"opposed {t}", bank.jacobians(t)["opposed"]
    for t in (2, 3):
        yield f"low-rank {t}", bank.jacobians(t)["low-rank"]
    # A combination of the others, reversed: zero is inside; then with four tasks more.
    rows = rng.normal(size=(7, 3)) @ rng.normal(size=(3, 10))
    inside = np.concatenate([rows, -rng.uniform(0.1, 1, size=(1, 7)) @ rows])
    yield "inside", inside
    yield "beside others", np.concatenate([inside, 10 * rng.normal(size=(4, 10))])


@pytest.mark.parametrize("alpha", [0.1, *ALPHAS, 20.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_where_no_weights_exist(alpha, dtype):
    with jax.enable_x64(dtype == "float64"):
        for name, exact in stationary():
            jacobian = jnp.asarray(exact, dtype)
            gramian = jacobian @ jacobian.T
            run = solve if dtype == "float64" else solve32
            found = run(gramian, jnp.asarray(alpha, dtype))
            assert not bool(found.converged), name
            w = np.asarray(found.x, np.float64)
            alone = np.diagonal(gramian).astype(np.float64) ** (-alpha / (1 + alpha))
            assert np.all(np.isfinite(w)) and np.all(w > 0), name
            np.testing.assert_allclose(np.max(w / alone), 1, rtol=1e-5)
            # No task loses more than rounding, and most of the length cancels out.
            norms = np.linalg.norm(exact, axis=1)
            cosines = exact @ (w @ exact) / norms
            rounding = 100 * np.finfo(dtype).eps * (w @ norms)
            assert np.all(cosines >= -rounding), name


def test_what_is_not_finite_is_nan():
    for bad in (np.nan, np.inf):
        gramian = jnp.eye(3).at[0, 1].set(bad)
        found = solve(gramian, 1.0)
        assert bool(jnp.all(jnp.isnan(found.x)))
        assert not bool(found.converged)


def test_float64_in_every_nesting():
    rng = np.random.default_rng(0)
    jacobians = rng.normal(size=(3, 5, 9)) * np.logspace(-1.5, 1.5, 5)[:, None]
    gramians = jnp.asarray(jacobians @ jacobians.swapaxes(1, 2), jnp.float32)
    alphas = jnp.array([0.5, 1.0, 2.0])
    many = jax.jit(jax.vmap(jax.vmap(solve32, (None, 0)), (0, None)))(gramians, alphas)
    assert many.x.shape == (3, 3, 5)
    for i, gramian in enumerate(gramians):
        for j, alpha in enumerate(alphas):
            with jax.enable_x64(True):
                exact = solve(jnp.asarray(gramian, jnp.float64), float(alpha))
            np.testing.assert_allclose(many.x[i, j], exact.x, rtol=2e-7)


def test_the_dtype_is_kept():
    found = solve(jnp.array([[1.0, -0.5], [-0.5, 1.0]]), 1.0)
    assert found.x.dtype == jnp.float32
    assert found.iterations.dtype == jnp.int32
    np.testing.assert_allclose(found.x, np.sqrt(2), rtol=1e-6)

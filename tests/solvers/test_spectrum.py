"""Spectra and pseudo-inverses against singular values of the Jacobian itself."""

import bank
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.solvers import precision, spectrum

EPS = float(np.finfo(np.float64).eps)
EPS32 = float(np.finfo(np.float32).eps)

eigen = jax.jit(spectrum.eigen)
pinv_solve = jax.jit(spectrum.pinv_solve)
cancelling = jax.jit(spectrum.solve_or_cancel)


def ranks(t):
    """What the construction of the bank says."""
    full = dict.fromkeys(bank.jacobians(t), t)
    half = max(t // 2, 1)
    up = -(-t // 2)
    return full | {"low-rank": half, "opposed": up, "duplicates": up, "zero row": t - 1}


@pytest.mark.parametrize("t", bank.SIZES)
def test_against_the_singular_values_of_the_jacobian(t):
    with jax.enable_x64(True):
        for name, jacobian in bank.jacobians(t).items():
            if name == "ill-conditioned":  # its smallest eigenvalue is rounding
                continue
            gramian = jacobian @ jacobian.T
            found = eigen(jnp.asarray(gramian), EPS)
            values, vectors = np.asarray(found.values), np.asarray(found.vectors)
            expected = np.linalg.svd(jacobian, compute_uv=False)[::-1] ** 2
            rank = ranks(t)[name]
            assert found.keep.tolist() == [False] * (t - rank) + [True] * rank, name
            assert np.all(values[: t - rank] == 0)
            assert np.all(np.diff(values) >= 0)
            # `eigh(gramian)` knows the shortest of "ratios" to a relative error of 1.
            np.testing.assert_allclose(
                values[t - rank :], expected[t - rank :], rtol=1e-7, err_msg=name
            )
            scale = np.sqrt(np.outer(np.diag(gramian), np.diag(gramian)))
            rebuilt = (vectors * values) @ vectors.T
            worst = np.abs(rebuilt - gramian).max() / np.abs(scale).max()
            assert worst < 1e-13, name
            unit = vectors.T @ vectors - np.diag(found.keep.astype(float))
            assert np.abs(unit).max() < 1e-13, name


@pytest.mark.parametrize("t", bank.SIZES)
def test_rank_of_a_gramian_formed_in_float32(t):
    rank_of = jax.jit(precision.in_float64(lambda g: spectrum.eigen(g, EPS32)))
    for name, exact in bank.jacobians(t).items():
        if name in ("ill-conditioned", "conflicting"):  # singular to float32
            continue
        jacobian = jnp.asarray(exact, jnp.float32)
        found = rank_of(jacobian @ jacobian.T)
        assert found.values.dtype == jnp.float32
        expected = ranks(t)[name]
        assert int(found.keep.sum()) == expected, name
        # A short gradient among long ones is part of the rank, with its digits.
        least = np.linalg.svd(exact, compute_uv=False)[expected - 1]
        np.testing.assert_allclose(found.values[t - expected], least**2, rtol=1e-2)


def test_pinv_solve_with_independent_gradients_of_any_length():
    rng = np.random.default_rng(0)
    lengths = 2.0 ** np.array([-30, 0, 25, -7, 31])  # exact: the matrix is not rounded
    core = rng.integers(-9, 10, size=(5, 9)).astype(float)
    x = rng.integers(1, 9, size=5) / lengths
    b = lengths * ((core @ core.T) @ (lengths * x))
    gramian = (core @ core.T) * lengths[:, None] * lengths
    with jax.enable_x64(True):
        found = pinv_solve(jnp.asarray(gramian), jnp.asarray(b), EPS)
        np.testing.assert_allclose(found, x, rtol=1e-12)


@pytest.mark.parametrize("t", bank.SIZES)
def test_pinv_solve_equals_the_pseudo_inverse(t):
    rng = np.random.default_rng(t)
    with jax.enable_x64(True):
        for name, jacobian in bank.jacobians(t).items():
            if name in ("ill-conditioned", "ratios"):
                continue
            b = rng.normal(size=t)
            inverse = np.linalg.pinv(jacobian, rcond=1e-12)
            expected = inverse.T @ (inverse @ b)
            found = pinv_solve(jnp.asarray(jacobian @ jacobian.T), jnp.asarray(b), EPS)
            worst = np.abs(found - expected).max() / np.abs(expected).max()
            assert worst < 1e-9, name


def test_pinv_solve_with_dependent_gradients_of_different_lengths():
    rng = np.random.default_rng(2)
    jacobian = rng.normal(size=(6, 3)) @ rng.normal(size=(3, 9))
    jacobian *= np.logspace(-2, 2, 6)[:, None]
    b = rng.normal(size=6)
    inverse = np.linalg.pinv(jacobian, rcond=1e-10)
    with jax.enable_x64(True):
        found = pinv_solve(jnp.asarray(jacobian @ jacobian.T), jnp.asarray(b), EPS)
    np.testing.assert_allclose(found, inverse.T @ (inverse @ b), rtol=1e-6)


@pytest.mark.parametrize("name", ["well-conditioned", "low-rank", "zero row"])
def test_a_task_left_out_is_a_smaller_problem(name):
    jacobian = bank.jacobians(8)[name]
    mask = np.array([1, 1, 0, 1, 0, 1, 1, 1], bool)
    small = jacobian[mask] @ jacobian[mask].T
    full = jacobian @ jacobian.T
    full[2] = full[:, 2] = np.nan
    b = np.arange(8.0)
    with jax.enable_x64(True):
        mask_, full = jnp.asarray(mask), jnp.asarray(full)
        found, expected = eigen(full, EPS, mask_), eigen(jnp.asarray(small), EPS)
        assert found.keep.tolist() == [False, False, *expected.keep.tolist()]
        np.testing.assert_allclose(found.values[2:], expected.values, rtol=1e-12)
        assert np.all(np.asarray(found.vectors)[~mask] == 0)
        solved = np.asarray(pinv_solve(full, jnp.asarray(b), EPS, mask_))
        wanted = pinv_solve(jnp.asarray(small), jnp.asarray(b[mask]), EPS)
        np.testing.assert_allclose(solved[mask], wanted, rtol=1e-9, atol=1e-12)
        assert np.all(solved[~mask] == 0)
        c, n = spectrum.correlation(full, mask_)
        np.testing.assert_array_equal(np.diagonal(c), n > 0)
        assert np.all(np.isfinite(c))


def test_nothing_and_what_is_not_finite():
    zero = eigen(jnp.zeros((3, 3)), EPS32)
    assert not bool(zero.keep.any())
    assert zero.values.tolist() == [0, 0, 0]
    assert pinv_solve(jnp.zeros((3, 3)), jnp.ones(3), EPS32).tolist() == [0, 0, 0]
    for bad in (np.nan, np.inf):
        gramian = jnp.eye(3).at[1, 2].set(bad)
        assert bool(jnp.all(jnp.isnan(eigen(gramian, EPS32).values)))
        assert bool(jnp.all(jnp.isnan(pinv_solve(gramian, jnp.ones(3), EPS32))))


def test_float64_in_every_nesting():
    @precision.in_float64
    def inverse(gramian, b):
        return spectrum.eigen(gramian, EPS32).values, spectrum.pinv_solve(
            gramian, b, EPS32
        )

    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(4, 5, 9)) * np.logspace(-1.5, 1.5, 5)[:, None]
    gramians = jnp.asarray(jacobian @ jacobian.swapaxes(1, 2), jnp.float32)
    b = jnp.ones((2, 5))
    many = jax.jit(jax.vmap(jax.vmap(inverse, (None, 0)), (0, None)))(gramians, b)
    for i, gramian in enumerate(gramians):
        exact = np.asarray(gramian, np.float64)
        # The eigenvalues span six decades: float32 inside would lose the small ones.
        values = np.linalg.eigvalsh(exact)
        np.testing.assert_allclose(many[0][i, 0], values, rtol=3e-7)
        solved = np.linalg.solve(exact, np.ones(5))
        np.testing.assert_allclose(many[1][i, 1], solved, rtol=1e-6)


def test_weights_that_cancel_where_one_dependency_binds_all():
    rng = np.random.default_rng(5)
    wanted = rng.dirichlet(np.ones(4))
    jacobian = rng.normal(size=(4, 9)) * np.array([[0.1], [1], [1], [10]])
    jacobian[2] = -(wanted @ jacobian - wanted[2] * jacobian[2]) / wanted[2]
    for scale in (1e-6, 1.0, 1e6):
        rows = scale * jacobian
        with jax.enable_x64(True):
            _, w, found = cancelling(jnp.asarray(rows @ rows.T), rows[:, 0], 1e-12)
        assert found
        np.testing.assert_allclose(w, wanted, rtol=1e-6)
    for rows in (jacobian[:3], np.vstack([jacobian, jacobian[:1]]), jacobian[[0, 0]]):
        with jax.enable_x64(True):
            *_, found = cancelling(jnp.asarray(rows @ rows.T), rows[:, 0], 1e-12)
        assert not found, "none, two, and one of both signs"

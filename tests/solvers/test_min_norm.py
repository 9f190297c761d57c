"""The min-norm point and the non-negative QP against optimality conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from mtl_jax.solvers import min_norm, nonnegative_qp, precision

solve = jax.jit(precision.in_float64(min_norm.min_norm_point))
RNG = np.random.default_rng(0)
PROBLEMS = {
    "generic": lambda t: RNG.normal(size=(t, t + 5)),
    "low rank": lambda t: RNG.normal(size=(t, 3)) @ RNG.normal(size=(3, t + 5)),
    "low rank, one side": lambda t: RNG.normal(size=(t, 4)) + 2.0,
    "all opposed": lambda t: np.eye(t) - np.ones((t, t)) / t,
    "duplicates": lambda t: np.repeat(RNG.normal(size=(t // 2, 9)), 2, axis=0),
    "ill-conditioned": lambda t: RNG.normal(size=(t, t)) * np.logspace(0, -6, t),
    "one direction": lambda t: 1 + 1e-3 * RNG.normal(size=(t, 40)),
}


def kkt_violation(gramian, w):
    """How far from optimal: `(G w)_i ≥ wᵀ G w`, relative to the mean squared norm."""
    gw = gramian @ w
    return max(0.0, float(w @ gw - gw.min())) / np.mean(np.diagonal(gramian))


@pytest.mark.parametrize("t", [2, 6, 20, 64, 128])
@pytest.mark.parametrize("name", PROBLEMS)
def test_optimality(name, t):
    with jax.enable_x64(True):
        jacobian = PROBLEMS[name](t)
        gramian = jacobian @ jacobian.T
        for scale in (1e-12, 1.0, 1e12):
            solution = solve(jnp.asarray(scale * gramian))
            w = np.asarray(solution.x)
            assert bool(solution.converged), scale
            assert w.min() >= 0
            np.testing.assert_allclose(w.sum(), 1, rtol=1e-12)
            assert kkt_violation(gramian, w) < 1e-10, scale


def test_row_norms_of_any_ratio():
    with jax.enable_x64(True):
        jacobian = RNG.normal(size=(5, 9)) * np.logspace(-4, 4, 5)[:, None]
        gramian = jacobian @ jacobian.T
        w = np.asarray(solve(jnp.asarray(gramian)).x)
        gw = gramian @ w
        # On the scale of the optimum itself, far below the longest gradients.
        assert w @ gw - gw.min() < 1e-6 * (w @ gw)


def test_zero_gradients_share_the_weight_and_nan_ends():
    np.testing.assert_allclose(solve(jnp.zeros((4, 4))).x, 0.25)
    bad = solve(jnp.full((4, 4), jnp.nan))
    assert int(bad.iterations) <= 5 * 4 + 10


@pytest.mark.parametrize("seed", range(8))
def test_nonnegative_qp_equals_nnls(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(30, 12)), rng.normal(size=30)
    with jax.enable_x64(True):
        found = nonnegative_qp.nonnegative_qp(
            jnp.asarray(a.T @ a), jnp.asarray(a.T @ b)
        )
        expected, _ = nnls(a, b)
        np.testing.assert_allclose(found.x, expected, atol=1e-9)
        assert bool(found.converged)

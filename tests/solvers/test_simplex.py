"""Projections on the simplex, plain and capped, by their conditions of optimality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.solvers import simplex

RNG = np.random.default_rng(2)
T = 12
POINTS = np.concatenate(
    [
        RNG.normal(size=(20, T)),
        1e6 * RNG.normal(size=(20, T)),
        1e-6 * RNG.normal(size=(20, T)) + 5,
        RNG.integers(-1, 2, size=(40, T)),  # ties
        np.zeros((2, T)),
        np.ones((2, T)) / T,
    ]
).astype(float)
MASKS = np.concatenate([np.ones((50, T), bool), RNG.uniform(size=(54, T)) < 0.7])
MASKS[:, 3] = True


@jax.jit
@jax.vmap
def both(x, cap, mask):
    capped = simplex.project_capped_simplex(x, cap, mask)
    return simplex.project_simplex(x, mask), capped


def by_bisection(x, cap):
    """`clip(x − θ, 0, cap)` with sum 1, in 80 bits."""
    x = x.astype(np.longdouble)
    low, high = x.min() - 1, x.max()
    for _ in range(200):
        middle = (low + high) / 2
        above = np.clip(x - middle, 0, cap).sum() > 1
        low, high = (middle, high) if above else (low, middle)
    return np.clip(x - high, 0, cap)


@pytest.mark.parametrize("slack", [0.0, 1e-3, 0.1, 0.5, 2.0])
def test_equals_bisection(slack):
    counts = MASKS.sum(1)
    caps = 1 / counts + slack
    with jax.enable_x64(True):
        plain, capped = map(np.asarray, both(POINTS, caps, MASKS))
    assert plain.dtype == capped.dtype == np.float64
    for x, cap, mask, w, v in zip(POINTS, caps, MASKS, plain, capped, strict=True):
        size = 1 + np.abs(x).max()
        for found, limit in ((w, np.inf), (v, np.longdouble(cap))):
            assert not found[~mask].any()
            assert found.min() >= 0 and found.max() <= limit
            exact = by_bisection(x[mask], limit)
            np.testing.assert_allclose(found[mask], exact, atol=1e-15 * size)
            np.testing.assert_allclose(found.sum(), 1, atol=1e-14 * size)


def test_ends_of_the_range():
    x = jnp.array([3.0, 1.0, 0.0, 2.0])
    full = jnp.full(4, 0.25)
    np.testing.assert_array_equal(simplex.project_capped_simplex(x, 0.25), full)
    np.testing.assert_array_equal(simplex.project_capped_simplex(x, 0.1), full)
    np.testing.assert_array_equal(
        simplex.project_capped_simplex(x, 1.0), simplex.project_simplex(x)
    )
    np.testing.assert_array_equal(simplex.project_simplex(full), full)
    nobody = jnp.zeros(4, bool)
    assert not simplex.project_simplex(x, nobody).any()
    assert not simplex.project_capped_simplex(x, 0.5, nobody).any()
    assert simplex.project_simplex(x).dtype == jnp.float32
    assert simplex.project_capped_simplex(x, 0.5).dtype == jnp.float32


def test_what_is_not_finite_is_nan_unless_masked():
    x = jnp.array([jnp.nan, 1.0, jnp.inf])
    for f in (simplex.project_simplex, simplex.project_capped_simplex):
        args = () if f is simplex.project_simplex else (0.9,)
        assert jnp.isnan(f(x, *args)).all()
        masked = f(x, *args, mask=jnp.array([False, True, False]))
        assert masked.tolist() == [0.0, 1.0, 0.0]

"""Sums without reductions, and work that is left out: also under vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import weighting
from mtl_jax.solvers import fallback, totals


@pytest.mark.parametrize("t", [1, 2, 40])
def test_as_the_reductions_of_numpy(t):
    rng = np.random.default_rng(t)
    x = rng.normal(size=(6, t)).astype(np.float32)
    x[0] = -np.abs(x[0])
    x[1] = np.abs(x[1])
    where = x > 0
    np.testing.assert_allclose(totals.total(x), x.sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(totals.count(where), where.sum(1))
    np.testing.assert_array_equal(totals.some(where), where.any(1))
    np.testing.assert_array_equal(totals.every(where), where.all(1))
    np.testing.assert_array_equal(jax.vmap(totals.greatest)(x), x.max(1))
    expected = np.cumsum(where, axis=1) * where == 1
    np.testing.assert_array_equal(jax.vmap(totals.first)(where), expected)
    index = np.where(where.any(1), where.argmax(1), t)
    np.testing.assert_array_equal(jax.vmap(totals.index_of_first)(where), index)


def test_what_is_not_finite_is_found_and_what_is_large_is_not():
    for bad in (np.nan, np.inf, -np.inf):
        x = np.zeros(7, np.float32)
        assert totals.finite(x)
        x[3] = bad
        assert not totals.finite(x)
        matrix = np.zeros((3, 3), np.float32)
        matrix[1, 2] = bad
        assert not totals.finite_matrix(matrix)
        matrix[1, 0] = -bad
        assert not totals.finite_matrix(matrix)
    assert totals.finite_matrix(np.full((3, 3), 3e38, np.float32))


def test_unless_under_vmap():
    done = jnp.array([True, False, True])
    value = (jnp.arange(3.0), jnp.arange(3))
    found = jax.vmap(
        lambda d, v: fallback.unless(d, v, lambda v: (v[0] * 10, v[1] - 1))
    )(done, value)
    assert found[0].tolist() == [0.0, 10.0, 2.0]
    assert found[1].tolist() == [0, 0, 2]


def test_the_program_of_mgda_has_no_reductions():
    """One would cost as much as a product with a matrix, executed or not."""
    method = weighting.make("mgda")
    state = method.init(40)
    program = jax.jit(lambda g: method.update(g, state)[0]).lower(jnp.eye(40)).compile()
    text = program.as_text()
    assert " while(" in text and " dot(" in text
    assert " reduce(" not in text and " reduce-window(" not in text

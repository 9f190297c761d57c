"""Non-negative QPs: equal to NNLS, each method alone, degenerate and broken input."""

import re

import bank
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from mtl_jax.solvers import block_pivoting, lawson_hanson, nonnegative_qp, scaled_qp

N, T = 80, 40  # of every batch here: one shape, one compilation a method
RNG = np.random.default_rng(1)


def whole(h, q, start):
    return nonnegative_qp.nonnegative_qp(h, q, start=start)


def pivoting(h, q, start):
    problem, scale = scaled_qp.scaled(h, q)
    x, steps, done = block_pivoting.block_pivoting(problem, start)
    return nonnegative_qp.Solution(x * scale, steps, done)


def descending(h, q, start):
    del start
    problem, scale = scaled_qp.scaled(h, q)
    zero = jnp.zeros_like(q)
    x, steps, done = lawson_hanson.lawson_hanson(problem, zero, jnp.array(False))
    return nonnegative_qp.Solution(x * scale, steps, done)


METHODS = {f.__name__: jax.jit(jax.vmap(f)) for f in (whole, pivoting, descending)}


def solve(h, q, start=None, method="whole"):
    start = q > 0 if start is None else start
    with jax.enable_x64(True):
        found = METHODS[method](h, q, start)
    assert found.x.dtype == jnp.float64 and found.iterations.dtype == jnp.int32
    return jax.tree.map(np.asarray, found)


def least_squares():
    """`[N, T, 50]` and `[N, 50]`: full rank, rank 9, integers, twins, zero rows."""
    a = RNG.normal(size=(N, T, 50))
    a[1::3] = a[1::3, :, :9] @ RNG.normal(size=(9, 50))
    a[2::3] = RNG.integers(-1, 2, size=a[2::3].shape)
    a[5::6, 3] = a[5::6, 4]
    a[::4, 2] = 0
    b = RNG.normal(size=(N, 50))
    return a, b, a @ a.swapaxes(1, 2), np.einsum("ntd,nd->nt", a, b)


@pytest.mark.parametrize("method", METHODS)
def test_equals_nnls(method):
    a, b, h, q = least_squares()
    found = solve(h, q, method=method)
    assert found.converged.all() and found.x.min() >= 0
    assert (found.x[::4, 2] == 0).all()
    for a_, b_, x in zip(a, b, found.x, strict=True):
        expected = nnls(a_.T, b_)[0] @ a_
        np.testing.assert_allclose(x @ a_, expected, atol=1e-11 * np.linalg.norm(b_))


def cone_problems(dtype=np.float64):
    """H = G and q = −G u for u = 1/T and u = e_0, as in the dual cone."""
    h, mask = bank.stacked(bank.problems(T, dtype))
    mean = mask / mask.sum(1, keepdims=True)
    first = np.broadcast_to(np.eye(T)[0], mean.shape)
    u = np.concatenate([mean, first])
    h = np.concatenate([h, h])
    return h, -np.einsum("nts,ns->nt", h, u)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pivoting_needs_no_help_on_the_bank(dtype):
    found = solve(*cone_problems(dtype), method="pivoting")
    assert found.converged.all()
    assert np.median(found.iterations) <= 6


def test_both_methods_agree_on_the_bank():
    h, q = cone_problems()
    one = solve(h, q, method="pivoting")
    other = solve(h, q, method="descending")
    assert other.converged.all()
    step = one.x - other.x
    apart = np.einsum("nt,nts,ns->n", step, h, step)
    assert (apart <= 1e-17 * np.trace(h, axis1=1, axis2=2)).all()


def test_an_indefinite_matrix_ends_and_is_finite():
    """A singular Gramian formed in float32, and worse: eigenvalues of -1e-3."""
    a = RNG.normal(size=(N, T, 8)).astype(np.float32)
    h = (a @ a.swapaxes(1, 2)).astype(float)
    noise = 1e-3 * RNG.normal(size=h.shape)
    h[40:] += (noise + noise.swapaxes(1, 2))[40:]
    found = solve(h, -h[:, 0])
    assert np.isfinite(found.x).all() and found.converged[:40].all()
    d = np.einsum("nt,ntd->nd", found.x + np.eye(T)[0], a)[:40]
    low = np.einsum("nd,ntd->nt", d, a[:40]).min(1)
    assert (low > -1e-6 * np.trace(h, axis1=1, axis2=2)[:40]).all()


def test_input_that_is_not_finite_gives_nan_at_once():
    h, q = np.tile(np.eye(T), (N, 1, 1)), np.ones((N, T))
    h[0, 0, 0], q[1, 1] = np.nan, np.inf
    found = solve(h, q)
    assert np.isnan(found.x[:2]).all() and found.iterations.max() == 1
    assert found.converged.tolist() == [False, False] + [True] * (N - 2)
    np.testing.assert_array_equal(found.x[2:], 1)


def test_a_guess_changes_the_effort_alone():
    _, _, h, q = least_squares()
    unique = np.arange(N) % 12 == 3  # full rank, no twins, no zero rows
    cold = solve(h, q)
    warm = solve(h, q, cold.x > 0)
    assert (cold.iterations[unique] > 1).all()
    assert (warm.iterations[unique] == 1).all()
    np.testing.assert_allclose(warm.x[unique], cold.x[unique], rtol=1e-11)


def test_no_integer_arrays_of_64_bits():
    """Under `vmap` they may leave the float64 context of `in_float64`."""
    with jax.enable_x64(True):
        h, q = np.ones((3, 4, 4)), np.ones((3, 4))
        program = str(jax.make_jaxpr(METHODS["whole"])(h, q, q > 0))
    assert "f64[3,4]" in program
    assert not re.search(r"i64\[3\b", program)

"""Programs with one matrix: as one by one, each in its own time, whatever breaks."""

import bank
import jax
import numpy as np
import pytest

from mtl_jax.solvers import dual_cone, nonnegative_qp, shared_matrix

RNG = np.random.default_rng(3)
together = jax.jit(shared_matrix.solve)
alone = jax.jit(jax.vmap(nonnegative_qp.nonnegative_qp, (None, 0)))
batches = jax.jit(jax.vmap(shared_matrix.solve))


def solve(function, *args):
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, function(*args))
    assert found.x.dtype == np.float64 and found.iterations.dtype == np.int32
    return found


def matrices():
    """Of full rank, of rank 9, of rank 1, with a zero row, with norms of all sizes."""
    rows = RNG.normal(size=(5, 20, 30))
    rows[1] = rows[1, :, :9] @ RNG.normal(size=(9, 30))
    rows[2] = RNG.normal(size=(20, 1)) * rows[2, 0]
    rows[3, 4] = 0
    rows[4] *= np.logspace(-4, 4, 20)[:, None]
    return rows, rows @ rows.swapaxes(1, 2)


@pytest.mark.parametrize("case", range(5))
def test_the_same_points_as_one_by_one(case):
    rows, h = (a[case] for a in matrices())
    b = RNG.normal(size=(27, 30))  # not a multiple of the size of a batch
    b[5] = -rows.sum(0) if case == 0 else 0
    q = b @ rows.T
    found, expected = solve(together, h, q), solve(alone, h, q)
    assert found.converged.all() and expected.converged.all() and found.x.min() >= 0
    apart = np.linalg.norm((found.x - expected.x) @ rows, axis=1)
    assert (apart <= 1e-11 * np.linalg.norm(b, axis=1)).all()
    assert (found.iterations[5] <= found.iterations.max()).all()


def test_under_vmap():
    _, h = matrices()
    q = np.stack([-m for m in h])
    found = solve(batches, h, q)
    for i in range(5):
        expected = solve(together, h[i], q[i])
        assert found.converged[i].all() and expected.converged.all()
        step = found.x[i] - expected.x
        apart = np.einsum("ns,st,nt->n", step, h[i], step)
        assert (apart <= 1e-20 * np.diagonal(h[i]).max()).all()


def test_only_the_program_that_is_not_finite_is_lost():
    _, h = matrices()
    q = -h[0]
    q[3, 2], q[7, 0] = np.nan, np.inf
    found = solve(together, h[0], q)
    lost = np.isin(np.arange(20), (3, 7))
    assert np.isnan(found.x[lost]).all() and np.isfinite(found.x[~lost]).all()
    np.testing.assert_array_equal(found.converged, ~lost)
    broken = h[0].copy()
    broken[1, 1] = np.inf
    assert np.isnan(solve(together, broken, -h[0]).x).all()


def test_each_gradient_is_projected_as_by_itself():
    each = jax.jit(dual_cone.project_each)
    one = jax.jit(jax.vmap(dual_cone.project, (None, 0, None)))
    for problem in bank.problems(40):
        found = solve(each, problem.gramian, problem.mask)
        expected = solve(one, problem.gramian, np.eye(40), problem.mask)
        t = problem.mask.sum()
        assert found.converged.all() and not found.x[t:].any(), problem.name
        gradients = problem.jacobian.astype(float)
        apart = (found.x - expected.x)[:t, :t] @ gradients
        lengths = np.linalg.norm(gradients, axis=1)
        limit = 64 * 2.0**-52 * bank.condition(gradients) * lengths
        assert (np.linalg.norm(apart, axis=1) <= limit + 1e-11 * lengths).all(), (
            problem.name
        )

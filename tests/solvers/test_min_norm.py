"""The min-norm point: exact directions, optimality conditions, golden values."""

import json

import bank
import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.solvers import min_norm, precision

solve = jax.jit(jax.vmap(min_norm.min_norm_point))
RNG = np.random.default_rng(0)
DEGENERATE = {
    "rank 3": RNG.normal(size=(40, 3)) @ RNG.normal(size=(3, 45)),
    "0 in the centre": np.eye(40) - np.ones((40, 40)) / 40,
    "ratios": RNG.normal(size=(40, 40)) * np.logspace(0, -6, 40),
    "one direction": 1 + 1e-3 * RNG.normal(size=(40, 40)),
    "integers": RNG.integers(-2, 3, size=(40, 6)).astype(float),
}


def run(problems):
    with jax.enable_x64(True):
        found = solve(*bank.stacked(problems, 40 if len(problems) > 10 else 10))
        return jax.tree.map(lambda a: np.asarray(a)[: len(problems)], found)


@pytest.mark.parametrize("precise", ["float64", "float32"])
@pytest.mark.parametrize("size", [40, 128])
def test_directions(size, precise):
    dtype = np.dtype(precise).type
    problems = bank.problems(size, dtype)
    found = run(problems)
    assert found.converged.all()
    for p, x in zip(problems, found.x, strict=True):
        w = x[p.mask]
        assert w.min() >= 0 and not x[~p.mask].any()
        np.testing.assert_allclose(w.sum(), 1, rtol=1e-14)
        condition = bank.condition(p.jacobian)
        if dtype is np.float32 and condition > 1e4:
            continue  # the Gramian knows nothing of the shortest directions
        expected, doubt = exact.min_norm(p.jacobian, w > 0)
        norms = np.linalg.norm(p.jacobian, axis=1)
        shortest = norms[norms > 0].min()
        limit = 32 * np.finfo(dtype).eps * condition * shortest
        assert doubt < 1e-10 * exact.norm(expected) + limit, p.name
        error = exact.error(w, p.jacobian, expected)
        assert error < 1e-9 * exact.norm(expected) + limit, p.name


def test_optimality_where_weights_are_not_unique():
    """`(G w)_i ≥ wᵀ G w`, relative to the mean squared norm, at every scale."""
    scales = np.logspace(-12, 12, 8)[:, None, None]
    gramians = np.concatenate([scales * (j @ j.T) for j in DEGENERATE.values()])
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, solve(gramians, np.ones((40, 40), bool)))
    assert found.converged.all()
    gw = np.einsum("nts,ns->nt", gramians, found.x)
    gap = (found.x * gw).sum(1) - gw.min(1)
    assert (gap < 1e-12 * np.trace(gramians, axis1=1, axis2=2) / 40).all()
    # On the scale of the optimum itself, far below that of the longest gradient.
    ratios = slice(16, 24)
    assert (gap < 1e-6 * (found.x * gw).sum(1))[ratios].all()


def test_zero_gradients_share_the_weight_and_nan_ends():
    gramians = np.zeros((40, 40, 40))
    gramians[1, 3, 4] = np.nan
    mask = np.arange(40) < 4 + np.arange(40)[:, None] % 2  # 4 or 5 tasks
    mask[2] = False
    with jax.enable_x64(True):
        x, iterations, converged = jax.tree.map(np.asarray, solve(gramians, mask))
    np.testing.assert_allclose(x[0], 0.25 * mask[0])
    assert np.isnan(x[1]).all() and not converged[1] and iterations[1] < 10
    assert (x[2] == 0).all()


def test_in_a_float32_program():
    solve = jax.jit(precision.in_float64(min_norm.min_norm_point))
    rows = jnp.array([[1.0, 0.0], [1.0, 1e-4], [-1.0, 3e-4]])
    found = solve(rows @ rows.T)
    assert found.x.dtype == jnp.float32 and found.iterations.dtype == jnp.int32
    np.testing.assert_allclose(found.x @ rows, jnp.zeros(2), atol=2e-4)


def test_golden_values(shared_dir):
    golden = json.loads((shared_dir / "golden" / "public.json").read_text())
    entries = [
        e
        for e in golden["entries"]
        if e["strategy"] == "mgda" and e["hyper"]["normalize"] == "none"
    ]
    assert len(entries) == 23
    for dtype, key in ((np.float64, "d_rel_f64"), (np.float32, "d_rel_f32")):
        problems = [bank.golden_problem(golden, e, dtype) for e in entries]
        for e, p, x in zip(entries, problems, run(problems).x, strict=True):
            bank.check_golden(e, p, x, key, dtype)

"""CAGrad's problem: exact directions, its invariances, its undefined corner."""

import json

import bank
import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.solvers import conflict_averse, precision

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
RADII = (0.0, 0.1, 0.4, 0.9, 1.2)
solve = {
    # Cut off as for a Gramian that was formed in this precision.
    name: jax.jit(
        jax.vmap(
            lambda gramian, c, mask, eps=eps: conflict_averse.solve(
                gramian, c, mask, rounding=eps
            )
        )
    )
    for name, eps in EPS.items()
}


def run(problems, c, precise="float64"):
    n = 40 if len(problems) > 10 else 10
    gramians, masks = bank.stacked(problems, n)
    c = np.resize(np.asarray(c, float), n)
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, solve[precise](gramians, c, masks))
    assert found.x.dtype == np.float64 and found.iterations.dtype == np.int32
    return jax.tree.map(lambda a: a[: len(problems)], found)


@pytest.mark.parametrize(
    ("size", "precise"), [(40, "float64"), (40, "float32"), (128, "float64")]
)
def test_directions(size, precise):
    problems = bank.problems(size, np.dtype(precise).type)
    checked = 0
    for c in RADII:
        found = run(problems, c, precise)
        assert found.converged.all()
        for p, x in zip(problems, found.x, strict=True):
            w = x[p.mask]
            mean = 1 / len(w)
            assert (w >= mean).all() and not x[~p.mask].any()
            if c == 0:
                assert (w == mean).all()
                continue
            rows = p.jacobian.astype(float)
            lengths = np.linalg.norm(rows, axis=1)
            radius = c * np.linalg.norm(rows.mean(0))
            condition = bank.condition(rows)
            if precise == "float32" and condition > 1e4:
                continue  # the Gramian knows nothing of the shortest directions
            # Towards a short vector of the hull, the radius is known as its square is.
            power = 2 if c > 1 else 1
            noise = (
                EPS[precise] * condition**power * np.linalg.norm(rows, axis=1).mean()
            )
            d = w @ rows
            assert np.linalg.norm(d - rows.mean(0)) <= radius * (1 + 1e-9) + 32 * noise
            level = (rows @ d / np.where(lengths > 0, lengths, 1)).min()
            if p.name.startswith(bank.STATIONARY) and level > -32 * noise:
                continue  # the worst gains 0, and no direction does better
            if p.name in ("low-rank 2", "low-rank 3") and c > 1:
                assert level > -32 * noise  # 0 is in the hull by chance
                continue
            expected, doubt = exact.conflict_averse(rows, c, w > mean)
            error = exact.error(w, rows, expected)
            size_of_d = exact.norm(expected)
            assert doubt < 1e-9 * size_of_d + noise, (p.name, c)
            assert error <= 1e-9 * size_of_d + 32 * noise, (p.name, c)
            checked += 1
    assert checked >= 24


def test_where_the_worst_task_can_gain_nothing():
    """0 in the hull and a ball that reaches the dual cone: in it, and finite."""
    problems = [p for p in bank.problems(40) if p.name.startswith(bank.STATIONARY)] * 2
    for c in (0.9, 1.0, 3.0):
        found = run(problems, c)
        assert found.converged.all() and np.isfinite(found.x).all()
        for p, x in zip(problems, found.x, strict=True):
            d, g0 = x[p.mask] @ p.jacobian, p.jacobian.mean(0)
            size = np.linalg.norm(p.jacobian, axis=1).max()
            assert np.linalg.norm(d - g0) <= c * np.linalg.norm(g0) + 1e-13 * size
            assert (p.jacobian @ d).min() >= -1e-12 * size**2


def test_homogeneous():
    problem = next(p for p in bank.problems(40) if p.name == "low-rank 40")
    scales = np.logspace(-6, 6, 12)
    scaled = [problem._replace(gramian=s**2 * problem.gramian) for s in scales]
    weights = run(scaled, 0.4).x
    np.testing.assert_allclose(weights, weights[[0]].repeat(12, 0), rtol=1e-9)


def test_the_radius_may_be_traced_and_nan_is_nan():
    problem = next(p for p in bank.problems(40) if p.name == "tiny 40")
    radii = np.append(np.logspace(-8, 1, 11), np.nan)
    found = run([problem] * 12, np.resize(radii, 12))
    assert found.converged[:-1].all() and np.isnan(found.x[-1]).all()
    g0 = problem.jacobian.mean(0)
    away = np.linalg.norm(found.x[:-1] @ problem.jacobian - g0, axis=1)
    reached = away / np.linalg.norm(g0)
    np.testing.assert_allclose(reached, radii[:-1], rtol=1e-7)
    # The larger the ball, the better off is the worst task.
    gains = (found.x[:-1] @ problem.jacobian @ problem.jacobian.T).min(1)
    assert (np.diff(gains) > 0).all()
    broken = problem._replace(gramian=np.where(np.eye(40), np.inf, 0))
    found = run([broken] * 12, 0.5)
    assert np.isnan(found.x).all() and not found.converged.any()


def test_in_a_float32_program():
    double = jax.jit(precision.in_float64(conflict_averse.solve))
    rows = jnp.array([[1.0, 0.0], [-0.9, 0.1], [0.2, 0.3]])
    found = double(rows @ rows.T, jnp.float32(0.4))
    assert found.x.dtype == jnp.float32
    exactly, _ = exact.conflict_averse(np.asarray(rows), 0.4, np.array([0, 1, 0]) > 0)
    np.testing.assert_allclose(found.x @ rows, exactly.astype(float), rtol=1e-5)


def test_golden_values(shared_dir):
    golden = json.loads((shared_dir / "golden" / "public.json").read_text())
    entries = [e for e in golden["entries"] if e["strategy"] == "cagrad"]
    assert len(entries) == 88
    for dtype, key in ((np.float64, "d_rel_f64"), (np.float32, "d_rel_f32")):
        for some in (entries[:40], entries[40:80], entries[80:] * 2):
            problems = [bank.golden_problem(golden, e, dtype) for e in some]
            c = [e["hyper"]["c"] for e in some]
            # A batch of 40 is the shape that is compiled already.
            c = np.resize(c, 40)
            x = run(problems, c, np.dtype(dtype).name).x
            for e, p, w in zip(some, problems, x, strict=True):
                bank.check_golden(e, p, w, key, dtype)

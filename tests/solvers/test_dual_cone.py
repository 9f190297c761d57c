"""Projections on the dual cone: exact directions, no conflict, golden values."""

import json

import bank
import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.solvers import dual_cone, precision

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}


@jax.jit
@jax.vmap
def project(gramian, mask, u):
    """Each row of `u [K, T]`; UPGrad is the sum over the rows of `diag(1/T)`."""
    found = jax.vmap(lambda row: dual_cone.project(gramian, row, mask))(u)
    return found._replace(x=jnp.where(mask, found.x, 0))


def run(problems, u):
    """`u [N, K, T]` to `x [N, K, T]`."""
    n = 40 if len(problems) > 10 else 10
    gramians, masks = bank.stacked(problems, n)
    u = u[np.arange(n) % len(problems)]
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, project(gramians, masks, u))
    assert found.iterations.dtype == np.int32
    return jax.tree.map(lambda a: a[: len(problems)], found)


def rows(problems):
    """UPGrad's first and last problem and DualProj's, `[N, 3, size]`, per task 1/T."""
    masks = bank.stacked(problems)[1]
    counts = masks.sum(1)
    u = np.zeros((len(problems), 3, masks.shape[1]))
    n = np.arange(len(problems))
    u[n, 0, 0] = u[n, 1, counts - 1] = 1
    u[:, 2] = masks
    return u / counts[:, None, None]


@pytest.mark.parametrize("precise", ["float64", "float32"])
@pytest.mark.parametrize("size", [40, 128])
def test_directions(size, precise):
    problems = bank.problems(size, np.dtype(precise).type)
    u = rows(problems)
    found = run(problems, u)
    assert found.converged.all()
    for p, many, xs in zip(problems, u, found.x, strict=True):
        condition = bank.condition(p.jacobian)
        lengths = np.linalg.norm(p.jacobian, axis=1)
        for start, x in zip(many, xs, strict=True):
            v, w = x[p.mask], start[p.mask]
            assert (v >= w).all() and not x[~p.mask].any()
            assert (v == w)[lengths == 0].all()
            size_of_g = w @ lengths
            # No conflict, to rounding: whatever the norms and the condition.
            gain = p.jacobian.astype(float) @ (v @ p.jacobian.astype(float))
            slack = 64 * EPS[precise] * np.abs(v) @ lengths
            assert (gain >= -slack * lengths).all(), p.name
            if precise == "float32" and condition > 1e4:
                continue  # the Gramian knows nothing of the shortest directions
            expected, doubt = exact.dual_cone(p.jacobian, w, v > w)
            limit = 32 * EPS[precise] * condition * size_of_g
            assert doubt <= 1e-12 * size_of_g, p.name
            error = exact.error(v, p.jacobian, expected)
            assert error <= 1e-9 * exact.norm(expected) + limit, p.name


def test_the_float32_program_solves_its_own_gramian():
    """The error beside the exact solution of the same float32 Gramian."""
    solve = jax.jit(precision.in_float64(dual_cone.project))
    checked = 0
    for p in bank.problems(40, np.float32):
        t = p.mask.sum()
        gramian = p.gramian[:t, :t]
        root = np.sqrt(np.diagonal(gramian))
        if t < 40 or not root.all():
            continue
        values, vectors = np.linalg.eigh(gramian / np.outer(root, root))
        if values[0] < 1e-5:
            continue  # singular in float32: the error is that of forming it
        rows = root[:, None] * vectors * np.sqrt(values)
        u = np.full(40, 1 / 40, np.float32)
        u[0] = 1
        v = np.asarray(
            solve(jnp.float32(gramian), jnp.asarray(u), jnp.asarray(p.mask)).x
        )
        expected, _ = exact.dual_cone(rows, u, v > u)
        error = exact.error(v, rows, expected)
        assert error < 1e-6 * exact.norm(expected), p.name
        checked += 1
    assert checked >= 4


def test_the_norms_of_the_gradients_do_not_matter():
    """`J → diag(s) J` leaves the cone: `x` becomes `x / s` for the same `Jᵀu`."""
    problem = next(p for p in bank.problems(40) if p.name == "conflicting 40")
    u = rows(12 * [problem])
    plain = run(12 * [problem], u).x[0]
    for s in (np.logspace(-8, 8, 40), np.full(40, 1e-6), np.full(40, 1e6)):
        scaled = problem._replace(gramian=problem.gramian * np.outer(s, s))
        found = run(12 * [scaled], u / s).x[0]
        np.testing.assert_allclose(found * s, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("strategy", ["upgrad", "dualproj"])
def test_golden_values(shared_dir, strategy):
    golden = json.loads((shared_dir / "golden" / "public.json").read_text())
    entries = [e for e in golden["entries"] if e["strategy"] == strategy]
    assert len(entries) == 46
    for dtype, key in ((np.float64, "d_rel_f64"), (np.float32, "d_rel_f32")):
        for some in (entries[:40], entries[40:]):
            problems = [bank.golden_problem(golden, e, dtype) for e in some]
            p = np.zeros((len(some), 40))
            for row, e, q in zip(p, some, problems, strict=True):
                given = e["hyper"]["pref"]
                row[q.mask] = 1 / q.mask.sum() if isinstance(given, str) else given
            if strategy == "dualproj":
                x = run(problems, p[:, None] * np.eye(3)[0][:, None]).x[:, 0]
            else:  # three tasks at a time: the shape that is compiled already
                x = np.zeros((len(some), 40))
                for i in range(0, 21, 3):
                    u = np.zeros((len(some), 3, 40))
                    for k in range(3):
                        u[:, k, i + k] = p[:, i + k]
                    x += run(problems, u).x.sum(1)
            for e, q, w in zip(some, problems, x, strict=True):
                bank.check_golden(e, q, w, key, dtype)

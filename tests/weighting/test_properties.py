"""What papers claim of their methods, over a bank of nasty Jacobians.

A whole bank goes through one compiled call: every Jacobian at every scale.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jacobians import SCALES, bank
from method_table import TABLE

from mtl_jax import weighting

NUMBERS_OF_TASKS = (2, 4, 64)
METHODS_PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()


def losses_of(t):
    return 0.5 + np.arange(t, dtype=np.float32) / t


def directions(method, jacobians, seed=0, losses=None):
    """The directions `[N, P]` float64 of a stack of Jacobians `[N, T, P]`."""
    jacobians = jnp.asarray(np.asarray(jacobians), jnp.float32)
    t = jacobians.shape[1]
    losses = jnp.asarray(losses_of(t) if losses is None else losses, jnp.float32)
    # One program for a stack, made once for a method and a shape.
    known = (method.update, jacobians.shape)
    if known not in _COMPILED:
        _COMPILED[known] = jax.jit(
            jax.vmap(
                lambda j, x, k: (
                    weighting.aggregate(method, j, losses=x, key=k).direction
                ),
                in_axes=(0, None, None),
            )
        )
    found = _COMPILED[known](jacobians, losses, jax.random.key(seed))
    return np.asarray(found, np.float64)


_COMPILED = {}


def everything(t):
    """Names, Jacobians `[N, T, P]` as float32 knows them, scales; all in one stack."""
    cases = [(name, s, j * s) for name, j in bank(t).items() for s in SCALES]
    names, scales, jacobians = zip(*cases, strict=True)
    return names, np.asarray(np.float32(jacobians), np.float64), scales


def run(row, t):
    return _run(row.name, t)


@functools.lru_cache(maxsize=len(NUMBERS_OF_TASKS))  # the tests of a method in turn
def _run(name, t):
    row = next(row for row in TABLE if row.name == name)
    names, jacobians, scales = everything(t)
    return names, jacobians, scales, directions(row.make_for(t), jacobians)


def norm(x):
    return np.linalg.norm(x, axis=-1)


def cases(claim=None):
    return [
        pytest.param(row, t, id=f"{row.name}-{t}")
        for row in TABLE
        for t in NUMBERS_OF_TASKS
        if t >= row.min_tasks and (claim is None or claim(row))
    ]


@pytest.mark.parametrize(("row", "t"), cases())
def test_finite_everywhere_at_every_scale(row, t):
    names, _, scales, found = run(row, t)
    for name, scale, d in zip(names, scales, found, strict=True):
        assert np.all(np.isfinite(d)), (name, scale)
        if name == "zero":
            assert np.all(d == 0)


@pytest.mark.parametrize(("row", "t"), cases(lambda row: row.scale_free))
def test_scale_changes_the_length_and_not_the_direction(row, t):
    names, jacobians, scales, found = run(row, t)
    for name in bank(t):
        if name in row.rounding or name == "nearly collinear":
            continue  # the rounding of G in float32 decides there, not the method
        where = [i for i, n in enumerate(names) if n == name]
        one = found[where[SCALES.index(1.0)]]
        size = norm(jacobians[where[SCALES.index(1.0)]]).max() + 1e-30
        for i in where:
            if row.homogeneous:
                error = np.abs(found[i] / scales[i] - one).max() / size
            else:
                lengths = norm(found[i]), norm(one)
                if lengths[1] == 0:
                    assert lengths[0] == 0, (name, scales[i])
                    continue
                error = np.abs(found[i] / lengths[0] - one / lengths[1]).max()
            assert error <= 5e-4, (name, scales[i])


@pytest.mark.parametrize(("row", "t"), cases(lambda row: row.non_conflicting))
def test_the_direction_conflicts_with_no_task(row, t):
    names, jacobians, scales, found = run(row, t)
    for name, scale, j, d in zip(names, scales, jacobians, found, strict=True):
        norms = norm(j)
        # The float32 rounding of the direction, and of the Gramian.
        bound = norms * (2e-6 * norms.max() + 2e-5 * norm(d))
        assert np.all(j @ d >= -bound), (name, scale)


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_renaming_the_tasks_changes_nothing(row):
    if row.random or row.fixed or not row.equivariant:
        pytest.skip("the order of the tasks is part of this method")
    t = max(4, row.min_tasks)
    method, order = row.make_for(t), np.random.default_rng(0).permutation(t)
    names, jacobians, _, found = run(row, t)
    swapped = directions(method, jacobians[:, order], losses=losses_of(t)[order])
    for name, j, a, b in zip(names, jacobians, found, swapped, strict=True):
        size = max(norm(a), norm(b) if row.homogeneous else 0, norm(j).max())
        if row.homogeneous or norm(a) == 0:
            assert np.abs(a - b).max() <= 5e-4 * size, name
        else:
            assert np.abs(a - b).max() <= 5e-4 * norm(a), name


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_one_task_is_plain_descent(row):
    if row.min_tasks > 1:
        pytest.skip(f"this method needs {row.min_tasks} tasks")
    method = row.make_for(1)
    for scale in SCALES:
        g = scale * np.float32(np.random.default_rng(1).normal(size=(1, 1, 24)))
        d = directions(method, g)[0]
        if row.random and not np.any(d):
            continue  # the draw left the task out
        cosine = d @ g[0, 0] / (norm(d) * norm(g[0, 0]))
        if row.name == "graddrop":  # per coordinate
            assert np.all(d * g[0, 0] >= 0)
        else:
            assert cosine >= 1 - 1e-5, scale


@pytest.mark.parametrize(
    "row", [r for r in TABLE if r.stationary], ids=lambda r: r.name
)
def test_zero_exactly_where_the_point_is_pareto_stationary(row):
    method = row.make()
    triangle = np.array([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]])
    rng = np.random.default_rng(3)
    hull = rng.normal(size=(8, 3))
    hull = np.vstack([hull, -rng.dirichlet(np.ones(8)) @ hull])
    for j in (triangle, hull):
        for scale in SCALES:
            d = directions(method, scale * j[None])[0]
            assert norm(d) <= 1e-5 * scale * norm(j).max(), scale
    generic = bank(4)["generic"]
    assert norm(directions(method, generic[None])[0]) > 0.05


@pytest.mark.parametrize(
    "row", [r for r in TABLE if r.duplicates], ids=lambda r: r.name
)
def test_the_same_tasks_twice_change_nothing(row):
    t = max(3, row.min_tasks)
    for name in ("generic", "aligned", "unbalanced", "conflicting"):
        j = bank(t)[name]
        once = directions(row.make_for(t), j[None])[0]
        twice = directions(
            row.make_for(2 * t),
            np.vstack([j, j])[None],
            losses=np.tile(losses_of(t), 2),
        )[0]
        error = np.abs(once / norm(once) - twice / norm(twice)).max()
        assert error <= 2e-4, name


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.name)
def test_equal_gradients_and_the_scale_of_the_update(row):
    """What docs/methods.md says of it, and that `matched_scale` takes it out."""
    t = max(6, row.min_tasks)
    g = bank(t)["generic"][0]
    jacobian, losses = jnp.asarray(np.tile(g, (t, 1)), jnp.float32), jnp.full(t, 2.0)

    def times_g(method, **more):
        out = weighting.aggregate(method, jacobian, losses=losses, epoch=0, **more)
        return float(out.direction @ g) / float(g @ g)

    found = times_g(row.make_for(t))
    for start, expected in (("| T g, a sum |", t), ("| g, a mean |", 1)):
        (line,) = (x for x in METHODS_PAGE.splitlines() if x.startswith(start))
        if f"`{row.name}`" in line:
            assert found == pytest.approx(expected, rel=1e-4)
    matched = weighting.matched_scale(row.make_for(t))
    assert times_g(matched) == pytest.approx(t, rel=1e-4)


def test_pcgrad_of_two_tasks_is_the_closed_form():
    g, h = np.array([1.0, 0.0, 2.0]), np.array([-1.0, 1.0, 0.3])
    for j in (np.stack([g, -h]), np.stack([g, -g + h])):
        a, b = j
        expected = a + b
        if a @ b < 0:
            expected = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
        found = directions(weighting.pcgrad(), j[None])[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_graddrop_at_the_representation_shares_one_mask_over_the_batch():
    # Two tasks, a batch of 3, one feature: after the sign of the representation
    # task 0 wants the feature up everywhere and task 1 down.
    z = jnp.array([[1.0], [-2.0], [3.0]])
    grads = jnp.stack([jnp.sign(z), -jnp.sign(z)])
    method = weighting.graddrop()
    seen = set()
    for seed in range(20):
        d, heads, _ = method.update(grads, (), key=jax.random.key(seed), primal=z)
        assert d.shape == z.shape
        assert heads.tolist() == [1.0, 1.0]
        signs = np.asarray(d * jnp.sign(z)).ravel()
        assert np.all(signs == signs[0]), "one decision for all examples"
        seen.add(float(signs[0]))
    assert seen == {1.0, -1.0}

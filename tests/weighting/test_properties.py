"""What papers claim of their methods, over a bank of nasty Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_table import TABLE, num_tasks

from mtl_jax import weighting

RNG = np.random.default_rng(0)
BANK = {
    "generic": RNG.normal(size=(4, 9)),
    "wide": RNG.normal(size=(4, 300)),
    "low rank": RNG.normal(size=(4, 2)) @ RNG.normal(size=(2, 9)),
    "tall": RNG.normal(size=(4, 3)),
    "zero": np.zeros((4, 5)),
    "a zero row": np.vstack([RNG.normal(size=(3, 6)), np.zeros((1, 6))]),
    "equal": np.tile(RNG.normal(size=(1, 6)), (4, 1)),
    "opposite": np.array([[1.0, 2], [-1, -2], [1, 2], [-1, -2]]),
    "collinear": np.outer([1.0, 2.0, -0.5, 3.0], RNG.normal(size=7)),
    "nearly collinear": np.outer([1.0, 2.0, 0.5, 3.0], RNG.normal(size=7))
    + 1e-4 * RNG.normal(size=(4, 7)),
    "unbalanced": RNG.normal(size=(4, 9)) * np.array([[1e-3], [1], [1e2], [1e3]]),
    "conflicting": np.eye(4, 6) - 0.9 * np.ones((4, 1)) * np.eye(4, 6).mean(0),
}
SCALES = [1e-6, 1e-3, 1.0, 1e3, 1e6]
ROWS = [r for r in TABLE if num_tasks(r) in (None, 4)]


def direction(method, jacobian, seed=0, **options):
    out = weighting.aggregate(
        method, jnp.asarray(jacobian, jnp.float32), key=jax.random.key(seed), **options
    )
    return np.asarray(out.direction, np.float64)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_finite_everywhere_at_every_scale(row):
    method = row.make()
    for name, jacobian in BANK.items():
        for scale in SCALES:
            d = direction(method, scale * jacobian)
            assert np.all(np.isfinite(d)), (name, scale)
            if name == "zero":
                assert np.all(d == 0)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_scaling_the_jacobian_scales_the_direction(row):
    if not row.homogeneous:
        pytest.skip("this method is not homogeneous")
    method = row.make()
    for name, jacobian in BANK.items():
        if name == "nearly collinear":
            continue  # the rounding of G decides there, not the method
        one = direction(method, jacobian)
        for scale in SCALES:
            scaled = direction(method, scale * jacobian) / scale
            size = np.abs(jacobian).max() + 1e-30
            assert np.abs(scaled - one).max() <= 2e-4 * size, (name, scale)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_renaming_the_tasks_changes_nothing(row):
    if row.random or row.fixed or row.name == "static":
        pytest.skip("the order of the tasks is part of this method")
    method = row.make()
    for name, jacobian in BANK.items():
        losses = jnp.asarray([1.0, 2.0, 0.5, 3.0])
        order = np.array([2, 0, 3, 1])
        a = direction(method, jacobian, losses=losses)
        b = direction(method, jacobian[order], losses=losses[order])
        assert np.abs(a - b).max() <= 2e-4 * (np.abs(jacobian).max() + 1e-30), name


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r.non_conflicting], ids=lambda r: r.name
)
def test_the_direction_conflicts_with_no_task(row):
    method = row.make()
    for name, jacobian in BANK.items():
        for scale in SCALES:
            scaled = np.asarray(scale * jacobian, np.float32).astype(np.float64)
            d = direction(method, scaled)
            products = scaled @ d
            norms = np.linalg.norm(scaled, axis=1)
            # The float32 rounding of the direction, and of the Gramian.
            bound = norms * (1e-6 * norms.max() + 1e-5 * np.linalg.norm(d))
            assert np.all(products >= -bound), (name, scale)


def test_mgda_is_zero_exactly_where_the_point_is_pareto_stationary():
    opposite = direction(weighting.mgda(), BANK["opposite"])
    np.testing.assert_allclose(opposite, 0, atol=1e-6)
    triangle = [[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]]
    np.testing.assert_allclose(direction(weighting.mgda(), triangle), 0, atol=1e-6)
    assert np.linalg.norm(direction(weighting.mgda(), BANK["generic"])) > 0.1


def test_pcgrad_of_two_tasks_is_the_closed_form():
    g, h = np.array([1.0, 0.0, 2.0]), np.array([-1.0, 1.0, 0.3])
    jacobian = np.stack([g, -h])
    conflict = np.stack([g, -g + h])
    for j in (jacobian, conflict):
        a, b = j
        expected = a + b
        if a @ b < 0:
            expected = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
        found = direction(weighting.pcgrad(), j)
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

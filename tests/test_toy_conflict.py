"""The toy problem of the papers, against reference values where a checkout has them."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import weighting
from mtl_jax.research import toy_conflict

SCRIPT = Path(__file__).resolve().parents[1] / "configs" / "toy_conflict.py"
STEPS, EVERY = 35_000, 10
METHODS = {
    "linear_sum": weighting.equal(),
    "pcgrad": weighting.pcgrad(),
    "mgda": weighting.mgda(),
    "upgrad": weighting.upgrad(),
    "imtl_g": weighting.imtl_g(),
    "nash_mtl": weighting.nash_mtl(),
    "cagrad_c0.4": weighting.cagrad(0.4),
    "cagrad_c0.5": weighting.cagrad(0.5),
    "famo_gamma0.0": weighting.famo(gamma=0.0),
    "famo_gamma0.001": weighting.famo(gamma=0.001),
    "famo_gamma0.01": weighting.famo(gamma=0.01),
}
"""By the names of the reference runs."""


@pytest.fixture(scope="module")
def toy(shared_dir):
    return json.loads((shared_dir / "golden" / "toy.json").read_text())


@pytest.fixture(scope="module")
def paths():
    with jax.enable_x64(True):
        return toy_conflict.run(METHODS, steps=STEPS, every=EVERY)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_losses_and_gradients(toy, dtype):
    rounding = 1e-12 if dtype == "float64" else 1e-4
    with jax.enable_x64(dtype == "float64"):
        for value in toy["values_for_unit_tests"]:
            x = jnp.asarray(value["x"])
            found = toy_conflict.losses(x, 1.0)
            np.testing.assert_allclose(found, value["f"], rounding, rounding)
            jacobian = jax.jacrev(toy_conflict.losses)(x, 1.0)
            np.testing.assert_allclose(jacobian, value["J"], rounding, rounding)


def test_the_scale_is_that_of_the_first_loss_and_bounds_hold():
    grid = np.stack(np.meshgrid(*[np.linspace(-10, 10, 101)] * 2), -1).reshape(-1, 2)
    for scale in (1.0, 0.1):
        losses = jax.vmap(lambda x, s=scale: toy_conflict.losses(x, s))(grid)
        assert np.all(losses > toy_conflict.bounds(scale))
        if scale == 1.0:
            whole = losses
    np.testing.assert_allclose(losses, whole * np.array([0.1, 1.0]), rtol=1e-5)


def test_the_pareto_set(toy):
    points = np.array([point["x"] for point in toy["pareto_points"]])
    np.testing.assert_allclose(
        toy_conflict.pareto_set(points[:, 0]), points[:, 1], atol=1e-12
    )
    np.testing.assert_allclose(toy_conflict.distance_to_front(points), 0, atol=2e-3)
    # On it the gradients are opposite, and it is where a weighted sum is least.
    with jax.enable_x64(True):
        x1 = np.linspace(-6.9, 6.9, 9)
        points = np.stack([x1, toy_conflict.pareto_set(x1)], -1)
        jacobians = np.asarray(jax.vmap(jax.jacrev(toy_conflict.losses))(points))
    one, two = np.moveaxis(jacobians, 1, 0)
    cosine = np.sum(one * two, 1) / np.linalg.norm(one, axis=1)
    np.testing.assert_allclose(cosine / np.linalg.norm(two, axis=1), -1, atol=1e-9)


def test_distances():
    assert toy_conflict.distance_to_front(np.array([0.0, 0.0])) == pytest.approx(
        8.3551, abs=1e-3
    )
    beyond = np.array([9.0, toy_conflict.pareto_set(7.0)])
    assert toy_conflict.distance_to_front(beyond) == pytest.approx(2, abs=1e-6)


@pytest.mark.slow
def test_the_ways_begin_as_those_of_the_reference(toy, paths):
    """At (0, 0) the gradients are parallel, where IMTL-G is 0/0."""
    for name, runs in toy["float64_reimplementation"]["runs"][
        "nash_scale0.1_35k"
    ].items():
        for start, run in enumerate(runs if name in paths else []):
            parallel = start == 1 and name in ("imtl_g", "nash_mtl", "famo_gamma0.0")
            for step in ("10", "100", "1000"):
                found = paths[name][start, int(step) // EVERY]
                error = np.abs(found - run["trace"][step]).max()
                assert error < (0.05 if parallel else 1e-4), (name, start, step)


@pytest.mark.slow
def test_the_ways_end_where_those_of_the_reference_end(toy, paths):
    """As far as they are no chaos; see "tolerance" in the file."""
    runs = toy["float64_reimplementation"]["runs"]["nash_scale0.1_35k"]
    for name, path in paths.items():
        for start, run in enumerate(runs[name]):
            end, wanted = path[start, -1], np.array(run["x"])
            on_front = toy_conflict.distance_to_front(end) < toy_conflict.ON_FRONT
            assert on_front == run["status"]["on_front"], (name, start, end)
            error = np.abs(end - wanted)
            if start in (0, 2):
                within = np.array([1.0 if "famo" in name else 0.5, 0.05])
            elif "famo" in name or name == "nash_mtl":
                within = np.array([0.3, 0.05])
            else:
                within = np.array([0.1, 0.1])
            if on_front:
                assert np.all(error <= within), (name, start, end, wanted)


@pytest.mark.slow
def test_findings_of_the_papers(paths):
    ends = {name: path[:, -1] for name, path in paths.items()}
    on_front = {
        name: (toy_conflict.distance_to_front(x) < toy_conflict.ON_FRONT).tolist()
        for name, x in ends.items()
    }
    for name in ("mgda", "imtl_g", "nash_mtl", "famo_gamma0.0"):
        assert all(on_front[name])
    for name in ("linear_sum", "cagrad_c0.4", "famo_gamma0.001", "famo_gamma0.01"):
        assert on_front[name] == [False, True, False, True, True]
    for name in ("pcgrad", "upgrad"):
        assert on_front[name] == [True, True, False, True, True]


def test_float32_takes_the_same_way(toy):
    runs = toy["float64_reimplementation"]["runs"]["nash_scale0.1_35k"]
    methods = {k: METHODS[k] for k in ("linear_sum", "cagrad_c0.4", "famo_gamma0.0")}
    paths = toy_conflict.run(methods, steps=1000, every=100)
    for name, path in paths.items():
        assert path.dtype == np.float32
        for start in (0, 2, 3, 4):
            for step in ("100", "1000"):
                wanted = runs[name][start]["trace"][step]
                error = np.abs(path[start, int(step) // 100] - wanted).max()
                assert error < 5e-3, (name, start, step)


def test_all_methods_in_one_program():
    choice = toy_conflict.choose()
    assert {*choice.methods, *choice.left_out} == set(weighting.METHODS)
    assert len(choice.methods) >= 9
    for name, why in choice.left_out.items():
        assert name in choice.methods or why
    paths = toy_conflict.run(choice.methods, steps=20, every=5, seed=1)
    assert list(paths) == list(choice.methods)
    starts = np.array(toy_conflict.STARTS)
    for name, path in paths.items():
        assert path.shape == (5, 5, 2), name
        assert np.all(np.isfinite(path)), name
        np.testing.assert_allclose(path[:, 0], starts)
        # The first step of Adam has the length of its learning rate, or is none.
        assert np.all(np.abs(path[:, 1] - starts) <= 5.2e-3), name
        assert np.any(path[:, -1] != starts), name


def test_seeds_matter_for_random_methods_only():
    methods = {"rlw": weighting.rlw(), "sum": weighting.equal()}
    one, two = (
        toy_conflict.run(methods, steps=30, every=30, seed=seed) for seed in (0, 1)
    )
    assert np.any(one["rlw"] != two["rlw"])
    assert np.array_equal(one["sum"], two["sum"])


def test_what_cannot_be():
    with pytest.raises(
        ValueError, match=r"unknown method 'mdga'\. Did you mean 'mgda'"
    ):
        toy_conflict.choose(["mdga"])
    with pytest.raises(ValueError, match="10 steps cannot record every 3"):
        toy_conflict.run({"sum": weighting.equal()}, steps=10, every=3)


def script(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True
    )


def test_the_script(tmp_path):
    names = ["equal", "mgda", "auto_lambda", "famo"]
    done = script("--steps", 300, "--out", tmp_path / "new", "--methods", *names)
    assert done.returncode == 0, done.stderr
    assert "left out: auto_lambda: it learns from validation data" in done.stdout
    assert "mgda    0 of 5 " in done.stdout
    result = json.loads((tmp_path / "new" / "toy_conflict.json").read_text())
    assert list(result["methods"]) == ["equal", "mgda", "famo"]
    assert result["steps"] == 300
    assert np.shape(result["methods"]["mgda"]["ends"]) == (5, 2)
    assert result["methods"]["famo"]["hyper"] == {"gamma": 0.0}
    picture = (tmp_path / "new" / "toy_conflict.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    assert len(picture) > 20_000
    done = script("--methods", "mdga")
    assert done.returncode == 2
    assert "Did you mean 'mgda'?" in done.stderr

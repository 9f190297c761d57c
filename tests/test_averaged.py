"""Models of runs that trained their tasks apart."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import averaged, build, config, run, train, trained

TASKS = {
    "digit": config.TaskConfig("digit", "classification", "label", num_outputs=10),
    "five": config.TaskConfig(
        "five", "binary", "above_five", loss_args={"class_weights": "balanced"}
    ),
}


def settings(*names, seed=0, width=4):
    return config.Config(
        "apart",
        config.DataConfig("digits"),
        tuple(TASKS[name] for name in names),
        model=config.ModelConfig("mlp", {"features": (width,)}),
        train=config.TrainConfig(epochs=1, batch_size=64, parallel="jit"),
        seed=seed,
    )


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    root = tmp_path_factory.mktemp("apart")
    made = {name: root / name for name in TASKS}
    for name, path in made.items():
        run.train_run(settings(name), path, level="error")
    return made


def test_the_trunk_is_the_mean_and_every_head_its_own(workdirs):
    found = averaged.average_runs(workdirs, weights=[1, 3])
    one, other = (trained.load_run(path).state for path in workdirs.values())
    for mean, a, b in zip(
        *(jax.tree.leaves(s.shared) for s in (found.state, one, other)), strict=True
    ):
        np.testing.assert_allclose(
            mean, 0.25 * np.asarray(a) + 0.75 * np.asarray(b), rtol=1e-5, atol=1e-7
        )
    for state, key in ((one, "heads_digit"), (other, "heads_five")):
        for a, b in zip(
            jax.tree.leaves(found.state.specific[key]),
            jax.tree.leaves(state.specific[key]),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    counts = found.facts["tasks"]["above_five"]["class_counts"]  # of the other run
    labels = build.build_data(found.config).train.labels["above_five"]
    np.testing.assert_array_equal(counts, np.bincount(labels))
    scores = trained.evaluate_loaded(found)
    assert 0 <= scores["digit/accuracy"] <= 1 and 0 <= scores["five/accuracy"] <= 1


def test_runs_of_one_seed_begin_alike_whatever_their_tasks():
    starts = []
    for names in (["digit"], ["five"], ["digit", "five"]):
        wanted = settings(*names)
        parts = build.build(wanted, build.build_data(wanted).facts)
        x = jnp.zeros((1, 8, 8))
        key, _ = jax.random.split(jax.random.key(0))
        starts.append(jax.tree.leaves(parts.model.init(key, x).shared))
    for a, b, c in zip(*starts, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_errors_of_averaging(workdirs, monkeypatch):
    with pytest.raises(ValueError, match="given no runs"):
        averaged.average_runs({})
    with pytest.raises(ValueError, match=r"task of the run in .*'five'"):
        averaged.average_runs({"five": workdirs["digit"]})
    with pytest.raises(ValueError, match=r"average of 2 trees was given weights=\[1\]"):
        averaged.average_runs(workdirs, weights=[1])
    load = trained.load_run
    start = config.TransferConfig(init_from="start")

    def other(path, which, *, overrides, **changes):
        found = load(path, which, overrides=overrides)
        seed = 1 if path == str(workdirs["five"]) else 0
        changed = dataclasses.replace(found.config, seed=seed, **changes)
        return found._replace(config=changed)

    monkeypatch.setattr(trained, "load_run", other)
    with pytest.raises(ValueError, match=r"seed=1, .* seed=0: .* began differently"):
        averaged.average_runs(workdirs)
    from_one = functools.partial(other, transfer=start)
    monkeypatch.setattr(trained, "load_run", from_one)
    assert averaged.average_runs(workdirs).config.transfer == start
    with pytest.raises(ValueError, match=r"'w' is \(\(2,\), 'float32'\) and \(\(3,\)"):
        train.average([{"w": jnp.zeros(2)}, {"w": jnp.zeros(3)}])

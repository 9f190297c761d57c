"""Ensembles of heads and of runs, and weights by cross-validation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import (
    build,
    cli,
    config,
    data,
    ensembles,
    losses,
    run,
    trained,
    tuning,
)

RNG = np.random.default_rng(0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_averages_are_of_what_outputs_mean():
    outputs = RNG.normal(size=(3, 7, 4)).astype(np.float32)
    found = losses.average(losses.softmax_cross_entropy(), outputs)
    np.testing.assert_allclose(
        softmax(np.asarray(found)), softmax(outputs).mean(0), rtol=1e-5
    )
    for loss in (losses.sigmoid_cross_entropy(), losses.ordinal()):
        found = np.asarray(losses.average(loss, outputs))
        mean = (1 / (1 + np.exp(-outputs))).mean(0)
        np.testing.assert_allclose(1 / (1 + np.exp(-found)), mean, rtol=1e-5)
    found = losses.average(losses.poisson(), outputs)
    np.testing.assert_allclose(np.exp(found), np.exp(outputs).mean(0), rtol=1e-5)
    found = losses.average(losses.mse(), outputs)
    np.testing.assert_allclose(found, outputs.mean(0), rtol=1e-5, atol=1e-6)
    found = losses.average(losses.cosine(), outputs)
    units = outputs / np.linalg.norm(outputs, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, units.mean(0), rtol=1e-5, atol=1e-6)


def test_the_loss_of_members_is_the_mean_of_theirs():
    outputs = jnp.asarray(RNG.normal(size=(5, 3, 4)), jnp.float32)
    labels = jnp.asarray(RNG.integers(0, 4, 5))
    loss = losses.softmax_cross_entropy([1.0, 2.0, 3.0, 4.0])
    both = losses.of_members(loss, 3, 4)
    values, weights = both.per_example(outputs.reshape(5, 12), labels)
    each = [loss.per_example(outputs[:, m], labels)[0] for m in range(3)]
    np.testing.assert_allclose(values, np.mean(each, axis=0), rtol=1e-5)
    np.testing.assert_allclose(weights, [[1, 2, 3, 4][y] for y in labels])
    alone, _ = both.per_example(outputs[:, 0], labels)
    np.testing.assert_allclose(alone, each[0])
    mean = softmax(np.asarray(outputs)).mean(1)
    hits = both.hits(outputs.reshape(5, 12), labels)
    np.testing.assert_array_equal(hits, mean.argmax(-1) == np.asarray(labels))
    assert losses.of_members(loss, 3, 4) is both


def settings(seed=0, **model):
    return config.Config(
        "members",
        config.DataConfig("digits"),
        (
            config.TaskConfig("digit", "classification", "label", num_outputs=10),
            config.TaskConfig("five", "binary", "above_five"),
        ),
        model=config.ModelConfig("mlp", {"features": (8,)}, **model),
        optimizer=config.OptimizerConfig("adam", 0.01),
        train=config.TrainConfig(epochs=1, batch_size=128, parallel="jit"),
        seed=seed,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("members")
    for seed in (0, 1):
        run.train_run(settings(seed), root / str(seed), level="error")
    heads = settings(heads_per_task=3, head_features=(4,))
    result = run.train_run(heads, root / "heads", level="error")
    return root, result


def test_members_are_trained_as_if_alone_and_predict_together(runs):
    root, result = runs
    parts = build.build(settings(heads_per_task=3, head_features=(4,)))
    x = build.build_data(settings()).test.inputs[:6]
    state = result.state
    call = (state.shared, state.specific, state.collections, x)
    every = parts.model.apply(*call, train=True, key=jax.random.key(0))[0]
    mean = parts.model.apply(*call)[0]
    assert every["digit"].shape == (6, 30) and mean["digit"].shape == (6, 10)
    split = np.asarray(every["digit"]).reshape(6, 3, 10)
    assert not np.allclose(split[:, 0], split[:, 1])
    np.testing.assert_allclose(
        softmax(np.asarray(mean["digit"])), softmax(split).mean(1), rtol=1e-4
    )
    again = trained.evaluate_run(root / "heads")
    assert again["digit/accuracy"] == result.test["digit/accuracy"]


def test_runs_are_one_predictor(runs):
    root, _ = runs
    paths = [root / "0", root / "1"]
    found = ensembles.predict_runs(paths, "test")
    each = [trained.predict_run(path, "test") for path in paths]
    for task in ("digit", "five"):
        mean = np.mean([one[f"{task}/probability"] for one in each], axis=0)
        np.testing.assert_allclose(found[f"{task}/probability"], mean, atol=1e-5)
    labels = build.build_data(settings()).test.labels
    scores = ensembles.evaluate_runs(paths)
    right = found["digit/prediction"] == labels["label"]
    assert scores["digit/accuracy"] == pytest.approx(right.mean())
    p = found["digit/probability"][np.arange(len(right)), labels["label"]]
    assert scores["digit/loss"] == pytest.approx(-np.log(p).mean(), rel=1e-4)
    assert list(scores) == list(trained.evaluate_run(paths[0]))
    one = ensembles.evaluate_runs(paths[:1])
    assert one == pytest.approx(trained.evaluate_run(paths[0]), rel=1e-5)


def test_the_commands_take_several_runs(runs, tmp_path, capsys):
    root, _ = runs
    paths = [str(root / "0"), str(root / "1")]
    assert cli.main(["evaluate", *paths]) == 0
    assert "digit/accuracy" in capsys.readouterr().out
    out = str(tmp_path / "p.npz")
    words = ["predict", *paths, "--split", "test", "--output", out, "--tasks", "five"]
    assert cli.main(words) == 0
    with np.load(out) as arrays:
        assert sorted(arrays) == ["five/outputs", "five/prediction", "five/probability"]


def test_errors_of_ensembles(runs):
    root, _ = runs
    with pytest.raises(ValueError, match="of no runs"):
        ensembles.evaluate_runs([])
    with pytest.raises(ValueError, match="An ensemble is of runs whose tasks"):
        ensembles.evaluate_runs([root / "0", root / "heads"])
    with pytest.raises(ValueError, match="task of these runs 'fife'"):
        ensembles.predict_runs([root / "0"], "test", task_names=["fife"])
    chain = settings(heads_per_task=2, architecture="esmm")
    with pytest.raises(ValueError, match="goes on from the outputs of its heads"):
        build.build(chain)


def test_folds_have_every_example_once_and_some_of_every_task():
    source = data.ArraySource(np.eye(20), {"a": np.arange(20)}, groups=(14, 6))
    parts = tuning.fold_indices(source, 3, seed=1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(20))
    for part in parts:
        assert source.select(part).groups in ((5, 2), (4, 2))
    with pytest.raises(ValueError, match="no more than the 6 training examples"):
        tuning.fold_indices(source, 7, seed=1)


def test_weights_are_chosen_by_the_mean_over_folds(tmp_path, monkeypatch, capsys):
    path = tmp_path / "tiny.py"
    path.write_text("")
    calls = []

    def fake(config, dataset, parts, fold):
        weights = [t.weight for t in config.tasks]
        calls.append((weights, fold))
        return {"five/accuracy": 0.5 + 0.1 * weights[1] - 0.01 * fold}

    monkeypatch.setattr(tuning, "_run", fake)
    found = tuning.cross_validate(
        settings(), [[1, 2], [1, 3]], folds=3, metric="five/accuracy"
    )
    assert len(calls) == 6
    assert found.best.weights == {"digit": 1.0, "five": 3.0}
    assert found.best.mean == pytest.approx(0.79)
    assert found.best.deviation == pytest.approx(0.01)
    assert "0.7900 ± 0.0100" in str(found)
    for arguments, message in (
        ({"weights": [[1]]}, "give 2 positive numbers"),
        ({"weights": [[1, 0]]}, "give 2 positive numbers"),
        ({"weights": []}, "no vector of task weights"),
        ({"metric": "five/accuracies"}, "Did you mean 'five/accuracy'"),
    ):
        with pytest.raises(ValueError, match=message):
            tuning.cross_validate(settings(), folds=2, **arguments)


def test_a_fold_is_held_out_of_training(monkeypatch):
    wanted = settings()
    dataset = build.build_data(wanted)
    part = np.arange(300)
    small = dataclasses.replace(dataset, train=dataset.train.select(part))
    folds = tuning.fold_indices(small.train, 2, seed=0)
    seen = {}

    def fit(model, tasks, divided, **options):
        seen["data"] = divided
        return type("Result", (), {"test": {"mean_loss": 1.0}})

    monkeypatch.setattr(tuning.train, "fit", fit)
    tuning._run(wanted, small, folds, 0)
    np.testing.assert_array_equal(
        seen["data"].test.inputs, small.train.inputs[folds[0]]
    )
    np.testing.assert_array_equal(
        seen["data"].train.inputs, small.train.inputs[folds[1]]
    )
    assert seen["data"].validation is None


def test_tune_is_a_command(tmp_path, capsys):
    path = tmp_path / "tiny.py"
    path.write_text(
        "from mtl_jax.config import *\n"
        "def get_config():\n"
        "    return Config('t', DataConfig('digits'), (TaskConfig('above_five',"
        " 'binary'),), ModelConfig('mlp', {'features': (2,)}),"
        " train=TrainConfig(epochs=1, batch_size=512))\n"
    )
    words = ["tune", str(path), "--weights", "1", "--folds", "2"]
    assert cli.main([*words, "--set", "train.parallel=jit"]) == 0
    out = capsys.readouterr().out
    assert "mean_loss, mean ± deviation" in out and "tasks.above_five.weight=1" in out
    assert cli.main(["tune", str(path), "--weights", "1;2"]) == 2
    assert "vectors of numbers with commas" in capsys.readouterr().err

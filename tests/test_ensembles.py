"""Ensembles of heads and of runs, and weights by cross-validation."""

import dataclasses
import json
import shlex

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
    tasks,
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


def test_runs_of_one_head_and_of_several_are_one_predictor(runs):
    root, _ = runs
    paths = [root / "0", root / "heads"]
    each = [trained.predict_run(path, "test")["five/probability"] for path in paths]
    found = ensembles.predict_runs(paths, "test", task_names=["five"])
    np.testing.assert_allclose(found["five/probability"], np.mean(each, 0), atol=1e-5)
    parts = trained.read_run(root / "heads").parts
    assert [t.num_outputs for t in parts.tasks] == [10, 1]


def test_numbers_are_averaged_in_the_units_of_the_first_run(monkeypatch):
    units, outputs = [(1.0, 2.0), (-3.0, 4.0)], RNG.normal(size=(2, 5, 1))
    made = []
    for of_run, out in zip(units, outputs, strict=True):
        parts = build.Parts((tasks.regression("size", units=of_run),), None, None)
        made.append(trained.LoadedRun(settings(), parts, out, 0, None, {}))

    def predict(model, state, inputs, task_names):
        return {"size": state}

    monkeypatch.setattr(ensembles.train, "predict", predict)
    found = ensembles.ensemble_outputs(made, None)["size"]
    values = [out * d + m for out, (m, d) in zip(outputs, units, strict=True)]
    np.testing.assert_allclose(found * 2 + 1, np.mean(values, axis=0), rtol=1e-5)


def test_runs_whose_outputs_mean_something_else_are_refused(runs, monkeypatch):
    first = trained.load_run(runs[0] / "0")
    classes = [{"tasks": {"label": {"labels": list(n)}}} for n in ("ab", "ba")]
    digit = first.parts.tasks[0]
    narrow = (dataclasses.replace(digit, num_outputs=9), *first.parts.tasks[1:])
    number = (dataclasses.replace(digit, units=(0, 1)), *first.parts.tasks[1:])
    for one, other in (
        (first._replace(facts=classes[0]), first._replace(facts=classes[1])),
        (first, first._replace(parts=first.parts._replace(tasks=narrow))),
        (first, first._replace(parts=first.parts._replace(tasks=number))),
    ):
        found = iter((one, other))
        monkeypatch.setattr(ensembles, "load_run", lambda *a, _f=found, **k: next(_f))
        with pytest.raises(ValueError, match="An ensemble is of runs whose tasks"):
            ensembles.load_ensemble(["a", "b"])


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
    with pytest.raises(ValueError, match="task of these runs 'fife'"):
        ensembles.predict_runs([root / "0"], "test", task_names=["fife"])
    for chain in ("aitm", "esmm"):
        with pytest.raises(ValueError, match="reads the outputs of its heads"):
            build.build(settings(heads_per_task=2, architecture=chain))


def test_folds_have_every_example_once_and_some_of_every_task():
    source = data.ArraySource(np.eye(20), {"a": np.arange(20)}, groups=(14, 6))
    parts = tuning.fold_indices(source, 3, seed=1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(20))
    for part in parts:
        assert source.select(part).groups in ((5, 2), (4, 2))
    with pytest.raises(ValueError, match="no more than the 6 training examples"):
        tuning.fold_indices(source, 7, seed=1)


def test_few_labels_are_divided_evenly():
    mask = np.arange(40) < 4
    source = data.ArraySource(np.eye(40), {"digit": np.zeros(40)}, {"digit": mask})
    for seed in range(3):
        parts = tuning.fold_indices(source, 4, seed=seed)
        assert [int(mask[part].sum()) for part in parts] == [1, 1, 1, 1]
    task = build.build(settings()).tasks[:1]
    task = [dataclasses.replace(task[0], label=None)]
    tuning._check_labels(source, parts, task)
    parts = tuning.fold_indices(source, 8, seed=0)
    with pytest.raises(ValueError, match=r"fold 1 of 8 has no labels .* Use 4 folds"):
        tuning._check_labels(source, parts, task)


def test_trials_that_could_not_be_measured_are_never_the_best():
    bad = tuning.Trial({"a": 1.0}, (float("nan"), 0.9))
    for mode in ("min", "max"):
        good = tuning.Trial({"a": 2.0}, (0.5, 0.5))
        for trials in ((bad, good), (good, bad)):
            assert tuning.Tuning("a/auc", mode, trials).best is good
    found = tuning.Tuning("a/auc", "max", (bad,))
    assert "best" not in str(found)
    with pytest.raises(ValueError, match="no weights have a finite mean of a/auc"):
        found.best  # noqa: B018


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


def test_a_fold_is_held_out_of_training(runs, monkeypatch):
    root, _ = runs
    later = config.PartConfig("shared", from_epoch=1)
    wanted = dataclasses.replace(
        settings(),
        optimizer=config.OptimizerConfig("sgd", 1.0, parts=(later,)),
        transfer=config.TransferConfig(init_from=str(root / "1")),
        distil=config.DistilConfig(str(root / "0"), tasks=("five",), labels=False),
    )
    dataset = build.build_data(wanted)
    part = np.arange(600)
    small = dataclasses.replace(dataset, train=dataset.train.select(part))
    folds = tuning.fold_indices(small.train, 2, seed=0)
    seen = {}

    def fit(model, tasks, divided, **options):
        seen.update(options, data=divided, tasks=tasks)
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
    # The parts of the optimizer count epochs: 300 examples are two steps.
    params = [{"w": jnp.ones(1)}, {"w": jnp.ones(1)}]
    state, moved = seen["optimizer"].init(params), []
    for _ in range(3):
        updates, state = seen["optimizer"].update(params, state, params)
        moved.append(float(updates[0]["w"][0]))
    assert moved == [0.0, 0.0, -1.0]
    # It begins with the other run, and its teacher says what that run does.
    model = build.build(wanted).model
    start = seen["start"](model.init(jax.random.key(5), small.train.inputs[:1]))
    for a, b in zip(
        jax.tree.leaves(start.shared),
        jax.tree.leaves(trained.load_run(root / "1").state.shared),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert [t.distillation is None for t in seen["tasks"]] == [True, False]
    for split, part in (("train", folds[1]), ("test", folds[0])):
        said = trained.predict_run(root / "0", small.train.inputs[part])
        found = seen["data"].split(split).labels["five, teacher"]
        np.testing.assert_allclose(found, said["five/outputs"], rtol=1e-5, atol=1e-5)
    label = seen["tasks"][1].label_name
    assert not seen["data"].train.masks[label].any()
    assert seen["data"].test.masks[label].all()


def printed(capsys):
    """What the settings are in the command that is printed."""
    line = capsys.readouterr().out.strip().splitlines()[-1]
    words = shlex.split(line)
    assert words[:2] == ["mtl-jax", "train"]
    assert cli.main(["config", "show", *words[2:]]) == 0
    return json.loads(capsys.readouterr().out)


def test_tune_is_a_command(tmp_path, capsys, monkeypatch):
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
    monkeypatch.setattr(tuning, "_run", lambda *_: {"mean_loss": 1.0})
    words = ["tune", str(path), "--weights", "0.123456789", "--method", "mgda"]
    assert cli.main([*words, "--folds", "2", "--set", "data.args={}", "seed=3"]) == 0
    found = printed(capsys)
    assert found["tasks"][0]["weight"] == 0.123456789
    assert (found["method"]["name"], found["seed"]) == ("mgda", 3)
    # Tasks that the data speak of.
    table = tmp_path / "t.csv"
    table.write_text("x,y\n" + "\n".join(f"{i},{i * i}.5" for i in range(40)))
    path.write_text(
        "from mtl_jax.config import *\n"
        "def get_config():\n"
        f"    return Config('t', DataConfig('table', path={str(table)!r},"
        " targets=('y',)), model=ModelConfig('tabular_embedding'))\n"
    )
    assert cli.main(["tune", str(path), "--weights", "0.5", "--folds", "2"]) == 0
    assert printed(capsys)["tasks"][0]["weight"] == 0.5
    assert cli.main(["tune", str(path), "--weights", "1;2"]) == 2
    assert "vectors of numbers with commas" in capsys.readouterr().err

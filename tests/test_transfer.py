"""What a run begins with: partial restore, and runs that begin with others."""

import dataclasses
import json
import shutil
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import cli, config, data, models, run, tasks, train, trained, transfer
from mtl_jax.train import rows


def variables(trunk, heads, seed, inputs=6):
    net = models.HardSharing(trunk, {n: nn.Dense(k) for n, k in heads.items()})
    return models.from_linen(net).init(jax.random.key(seed), jnp.ones((1, inputs)))


def test_what_matches_what_differs_and_what_is_absent():
    """Of stacked heads, one comes from the other model and one is new."""
    there = variables(models.MLP((5, 4), batch_norm=True), {"a": 3, "c": 2, "e": 3}, 0)
    here = variables(models.MLP((5, 4), batch_norm=True), {"a": 3, "b": 3, "c": 1}, 1)
    found, report = transfer.partial_restore(here, there)
    a = found.specific["heads_a"]["kernel"]
    np.testing.assert_array_equal(a, there.specific["heads_a"]["kernel"])
    b = found.specific["heads_b"]["kernel"]
    np.testing.assert_array_equal(b, here.specific["heads_b"]["kernel"])
    np.testing.assert_array_equal(
        found.shared["trunk"]["Dense_1"]["kernel"],
        there.shared["trunk"]["Dense_1"]["kernel"],
    )
    assert jax.tree.structure(found) == jax.tree.structure(here)
    assert report.other_shape == {
        "specific/heads_c/bias": ((1,), (2,)),
        "specific/heads_c/kernel": ((4, 1), (4, 2)),
    }
    assert report.only_here == ("specific/heads_b/bias", "specific/heads_b/kernel")
    assert report.only_there == ("specific/heads_e/bias", "specific/heads_e/kernel")
    assert sum("batch_stats" in name for name in report.taken) == 4
    trunk = 6 * 5 + 5 + 5 * 4 + 4 + 2 * (5 + 4)
    assert report.parameters == trunk + 2 * (5 + 4) + 3 * 4 + 3
    text = str(report)
    assert "of another shape, initialised anew (2):" in text
    assert "specific/heads_c/kernel: [4, 1] here, [4, 2] there" in text


def test_renames_and_what_is_to_stay():
    there = variables(models.MLP((5,)), {"digit": 3}, 0)
    here = variables(models.MLP((5,)), {"letter": 3}, 1)
    found, report = transfer.partial_restore(
        here,
        there,
        rename={"specific/heads_letter": "specific/heads_digit"},
        skip=["Dense_0/bias$"],
    )
    np.testing.assert_array_equal(
        found.specific["heads_letter"]["kernel"],
        there.specific["heads_digit"]["kernel"],
    )
    assert report.skipped == ("shared/trunk/Dense_0/bias",)
    assert not report.only_here and not report.only_there
    for wrong, message in (
        ({"skip": ["."]}, "nothing of the trained model fits this one"),
        ({"skip": ["heads_digit"]}, r"'heads_digit', which is in no name .*letter"),
        ({"skip": ["heads_("]}, r"'heads_\(', which is no regular expression: miss"),
        (
            {"rename": {"shared/tr": "shared/trunk"}},
            "no name of this model begins with 'shared/tr'",
        ),
        (
            {"rename": {"shared/trunk": "shared/body"}},
            "no name of the trained model begins with 'shared/body'. There are: sh",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            transfer.partial_restore(here, there, **wrong)


def test_a_rename_is_also_of_the_statistics_and_counters_begin_anew():
    def tree(name, value, **more):
        stats = {"batch_stats": {name: {"mean": jnp.full(2, value)}}}
        kernel = {name: {"kernel": jnp.full(2, value)}}
        return models.Variables(kernel, {"head": jnp.full(1, value)}, (stats, more))

    counted = {"schedule": {"head": {"steps": jnp.array(7)}}}
    here = tree("trunk", 0.0, schedule={"head": {"steps": jnp.array(0)}})
    found, report = transfer.partial_restore(
        here, tree("body", 3.0, **counted), rename={"shared/trunk": "shared/body"}
    )
    np.testing.assert_array_equal(
        found.collections[0]["batch_stats"]["trunk"]["mean"], [3.0, 3.0]
    )
    assert found.collections[1]["schedule"]["head"]["steps"] == 0
    assert report.counters == ("collections/1/schedule/head/steps",)
    assert not report.only_here and not report.only_there
    assert "counters of steps, which begin anew (1):" in str(report)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("transfer")
    data.prepare("digits", data_dir=root / "data")
    run.train_run(settings(root, "train.epochs=3"), root / "old")
    return root


def settings(root, *changes):
    small = ["train.parallel=jit", "model.trunk_args.features=[16]", "train.epochs=2"]
    fixed = [*small, "optimizer.schedule=constant", f"data.data_dir={root}/data"]
    return config.override(config.load("configs/digits.py"), [*fixed, *changes])


def state_of(workdir):
    return trained.load_run(workdir).state


def test_a_run_that_begins_with_another_frozen_and_goes_on_exactly(
    root, tmp_path, capsys
):
    """A new head on an old trunk, which does not move; the last row is the same."""
    shutil.copytree(root / "old", tmp_path / "old")
    changed = settings(
        root,
        f"transfer.init_from={tmp_path}/old",
        "transfer.skip=heads_digit",
        "optimizer.parts=[{'where': 'shared/trunk', 'rate': 0.0}]",
        "seed=5",
    )
    run.train_run(changed, tmp_path / "whole")
    part = config.override(changed, ["train.epochs=1"])
    run.train_run(part, tmp_path / "part")
    shutil.rmtree(tmp_path / "old")
    run.train_run(changed, tmp_path / "part")
    rows = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("whole", "part")]
    assert json.loads(rows[0].splitlines()[-1]) == json.loads(rows[1].splitlines()[-1])
    old, new = state_of(root / "old"), state_of(tmp_path / "whole")
    jax.tree.map(np.testing.assert_array_equal, new.shared, old.shared)
    for task in ("digit", "above_five"):
        heads = [s.specific[f"heads_{task}"]["kernel"] for s in (old, new)]
        assert not np.array_equal(*heads), "the heads learn"
    told = json.loads((tmp_path / "whole" / "transfer.json").read_text())
    assert "specific/heads_above_five/kernel" in told["taken"]
    assert told["skipped"] == [
        "specific/heads_digit/bias",
        "specific/heads_digit/kernel",
    ]
    with pytest.raises(FileNotFoundError, match="is not the work dir of a run"):
        run.train_run(changed, tmp_path / "new")


def test_a_part_that_begins_later(root, tmp_path):
    """Gradual unfreezing: after the first epoch the trunk is that of the old run."""
    layers = config.layer_parts(("trunk/Dense_0",), every=1, factor=2.6)
    start = config.TransferConfig(init_from=str(root / "old"))
    chosen = settings(root, "train.epochs=1")
    for epochs, moved in ((1, False), (2, True)):
        changed = dataclasses.replace(
            chosen,
            optimizer=dataclasses.replace(chosen.optimizer, parts=layers),
            transfer=start,
            train=dataclasses.replace(chosen.train, epochs=epochs),
        )
        run.train_run(changed, tmp_path / "run")
        same = np.array_equal(
            state_of(root / "old").shared["trunk"]["Dense_0"]["kernel"],
            state_of(tmp_path / "run").shared["trunk"]["Dense_0"]["kernel"],
        )
        assert same is not moved


def test_a_task_is_taken_out(root, tmp_path):
    """What is left predicts as before, and trains on."""
    kept = [t for t in settings(root).tasks if t.name == "digit"]
    one = dataclasses.replace(
        settings(root, f"transfer.init_from={root}/old"), tasks=tuple(kept)
    )
    begun = transfer.from_run(one, _initial(one, root), ["digit"])
    assert set(begun[1].only_there) == {
        "specific/heads_above_five/bias",
        "specific/heads_above_five/kernel",
    }
    assert not begun[1].only_here and not begun[1].other_shape
    run.train_run(one, tmp_path / "one")
    scores = [trained.evaluate_run(p, "test") for p in (root / "old", tmp_path / "one")]
    assert scores[1]["digit/accuracy"] > scores[0]["digit/accuracy"]
    assert "above_five/accuracy" not in scores[1]


def test_tasks_that_are_known_by_their_place_keep_it(root, tmp_path, capsys):
    stitched = ["model.architecture=cross_stitch", "train.epochs=1"]
    run.train_run(settings(root, *stitched), tmp_path / "old")
    chosen = settings(root, *stitched, f"transfer.init_from={tmp_path}/old")
    turned = dataclasses.replace(chosen, tasks=chosen.tasks[::-1])
    with pytest.raises(ValueError, match="'above_five' would get what another one"):
        run.train_run(turned, tmp_path / "new")
    assert not (tmp_path / "new" / "checkpoints").exists()
    with pytest.raises(ValueError, match=r"'even' would get .*names and the order"):
        transfer.from_run(chosen, None, [chosen.tasks[0].name, "even"])
    begun = transfer.from_run(
        chosen, _initial(chosen, root), [t.name for t in chosen.tasks]
    )[1]
    assert not begun.only_here and not begun.other_shape


def _initial(settings, root):
    from mtl_jax import build

    parts = build.build(settings, {})
    example = trained.read_run(root / "old").example
    return parts.model.init(
        jax.random.key(0), jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), example)
    )


def test_a_task_is_added_and_its_teacher_keeps_the_old_one(tmp_path):
    """Learning without forgetting, on data without labels of the old task."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype(np.float32)
    old = tasks.regression("old")
    model = models.HardSharing(models.MLP((8,)), {"old": nn.Dense(1)})
    first = train.fit(
        model, [old], data.from_splits((x, {"old": x.sum(1)})), epochs=4, seed=0
    )
    answers = train.predict(first.model, first.state, x)["old"]
    labels = {"old": np.zeros(256), "new": x[:, 0], "answers": answers}
    no_label = {"old": np.zeros(256, bool)}
    dataset = data.Dataset("more", data.ArraySource(x, labels, no_label))
    both = [
        dataclasses.replace(old, distillation=tasks.Distillation("answers")),
        tasks.regression("new"),
    ]
    wide = models.HardSharing(
        models.MLP((8,)), {"old": nn.Dense(1), "new": nn.Dense(1)}
    )
    source = models.Variables(
        first.state.shared, first.state.specific, first.state.collections
    )

    def start(variables):
        return transfer.partial_restore(variables, source)[0]

    done = train.fit(wide, both, dataset, epochs=4, seed=1, start=start)
    losses = [row["old/loss"] for row in done.history if row["split"] == "train"]
    outputs = train.predict(done.model, done.state, x)["old"]
    assert np.mean((outputs - answers) ** 2) < 0.05 * np.var(answers)
    assert losses[-1] < 0.05

    # The old task alone, of which evaluation knows nothing: that is no bad state.
    both_splits = data.Dataset("alone", dataset.train, dataset.train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train.fit(model, both[:1], both_splits, epochs=1, workdir=tmp_path)
    assert any(p.name.isdigit() for p in (tmp_path / "checkpoints").iterdir())
    bad = {"mean_loss": float("nan")}
    assert rows.is_sound(bad, {"old": 0.0, "new": 2.0}, both[:1])
    assert not rows.is_sound(bad, {"old": 1.0, "new": 0.0}, both)


def test_settings_that_do_not_fit(root, tmp_path, capsys):
    for changes, message in (
        (["transfer.init_form=x"], "Did you mean 'transfer.init_from'"),
        (["optimizer.parts=[{'where': 'body'}]"], "no parameter has 'body' in its na"),
        (["optimizer.parts=[{'rate': 0}]"], "'optimizer.parts[0].where' is not set"),
        ([f"transfer.init_from={tmp_path}"], "is not the work dir of a run"),
    ):
        fixed = ["train.parallel=jit", f"data.data_dir={root}/data"]
        workdir = str(tmp_path / "wrong")
        command = ["train", "configs/digits.py", "--workdir", workdir]
        assert cli.main([*command, "--set", *fixed, *changes]) == 2
        assert message in capsys.readouterr().err

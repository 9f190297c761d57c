"""Configs of tables, molecules, drawings and synthetic tasks, on slices of data."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from data import tiny_sets

from mtl_jax import build, config, data, run, train, trained
from mtl_jax.data import source

FOLDER = Path(__file__).resolve().parents[1] / "configs"
PREPARED = {
    "adult": "adult",
    "bike_sharing": "bike_sharing",
    "census_imbalance": "census_income_kdd",
    "cross_modal": "tox21",
    "census_income": "census_income_kdd",
    "omniglot": "omniglot_small",
    "parkinsons": "parkinsons",
    "parkinsons_subjects": "parkinsons",
    "student": "student",
    "tox21": "tox21",
}
SLOW = ("census_income_kdd",)
"""Half a minute to prepare; made-up rows stand for it."""
SYNTHETIC = {
    "click_conversion": {"train": 2000, "validation": 0, "test": 500},
    "many_tasks": {"train": 400, "validation": 0, "test": 50},
    "mmoe_synthetic": {"train": 600, "validation": 0, "test": 100},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("sets_of_configs")


def prepare(name, root):
    """The set of a config, from the real files where these are."""
    if data.is_prepared(name, root):
        return
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    if name in SLOW or not shared.is_dir():
        tiny_sets.prepare(name, root)
    else:
        data.prepare(name, source_dir=shared, data_dir=root)


def sliced(part, count):
    """Some examples of a split; of each task where each has its own."""
    if part is None:
        return None
    starts = np.cumsum([0, *part.groups]) if part.groups else [0, len(part)]
    share = max(1, count // (len(starts) - 1))
    rows = np.concatenate(
        [np.arange(a, min(a + share, b)) for a, b in itertools.pairwise(starts)]
    )
    batch = part.take(rows)
    groups = tuple(min(share, n) for n in part.groups)
    return source.ArraySource(
        batch["inputs"], batch["labels"], batch.get("masks", {}), groups, part.policy
    )


@pytest.mark.parametrize("name", [*PREPARED, *SYNTHETIC])
def test_a_short_run_learns(name, root):
    settings = config.load(FOLDER / f"{name}.py")
    changes = ["train.batch_size=64"] if name != "many_tasks" else []
    if name in PREPARED:
        prepare(PREPARED[name], root)
        changes.append(f"data.data_dir={root}")
    changes += [f"data.args.{k}={v}" for k, v in SYNTHETIC.get(name, {}).items()]
    quiet = "modality_dropout" if name == "cross_modal" else "dropout"
    changes.append(f"model.trunk_args.{quiet}=0.0")
    settings = config.override(settings, changes)
    whole = build.build_data(settings)
    parts = build.build(settings, whole.facts)
    names = [task.name for task in parts.tasks]
    assert len(names) >= 2 and set(names) <= set(whole.train.labels)
    assert set(names) == set(whole.facts["tasks"])
    for task in parts.tasks:  # what the settings say is what the data say
        known = whole.facts["tasks"][task.name]
        assert task.num_outputs == known.get("num_classes", 1)
    small = dataclasses.replace(
        whole,
        train=sliced(whole.train, 4 * settings.train.batch_size),
        validation=None,
        test=sliced(whole.train, 64),
    )
    result = train.fit(
        parts.model,
        parts.tasks,
        small,
        method=parts.method,
        optimizer=build.build_optimizer(settings.optimizer, 100),
        epochs=6,
        batch_size=settings.train.batch_size,
        parallel="jit",
    )
    losses = [row["mean_loss"] for row in result.history if row["split"] == "test"]
    assert losses[-1] < losses[0]
    assert all(np.isfinite(value) for value in losses)


def test_the_config_of_your_own_table(tmp_path):
    path = tmp_path / "houses.csv"
    random = np.random.default_rng(0)
    size = random.normal(size=300)
    rows = [
        f"{n % 40},{s:.3f},{'ab'[int(s > 0)]},{3000 * s + 90_000:.1f}"
        for n, s in enumerate(size)
    ]
    path.write_text("\n".join(["street,size,kind,price", *rows]))
    settings = config.load(FOLDER / "table.py")
    with pytest.raises(ValueError, match=r"a table needs a file: .*data\.path=FILE"):
        build.build_data(settings)
    with pytest.raises(ValueError, match=r"no targets: .*data\.targets=COLUMN,COLUMN"):
        build.build_data(config.override(settings, [f"data.path={path}"]))
    settings = config.override(
        settings,
        [
            f"data.path={path}",
            "data.targets=price,kind",
            "data.args.group=street",
            "train.epochs=30",
            "train.parallel=jit",
        ],
    )
    result = run.train_run(settings, tmp_path / "run", level="error")
    assert result.test["kind/accuracy"] > 0.8
    # In the units of the file, of which the deviation is 3000.
    assert 30 < result.test["price/rmse"] < 2500
    assert result.test["price/r2"] > 0.5
    found = trained.predict_run(tmp_path / "run", "test")
    assert 80_000 < found["price/prediction"].mean() < 100_000
    again = trained.evaluate_run(tmp_path / "run", "test")
    assert again["price/rmse"] == pytest.approx(result.test["price/rmse"], rel=1e-5)

"""Every config is built and trained for a while on a slice of its own data."""

import dataclasses
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

from mtl_jax import build, config, data, objective, study, train
from mtl_jax.data.recipes import digit_images

CONFIGS = [
    path
    for path in sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
    if "def get_config" in path.read_text()  # the others are programs
]
IMAGES = ("digits", "mnist", "stroke_mass", "multi_mnist", "digit_and_writer")
HERE = [
    path
    for path in CONFIGS
    if config.load(path).data.name
    in (*IMAGES, "few_digits", "mnist_features", "mnist_scenes")
]
"""The others are in test_table_configs.py and data/test_text_configs.py."""
FEW = {"mnist_scenes": {"train": 64, "validation": 0, "test": 16}}
"""Arguments of recipes that make less."""


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Prepares the sets that a config asks for, as the error texts say."""
    root = tmp_path_factory.mktemp("prepared")
    sources = Path(__file__).resolve().parents[2] / "shared" / "data"

    def load(settings):
        for _ in range(4):
            try:
                return build.build_data(settings)
            except FileNotFoundError as error:
                name = str(error).partition("dataset '")[2].partition("'")[0]
                if not sources.is_dir() or name not in data.DATASETS:
                    pytest.skip(f"{name or error}: the folder ../shared is not here")
                data.prepare(name, source_dir=sources, data_dir=root)
        raise AssertionError("the sets that were asked for have been prepared")

    return root, load


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    whole = digit_images._digits

    def first(part):
        return digit_images.Digits(*(array[:12_000] for array in whole(part)))

    monkeypatch.setattr(digit_images, "_digits", first)


def smaller(settings, root):
    """The same settings, on a slice that is made in no time."""
    arguments = {**settings.data.args, **FEW.get(settings.data.name, {})}
    recipe = data.RECIPES.get(settings.data.name)
    if recipe is not None and "validation" in recipe.__kwdefaults__:
        arguments.setdefault("validation", 500)
    where = dataclasses.replace(settings.data, data_dir=str(root), args=arguments)
    return dataclasses.replace(settings, data=where)


@pytest.mark.parametrize("path", HERE, ids=lambda p: p.stem)
def test_the_loss_of_a_config_falls_on_its_own_data(path, prepared):
    root, load = prepared
    settings = smaller(config.load(path), root)
    dataset = load(settings)
    parts = build.build(settings, dataset.facts)
    size = min(settings.train.batch_size, 64)
    order = data.order(dataset.train, size, seed=0)
    optimizer = build.build_optimizer(settings.optimizer, 100)
    batches = [dataset.train.take(order.indices(i)) for i in range(2)]
    example = jax.tree.map(lambda a: a[:1], batches[0]["inputs"])
    state = train.state.initial(
        parts.model, parts.method, optimizer, example, len(parts.tasks), 0
    )
    step = train.make_train_step(
        objective.make_losses(parts.model, parts.tasks),
        parts.method,
        optimizer,
        at=settings.method.at,
        parallel="jit",
        steps_per_epoch=10,
    )
    totals = []
    for i in range(20):
        state, output = step(state, batches[i % 2])
        totals.append(float(np.sum(jax.device_get(output.losses))))
    assert np.mean(totals[-2:]) < np.mean(totals[:2])
    assert int(state.skipped) == 0


CHAINS = {
    "transfer": ("old", "unfrozen"),
    "adding_a_task": ("old", "without forgetting"),
    "distillation": ("teacher", "distilled"),
}
"""Programs whose runs begin with those before them."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_runs_of_a_program_follow_one_another(name, prepared, tmp_path):
    root, load = prepared
    program = runpy.run_path(str(CONFIGS[0].parent / f"{name}.py"))

    def small(make):
        def of(seed, places):
            made = smaller(make(seed, places), root)
            load(made)
            few = dataclasses.replace(made.data, train_examples=40)
            budget = dataclasses.replace(
                made.train, epochs=1, batch_size=20, parallel="jit"
            )
            return dataclasses.replace(made, data=few, train=budget)

        return of

    chosen = {run: small(program["RUNS"][run]) for run in CHAINS[name]}
    rows = study.study(chosen, tmp_path, seeds=[0])
    assert all(np.isfinite(row["mean_loss"]) for (row,) in rows.values())
    lines = study.table(rows, program["KEYS"]).splitlines()
    assert len(lines) == 3 and all("%" in line for line in lines[1:])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_docstring_has_command_machine_and_result(path):
    text = path.read_text().split('"""')[1]
    assert f"mtl-jax train configs/{path.name}" in text
    if path.stem in ("table", "dense"):
        return  # of the user's own files
    assert "±" in text, "the measured result"
    assert "core" in text, "the machine"


def test_settings_that_a_loss_or_an_optimizer_does_not_take():
    task = config.TaskConfig("up", "binary", loss_args={"label_smoothing": "much"})
    with pytest.raises(
        ValueError, match="'sigmoid_cross_entropy' of task 'up' does not"
    ):
        build.build_task(task)
    for optimizer in (
        config.OptimizerConfig("lbfgs"),
        config.OptimizerConfig("adam", args={"b1": "high"}),
    ):
        with pytest.raises(ValueError, match="does not take these settings"):
            build.build_optimizer(optimizer, 10)
    with pytest.raises(ValueError, match=r"optimizer\.learning_rate is -1.0"):
        build.build_optimizer(config.OptimizerConfig("sgd", -1.0), 10)

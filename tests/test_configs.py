"""Every config is built and stepped on made-up data of its own shapes."""

from pathlib import Path

import jax
import numpy as np
import pytest

from mtl_jax import build, config, objective, train

CONFIGS = [
    path
    for path in sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
    if "def get_config" in path.read_text()  # the others are programs
]
SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1)}


MADE_UP = [path for path in CONFIGS if path.stem in SHAPES]
"""The others need the facts of their data: see their own tests in tests/data."""


@pytest.mark.parametrize("path", MADE_UP, ids=lambda p: p.stem)
def test_config_builds_and_its_loss_falls(path):
    settings = config.load(path)
    parts = build.build(settings)
    rng = np.random.default_rng(0)
    size = settings.train.batch_size
    labels = {
        t.label_name: rng.integers(0, max(t.num_outputs or 2, 2), size)
        for t in parts.tasks
    }
    images = rng.integers(0, 17, (size, *SHAPES[settings.data.name])).astype(np.uint8)
    optimizer = build.build_optimizer(settings.optimizer, 100)
    state = train.state.initial(
        parts.model, parts.method, optimizer, images[:1], len(parts.tasks), 0
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
    for _ in range(20):
        state, output = step(state, {"inputs": images, "labels": labels})
        totals.append(float(np.sum(jax.device_get(output.losses))))
    assert totals[-1] < totals[0]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_docstring_has_command_machine_and_result(path):
    text = path.read_text().split('"""')[1]
    assert f"mtl-jax train configs/{path.name}" in text
    assert "%" in text, "the measured result"
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

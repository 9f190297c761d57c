"""Tasks of every kind: what they are made of, and that they train and measure."""

from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

import mtl_jax as mtl
from mtl_jax import losses, metrics, objective, tasks, train

IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
MADE = {
    "classification": tasks.classification("a", 4),
    "binary": tasks.binary("a"),
    "multi_label": tasks.multi_label("a", 4),
    "regression": tasks.regression("a"),
    "count": tasks.count("a"),
    "ordinal": tasks.ordinal("a", 4),
    "tokens": tasks.tokens("a", 5, IOB),
    "segmentation": tasks.segmentation("a", 4),
    "depth": tasks.depth("a"),
    "normals": tasks.normals("a"),
}


def test_every_kind_is_here_and_at_the_top():
    assert set(MADE) == set(tasks.KINDS)
    for name, factory in tasks.KINDS.items():
        assert getattr(mtl, name) is getattr(tasks, name) is factory


@pytest.mark.parametrize("kind", MADE)
def test_losses_and_metrics_can_be_found_by_name(kind):
    task = MADE[kind]
    assert task.loss.name in losses.LOSSES
    names = {metric.name for metric in task.metrics}
    known = {*metrics.METRICS, "angular_within_22.5", "angular_within_30"}
    assert names - {"angular_within_11.25"} <= known
    assert len(names) == len(task.metrics)


@pytest.mark.parametrize("kind", MADE)
def test_the_readme_has_the_kind(kind):
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (row,) = (line for line in text.splitlines() if line.startswith(f"| `{kind}(name"))
    task = MADE[kind]
    for name in [task.loss.name, *(metric.name for metric in task.metrics)]:
        if not name.startswith("angular_within_"):
            assert f"`{name}" in row, name


@pytest.mark.parametrize("kind", MADE)
def test_two_tasks_of_a_kind_are_computed_together(kind):
    again = {
        "tokens": lambda: tasks.tokens("b", 5, list(IOB)),
        "ordinal": lambda: tasks.ordinal("b", 4),
        "multi_label": lambda: tasks.multi_label("b", 4),
        "segmentation": lambda: tasks.segmentation("b", 4),
        "classification": lambda: tasks.classification("b", 4),
    }.get(kind, lambda: tasks.KINDS[kind]("b"))()
    task = MADE[kind]
    assert all(x is y for x, y in zip(again.loss[1:], task.loss[1:], strict=True))
    same = [
        (m.name, m.update) == (n.name, n.update)
        for m, n in zip(again.metrics, task.metrics, strict=True)
    ]
    assert all(same)


@pytest.mark.parametrize("kind", MADE)
def test_loss_and_metrics_may_be_others(kind):
    sizes = dict.fromkeys(("classification", "multi_label", "ordinal"), (4,))
    sizes |= dict.fromkeys(("tokens", "segmentation"), (4,))
    task = tasks.KINDS[kind](
        "a", *sizes.get(kind, ()), loss=losses.mse(), metrics=(), weight=2.0, main=True
    )
    assert (task.loss, task.metrics) == (losses.mse(), ())
    assert task.weight == 2 and task.main


@pytest.mark.parametrize(
    "kind, labels, text",
    [
        ("count", [3, -1], r"counts must be finite and at least 0.* -1 at index 1"),
        ("ordinal", [0, 4], r"levels of 3 logits must lie in \[0, 3\].* 4 at index 1"),
        ("multi_label", [[0, 2, 1, -1]], r"must be 0 or 1.* 2 at index \(0, 1\)"),
        ("tokens", [[0, 5, -1]], r"\[0, 5\).* 5 at .*missing has to be -1"),
        ("segmentation", [[[0, 255]]], r"\[0, 4\).* 255 at .*missing has to be -1"),
        ("depth", [[[1.0, np.nan]]], r"finite.*1 NaN.*measured .*has to be 0\.0"),
        ("normals", [[[[0, 0, 255]]]], r"floating vectors.*labels / 127\.5 - 1"),
    ],
)
def test_wrong_labels_are_named(kind, labels, text):
    with pytest.raises(ValueError, match=f"the training split: task 'a'.*{text}"):
        tasks.check_labels(
            [MADE[kind]], {"a": np.array(labels)}, {}, "the training split"
        )


@pytest.mark.parametrize(
    "kind, outputs, labels",
    [
        ("ordinal", (8, 4), (8,)),
        ("tokens", (8, 9, 4), (8, 9)),
        ("segmentation", (8, 9, 9, 5), (8, 9, 9)),
        ("multi_label", (8, 3), (8, 3)),
        ("normals", (8, 9, 9, 2), (8, 9, 9, 2)),
    ],
)
def test_heads_of_another_width_are_named(kind, outputs, labels):
    declared = MADE[kind].num_outputs
    text = f"declared with num_outputs={declared}.* {outputs[-1]}"
    with pytest.raises(ValueError, match=text):
        tasks.check_outputs(MADE[kind], outputs, labels)


@pytest.mark.parametrize(
    "kind, outputs, labels",
    [
        ("ordinal", (8, 3), (8,)),
        ("count", (8, 1), (8,)),
        ("count", (8,), (8,)),
        ("tokens", (8, 9, 5), (8, 9)),
        ("segmentation", (8, 9, 7, 4), (8, 9, 7)),
        ("depth", (8, 9, 7, 1), (8, 9, 7)),
        ("depth", (8, 9, 7, 1), (8, 9, 7, 1)),
        ("depth", (8, 9, 7), (8, 9, 7)),
        ("normals", (8, 9, 7, 3), (8, 9, 7, 3)),
        ("multi_label", (8, 4), (8, 4)),
    ],
)
def test_heads_that_fit_pass(kind, outputs, labels):
    tasks.check_outputs(MADE[kind], outputs, labels)


def test_wrong_sizes_are_explained():
    with pytest.raises(ValueError, match="given 5 labels and num_classes=4"):
        tasks.tokens("ner", 4, IOB)
    for levels in (1, 0):
        with pytest.raises(
            ValueError, match=f"num_levels={levels}; levels are at least"
        ):
            tasks.ordinal("stars", levels)


def test_predictions_of_every_kind():
    def prediction(kind, outputs):
        return train.decide(MADE[kind], np.array(outputs))["prediction"]

    assert prediction("ordinal", [[2.0, -1, -1], [-1, -1, -1]]).tolist() == [1, 0]
    np.testing.assert_allclose(
        prediction("count", [[0.0], [400.0]]), np.exp([0.0, 400])
    )
    assert prediction("tokens", [[[0, 2, 1, 0, 0], [3, 0, 0, 0, 0]]]).tolist() == [
        [1, 0]
    ]
    assert prediction("multi_label", [[1, -1, 2, 0]]).tolist() == [[1, 0, 1, 0]]
    assert prediction("depth", [[[[2.0], [3.0]]]]).tolist() == [[[2, 3]]]
    found = prediction("normals", [[[0.0, 3, 4], [0, 0, 0]]])
    np.testing.assert_allclose(found, [[[0, 0.6, 0.8], [0, 0, 0]]], rtol=1e-6)


def test_the_loss_of_a_batch_counts_positions():
    """Two tasks in one group, masked examples and gaps: the mean over what is there."""
    rng = np.random.default_rng(21)
    pair = [tasks.tokens("x", 3), tasks.tokens("y", 3, weight=2.0)]
    outputs = {
        t.name: jnp.asarray(rng.normal(size=(4, 6, 3)), jnp.float32) for t in pair
    }
    labels = {t.name: rng.integers(-1, 3, (4, 6)) for t in pair}
    masks = {"y": np.array([True, False, True, True])}
    valid = np.array([True, True, True, False])
    batch = {"labels": labels, "masks": masks, "valid": valid}
    found = objective.task_losses(pair, outputs, batch)
    for t, task in enumerate(pair):
        here = (valid & masks.get(task.name, valid))[:, None] & (labels[task.name] >= 0)
        p = np.exp(np.float64(outputs[task.name]))
        expected = task.weight * sk.log_loss(
            labels[task.name][here],
            (p / p.sum(-1, keepdims=True))[here],
            labels=range(3),
        )
        assert found.sums[t] / found.counts[t] == pytest.approx(expected, rel=1e-5)
        right = (outputs[task.name].argmax(-1) == labels[task.name])[here].mean()
        assert found.kpi[t] / found.counts[t] == pytest.approx(float(right), rel=1e-5)


def fitted(inputs, labels, task_list, masks=None):
    data = mtl.data.from_arrays(
        inputs, labels, masks=masks, fractions=(0.5, 0.25, 0.25)
    )
    model = mtl.models.HardSharing(
        nn.Dense(8), {t.name: nn.Dense(t.num_outputs) for t in task_list}
    )
    result = mtl.fit(
        model, task_list, data, method="uw", epochs=3, batch_size=8, parallel="jit"
    )
    for task in task_list:
        curve = [
            row[f"{task.name}/loss"]
            for row in result.history
            if row["split"] == "train"
        ]
        assert curve[-1] < curve[0]
        for metric in task.metrics:
            assert np.isfinite(result.test[f"{task.name}/{metric.name}"]), metric.name
    return result, data


def test_pixels_train():
    rng = np.random.default_rng(22)
    images = rng.normal(size=(64, 5, 4, 3)).astype(np.float32)
    missing = rng.uniform(size=(64, 5, 4)) < 0.3
    missing[::7] = True
    labels = {
        "class": np.where(missing, -1, images.argmax(-1)),
        "depth": np.where(missing, 0, np.abs(images).sum(-1)),
        "normal": np.where(missing[..., None], 0, images[..., ::-1]),
    }
    task_list = [
        tasks.segmentation("class", 3),
        tasks.depth("depth"),
        tasks.normals("normal"),
    ]
    result, data = fitted(images, labels, task_list)
    guess = result.predict(data.test.inputs)
    truth = data.test.labels["class"]
    expected = sk.jaccard_score(
        truth[truth >= 0], guess["class"][truth >= 0], average="macro"
    )
    assert result.test["class/mean_iou"] == pytest.approx(expected, abs=1e-12)
    depth = data.test.labels["depth"]
    expected = np.abs(guess["depth"] - depth)[depth > 0].mean()
    assert result.test["depth/abs_error"] == pytest.approx(expected, rel=1e-5)


def test_tokens_train():
    rng = np.random.default_rng(23)
    words = rng.normal(size=(64, 7, 5)).astype(np.float32)
    tags = words.argmax(-1)
    tags[np.arange(7) >= rng.integers(1, 8, (64, 1))] = -1
    parts = np.where(tags >= 0, words.argmin(-1), -1)
    task_list = [tasks.tokens("entity", 5, IOB), tasks.tokens("part", 5)]
    result, data = fitted(words, {"entity": tags, "part": parts}, task_list)
    truth, guess = data.test.labels["part"], result.predict(data.test.inputs)["part"]
    expected = (truth == guess)[truth >= 0].mean()
    assert result.test["part/token_accuracy"] == pytest.approx(expected, abs=1e-12)


def test_the_other_kinds_train():
    rng = np.random.default_rng(24)
    rows = rng.normal(size=(160, 6)).astype(np.float32)
    answers = (rows[:, :4] > 0).astype(np.int32)
    answers[rng.uniform(size=answers.shape) < 0.3] = -1
    labels = {
        "visits": rng.poisson(np.exp(rows[:, 0])),
        "stars": np.digitize(rows[:, 1], [-1, 0, 1]),
        "toxic": answers,
    }
    masks = {"visits": rng.uniform(size=160) < 0.7}
    task_list = [
        tasks.count("visits"),
        tasks.ordinal("stars", 4),
        tasks.multi_label("toxic", 4),
    ]
    result, data = fitted(rows, labels, task_list, masks)
    guess = result.predict(data.test.inputs)
    expected = np.abs(guess["stars"] - data.test.labels["stars"]).mean()
    assert result.test["stars/level_mae"] == pytest.approx(expected, abs=1e-12)
    here = data.test.masks["visits"]
    expected = sk.mean_poisson_deviance(
        data.test.labels["visits"][here], guess["visits"][here]
    )
    assert result.test["visits/poisson_deviance"] == pytest.approx(expected, rel=1e-4)

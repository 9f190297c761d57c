"""Class weights and draws that make up for rare classes."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import build, config, data, losses, run, trained

RNG = np.random.default_rng(0)
RARE = (RNG.uniform(size=400) < 0.1).astype(np.int32)


def source(**more):
    return data.ArraySource(RNG.normal(size=(400, 3)), {"rare": RARE}, **more)


def test_balanced_weights_give_every_class_the_same_part_of_the_loss():
    counts = data.class_counts(source(), "rare")
    assert counts == tuple(np.bincount(RARE))
    weights = data.balanced_weights(counts)
    assert np.sum(np.asarray(weights)[RARE]) == pytest.approx(400)
    logits = RNG.normal(size=(400, 1)).astype(np.float32)
    loss = losses.sigmoid_cross_entropy(weights)
    values, of = loss.per_example(jnp.asarray(logits), jnp.asarray(RARE))
    p = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    each = -np.log(np.where(RARE == 1, p, 1 - p))
    classes = [each[c == RARE].mean() for c in (0, 1)]
    assert float(values.sum() / of.sum()) == pytest.approx(np.mean(classes), rel=1e-5)


def test_labels_that_are_missing_are_not_counted():
    mask = np.arange(400) < 100
    found = source(masks={"rare": mask})
    assert data.class_counts(found, "rare") == tuple(np.bincount(RARE[:100]))
    draws = data.balancing_draws(found, "rare", [1, 3])
    np.testing.assert_array_equal(draws[100:], 1)
    of_class = [draws[:100][RARE[:100] == c].sum() for c in (0, 1)]
    np.testing.assert_allclose(of_class, [25, 75])
    values = np.where(mask, RARE, np.nan)  # a missing number
    found = data.ArraySource(np.eye(400), {"rare": values}, {"rare": mask})
    assert data.class_counts(found, "rare") == tuple(np.bincount(RARE[:100]))
    np.testing.assert_array_equal(data.balancing_draws(found, "rare", [1, 3]), draws)


def test_draws_are_met_and_follow_from_the_step():
    draws = data.balancing_draws(source(), "rare")
    order = data.order(source(draws=draws), 50, seed=3)
    assert isinstance(order, data.DrawnBatches)
    expected = draws / draws.sum() * 400
    total = np.zeros(400)
    for epoch in range(40):
        rows = np.concatenate([order.indices(8 * epoch + i) for i in range(8)])
        seen = np.bincount(rows, minlength=400)
        assert np.all(np.abs(seen - expected) < 1 + 1e-9), "a systematic sample"
        total += seen
    assert abs(RARE[rows].mean() - 0.5) < 0.06
    np.testing.assert_allclose(total / 40, expected, atol=0.4)
    again = data.DrawnBatches(draws, 50, seed=3)
    np.testing.assert_array_equal(again.indices(100), order.indices(100))
    with pytest.raises(ValueError, match=r"draws was .*, is "):
        data.DrawnBatches(draws + 1, 50, seed=3).check_position(order.position(8))


def test_errors_of_draws():
    with pytest.raises(ValueError, match=r"draws of shape \(3,\)"):
        source(draws=np.ones(3))
    with pytest.raises(ValueError, match="draws were given with groups"):
        source(draws=np.ones(400), groups=(200, 200))
    with pytest.raises(ValueError, match=r"shares \(1, 2, 3\) were given for the 2"):
        data.balancing_draws(source(), "rare", [1, 2, 3])
    with pytest.raises(ValueError, match="only classes without labels have a share"):
        zeros = data.ArraySource(np.eye(2), {"x": np.zeros(2, int)})
        data.balancing_draws(zeros, "x", [0, 1])
    with pytest.raises(ValueError, match="has no classes to count"):
        part = data.ArraySource(np.eye(2), {"x": np.array([0.5, 1.0])})
        data.class_counts(part, "x")


def settings(**more):
    task = config.TaskConfig("up", "binary", "above_five", **more.pop("task", {}))
    return config.Config(
        "tiny",
        config.DataConfig("digits", **more.pop("data", {})),
        (task,),
        model=config.ModelConfig("mlp", {"features": (4,)}, **more.pop("model", {})),
        train=config.TrainConfig(epochs=1, batch_size=256, parallel="jit"),
        **more,
    )


BALANCED = {"loss_args": {"class_weights": "balanced"}}


def test_settings_balance_losses_and_draws(tmp_path):
    wanted = settings(task=BALANCED, data={"balance": "above_five"})
    result = run.train_run(wanted, tmp_path, level="error")
    loaded = trained.load_run(tmp_path)  # the record has the counts
    train = build.build_data(wanted).train
    counts = np.bincount(train.labels["above_five"])
    assert tuple(loaded.facts["tasks"]["above_five"]["class_counts"]) == tuple(counts)
    assert trained.evaluate_run(tmp_path) == pytest.approx(
        {k: v for k, v in result.test.items() if k != "mean_loss"}
    )
    half = train.draws[train.labels["above_five"] == 1].sum() / train.draws.sum()
    assert half == pytest.approx(0.5)


def test_few_examples_are_a_part_of_all():
    few = build.build_data(settings(data={"train_examples": 40})).train
    every = build.build_data(settings()).train
    assert len(few) == 40
    known = {image.tobytes() for image in every.inputs}
    assert len({image.tobytes() for image in few.inputs} & known) == 40
    other = build.build_data(settings(data={"train_examples": 40}, seed=1)).train
    np.testing.assert_array_equal(few.inputs, other.inputs)
    with pytest.raises(ValueError, match=r"data\.train_examples is 9999; digits has"):
        build.build_data(settings(data={"train_examples": 9999}))


def test_errors_of_settings_of_balance():
    with pytest.raises(ValueError, match="training labels that are not here"):
        build.build(settings(task=BALANCED))
    with pytest.raises(ValueError, match="class_weights of task 'up' is 'even'"):
        build.build(settings(task={"loss_args": {"class_weights": "even"}}))
    with pytest.raises(ValueError, match=r"name it in data\.balance"):
        build.build_data(settings(data={"balance_shares": (1.0, 2.0)}))

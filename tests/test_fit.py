"""`fit` from arrays in memory: rows, resuming, devices, evaluation, prediction."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

import mtl_jax as mtl
from mtl_jax import tasks, train

RNG = np.random.default_rng(0)
N = 203  # divides by nothing
X = RNG.normal(size=(N, 5)).astype(np.float32)
KIND = np.argmax(X[:, :3], 1)
TALL = (X[:, 0] + X[:, 3] > 0).astype(np.int32)
AGE = (X @ np.arange(5)).astype(np.float32)
TASKS = (
    mtl.classification("kind", 3, main=True),
    mtl.binary("tall"),
    mtl.regression("age"),
)


@pytest.fixture(scope="module")
def data():
    labels = {"kind": KIND, "tall": TALL, "age": AGE}
    return mtl.data.from_arrays(X, labels, fractions=(0.6, 0.2, 0.2))


def network(**options):
    heads = {"kind": nn.Dense(3), "tall": nn.Dense(1), "age": nn.Dense(1)}
    return mtl.models.HardSharing(mtl.models.MLP((16, 8), **options), heads)


def leaves(state):
    """All of a state as NumPy arrays, PRNG keys as their numbers."""
    plain = jax.tree.map(
        lambda a: (
            jax.random.key_data(a)
            if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)
            else a
        ),
        state,
    )
    return [np.asarray(a) for a in jax.tree.leaves(plain)]


def test_learns_and_tells(data):
    messages = []
    result = mtl.fit(
        network(),
        TASKS,
        data,
        method="uw",
        optimizer=optax.adam(0.02),
        epochs=20,
        batch_size=16,
        seed=1,
        log_every=4,
        parallel="jit",
        say=lambda level, text: messages.append((level, text)),
    )
    assert messages == []
    assert result.test["kind/accuracy"] > 0.8
    assert result.test["tall/auc"] > 0.9
    assert result.test["age/r2"] > 0.8
    train_rows = [r for r in result.history if r["split"] == "train"]
    steps = [r["step"] for r in train_rows]
    per_epoch = len(data.train) // 16
    expected = sorted(
        {
            *range(4, 20 * per_epoch + 1, 4),
            *range(per_epoch, 20 * per_epoch + 1, per_epoch),
        }
    )
    assert steps == expected
    assert train_rows[0]["epoch"] == 1
    assert train_rows[-1]["epoch"] == 20
    for row in train_rows:
        assert {"kind/loss", "kind/weight", "examples_per_second"} <= set(row)
    validation = [r for r in result.history if r["split"] == "validation"]
    assert [r["epoch"] for r in validation] == list(range(1, 21))
    assert validation[-1]["mean_loss"] == validation[-1]["kind/loss"], (
        "main tasks alone"
    )
    assert result.history[-1]["split"] == "test"
    assert train_rows[-1]["kind/loss"] < 0.5 * train_rows[0]["kind/loss"]


def test_evaluation_is_exact_over_uneven_batches_and_devices(data):
    result = mtl.fit(network(), TASKS, data, epochs=2, batch_size=16, parallel="jit")
    outputs = result.outputs(data.test.inputs, batch_size=7)
    again = result.outputs(data.test.inputs)
    for name in outputs:
        np.testing.assert_allclose(outputs[name], again[name], rtol=1e-5, atol=1e-6)
    truth = data.test.labels
    predicted = result.predict(data.test.inputs)
    expected = {
        "kind/accuracy": accuracy_score(truth["kind"], predicted["kind"]),
        "tall/accuracy": accuracy_score(truth["tall"], predicted["tall"]),
        "tall/auc": roc_auc_score(truth["tall"], outputs["tall"][:, 0]),
        "age/mae": np.abs(truth["age"] - predicted["age"]).mean(),
        "age/loss": np.mean((truth["age"] - predicted["age"]) ** 2),
    }
    for devices in (1, 8):
        for batch_size in (7, 16, 1000):
            evaluate = train.make_evaluation(
                result.model, TASKS, devices=jax.devices()[:devices]
            )
            found = evaluate(result.state, data.test, batch_size)
            for key, value in expected.items():
                assert found[key] == pytest.approx(value, rel=1e-5), key


@pytest.mark.parametrize("method", ["equal", "pcgrad"])
def test_eight_devices_give_the_result_of_one(data, method):
    options = {
        "method": mtl.weighting.make(method),
        "optimizer": optax.sgd(0.05),
        "epochs": 3,
        "batch_size": 24,
    }
    one = mtl.fit(network(batch_norm=True), TASKS, data, parallel="jit", **options)
    many = mtl.fit(network(batch_norm=True), TASKS, data, **options)
    assert len(many.state.step.sharding.device_set) == 8
    for a, b in zip(
        jax.tree.leaves(one.state.shared),
        jax.tree.leaves(many.state.shared),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert one.test == pytest.approx(many.test, rel=1e-3)
    with pytest.raises(ValueError, match="a batch of 20 examples cannot be divided"):
        mtl.fit(network(), TASKS, data, batch_size=20)


def test_a_work_dir_goes_on_bit_for_bit(data, tmp_path):
    def run(workdir, epochs):
        return mtl.fit(
            network(dropout=0.3),
            TASKS,
            data,
            method="famo",
            epochs=epochs,
            batch_size=16,
            parallel="jit",
            workdir=workdir,
        )

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 1)
    run(tmp_path / "parts", 3)
    parts = run(tmp_path / "parts", 4)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(leaves(whole.state), leaves(parts.state), strict=True)
    )
    assert parts.history[0]["epoch"] == 4, "only what was left"
    with pytest.raises(ValueError) as error:
        mtl.fit(
            network(dropout=0.3),
            TASKS,
            data,
            method="famo",
            epochs=5,
            batch_size=8,
            parallel="jit",
            workdir=tmp_path / "parts",
        )
    assert "batch_size" in str(error.value)
    with pytest.raises(ValueError, match=r"of the tasks \['kind', 'tall', 'age'\]"):
        mtl.fit(
            network(dropout=0.3),
            (TASKS[0], TASKS[2], TASKS[1]),
            data,
            method="famo",
            epochs=5,
            batch_size=16,
            parallel="jit",
            workdir=tmp_path / "parts",
        )
    with pytest.raises(ValueError, match="of another model"):
        mtl.fit(
            mtl.models.HardSharing(
                mtl.models.MLP((16, 9), dropout=0.3),
                {"kind": nn.Dense(3), "tall": nn.Dense(1), "age": nn.Dense(1)},
            ),
            TASKS,
            data,
            method="famo",
            epochs=5,
            batch_size=16,
            parallel="jit",
            workdir=tmp_path / "parts",
        )


def test_the_weight_of_a_task_scales_its_loss_and_is_not_hidden(data):
    """A task of weight 2 trains as with static weights, and its raw loss is told."""
    heavy = (tasks.classification("kind", 3, weight=2.0), *TASKS[1:])
    options = {
        "optimizer": optax.sgd(0.02),
        "epochs": 1,
        "batch_size": 16,
        "parallel": "jit",
    }
    a = mtl.fit(network(), heavy, data, **options)
    static = mtl.weighting.static([2.0, 1.0, 1.0])
    b = mtl.fit(network(), TASKS, data, method=static, **options)
    for x, y in zip(leaves(a.state.shared), leaves(b.state.shared), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    assert a.history[0]["kind/loss"] == pytest.approx(b.history[0]["kind/loss"])
    assert a.history[0]["kind/weight"] == pytest.approx(2.0)
    assert a.test["kind/loss"] == pytest.approx(b.test["kind/loss"], rel=1e-5)
    with pytest.raises(ValueError, match="weights are positive"):
        tasks.binary("tall", weight=0)


def test_without_validation_the_test_split_is_watched_and_nothing_chosen(tmp_path):
    labels = {"kind": KIND, "tall": TALL, "age": AGE}
    split = mtl.data.from_splits(
        train=(X[:150], {k: v[:150] for k, v in labels.items()}),
        test=(X[150:], {k: v[150:] for k, v in labels.items()}),
    )
    result = mtl.fit(network(), TASKS, split, epochs=3, batch_size=16, parallel="jit")
    watched = [r["split"] for r in result.history if r["split"] != "train"]
    assert watched == ["test"] * 3
    with pytest.raises(ValueError, match="no validation split"):
        mtl.fit(network(), TASKS, split, best="kind/accuracy", workdir=tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'kind/accuracy'"):
        data = mtl.data.from_arrays(X, labels)
        mtl.fit(network(), TASKS, data, best="kind/acuracy", parallel="jit")


def test_missing_labels_do_not_count(data):
    masks = {"age": np.arange(N) % 3 == 0}
    broken = np.where(masks["age"], AGE, np.nan).astype(np.float32)
    holes = mtl.data.from_arrays(
        X,
        {"kind": np.where(np.arange(N) % 2, KIND, -1), "tall": TALL, "age": broken},
        masks=masks,
    )
    task_list = (
        mtl.classification("kind", 3, mask=lambda y: y >= 0),
        *TASKS[1:],
    )
    result = mtl.fit(
        network(),
        task_list,
        holes,
        method="mgda",
        epochs=2,
        batch_size=16,
        parallel="jit",
    )
    assert int(result.state.skipped) == 0
    assert all(np.all(np.isfinite(a)) for a in leaves(result.state.shared))
    test = holes.test
    keep = test.masks["age"]
    predicted = result.predict(test.inputs)["age"]
    expected = np.abs(test.labels["age"][keep] - predicted[keep]).mean()
    assert result.test["age/mae"] == pytest.approx(expected, rel=1e-5)


def test_gramian_methods_tell_of_conflict(data):
    result = mtl.fit(
        network(),
        TASKS,
        data,
        method="pcgrad",
        epochs=1,
        batch_size=16,
        parallel="jit",
    )
    row = result.history[0]
    assert 0 <= row["conflicting_pairs"] <= 1
    assert -1 <= row["min_cosine"] <= 1
    assert row["gramian_condition"] >= 1

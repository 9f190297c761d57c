import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

from mtl_jax import metrics

RNG = np.random.default_rng(1)


@functools.cache
def make(name, average=None):
    """One metric and its jitted update, compiled once for all tests of a shape."""
    metric = metrics.make(name, **({"average": average} if average else {}))
    return metric, jax.jit(metric.update)


def fill(array, rows, junk):
    return np.concatenate([array, np.full((rows, *array.shape[1:]), junk, array.dtype)])


def check(name, outputs, labels, mask, expected, average=None):
    """The expected value in whatever uneven batches, filled up with garbage."""
    metric, update = make(name, average)
    for cuts in ((), (10, 20), (1, 31, 33), (17, 18)):
        states = []
        parts = [
            np.split(a, [c for c in cuts if c < len(mask)])
            for a in (outputs, labels, mask)
        ]
        for o, y, m in zip(*parts, strict=True):
            rows, junk = len(mask) + 1 - len(m), np.nan if y.dtype.kind == "f" else -1
            states.append(
                update(fill(o, rows, 1e9), fill(y, rows, junk), fill(m, rows, 0))
            )
        found = metrics.evaluate(metric, states)
        assert found == pytest.approx(expected, rel=1e-9, nan_ok=True), cuts


@pytest.mark.parametrize("name", ["accuracy", "f1", "f1_per_class"])
def test_eight_devices_agree_with_one(name):
    metric, update = make(name)
    data = multiclass()
    cut = [a.reshape(8, -1, *a.shape[1:]) for a in data]
    stacked = jax.pmap(metric.update)(*cut)
    states = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(8)]
    found = metrics.evaluate(metric, states)
    assert found == metrics.evaluate(metric, [update(*data)])


def multiclass(n=48, classes=5, labels=None):
    outputs = RNG.normal(size=(n, classes)).astype(np.float32)
    labels = RNG.integers(0, classes, n) if labels is None else labels
    outputs[np.arange(n), labels] += 1
    mask = RNG.uniform(size=n) < 0.8
    labels = np.where(mask, labels, -1)
    return outputs, labels, mask


def binary(n=48, column=True, dtype=np.float32, rate=0.4):
    labels = (RNG.uniform(size=n) < rate).astype(dtype)
    outputs = (RNG.normal(size=n) + labels).astype(np.float32)
    mask = RNG.uniform(size=n) < 0.8
    labels[~mask] = np.nan if dtype is np.float32 else -1
    return outputs[:, None] if column else outputs, labels, mask


def multilabel(n=48, columns=4):
    outputs = RNG.normal(size=(n, columns)).astype(np.float32)
    labels = (RNG.uniform(size=(n, columns)) < 0.4).astype(np.float32)
    mask = RNG.uniform(size=n) < 0.8
    labels[~mask] = np.nan
    return outputs, labels, mask


def test_accuracy_multiclass():
    outputs, labels, mask = multiclass()
    expected = sk.accuracy_score(labels[mask], outputs.argmax(1)[mask])
    assert 0 < expected < 1
    check("accuracy", outputs, labels, mask, {"accuracy": expected})


@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_accuracy_binary(column, dtype):
    outputs, labels, mask = binary(column=column, dtype=dtype)
    expected = sk.accuracy_score(labels[mask], outputs.reshape(-1)[mask] > 0)
    check("accuracy", outputs, labels, mask, {"accuracy": expected})


def test_accuracy_multilabel_counts_answers():
    outputs, labels, mask = multilabel()
    expected = 1 - sk.hamming_loss(labels[mask].astype(int), outputs[mask] > 0)
    check("accuracy", outputs, labels, mask, {"accuracy": expected})


def test_accuracy_and_f1_of_dense_labels():
    outputs = RNG.normal(size=(16, 3, 2, 4)).astype(np.float32)
    labels = RNG.integers(0, 4, (16, 3, 2))
    mask = np.arange(16) % 3 > 0
    truth, guess = labels[mask].ravel(), outputs.argmax(-1)[mask].ravel()
    expected = {"accuracy": sk.accuracy_score(truth, guess)}
    check("accuracy", outputs, labels, mask, expected)
    expected = {"f1": sk.f1_score(truth, guess, average="macro")}
    check("f1", outputs, labels, mask, expected)
    expected = {"accuracy": np.mean((outputs[..., 0] > 0)[mask] == (labels > 1)[mask])}
    for shape in ((16, 3, 2, 1), (16, 3, 2)):
        logits = outputs[..., 0].reshape(shape)
        check("accuracy", logits, (labels > 1) * 1, mask, expected)


def test_a_logit_of_zero_is_class_zero():
    state = metrics.accuracy().update(jnp.zeros(2), jnp.array([0, 1]), jnp.ones(2))
    assert metrics.evaluate(metrics.accuracy(), [state]) == {"accuracy": 0.5}


AVERAGES = ["macro", "micro", "weighted"]


def f1_key(average):
    return "f1" if average == "macro" else f"f1_{average}"


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("absent", ["none", "one of both", "of labels", "but one"])
def test_f1_multiclass(average, absent):
    outputs, labels, mask = multiclass(classes=5)
    if absent == "one of both":  # class 3: neither labels nor predictions
        labels, outputs[:, 3] = np.where(labels == 3, 1, labels), -99
    elif absent == "of labels":  # class 3 is predicted only
        labels, outputs[:5, 3] = np.where(labels == 3, 1, labels), 99
    elif absent == "but one":  # constant labels and predictions
        labels, outputs[:, 2] = np.where(mask, 2, -1), 99
    truth, guess = labels[mask], outputs.argmax(1)[mask]
    if absent == "one of both":
        assert 3 not in truth and 3 not in guess
    expected = sk.f1_score(truth, guess, average=average, zero_division=0)
    expected = {f1_key(average): expected}
    check("f1", outputs, labels, mask, expected, average)


@pytest.mark.parametrize("average", [*AVERAGES, "binary"])
@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("pair", [False, True])
def test_f1_binary(average, rate, pair):
    outputs, labels, mask = binary(rate=rate, dtype=np.int32)
    guess = outputs[mask, 0] > 0
    if pair:
        outputs = np.concatenate([np.zeros_like(outputs), outputs], 1)
    expected = sk.f1_score(labels[mask], guess, average=average, zero_division=0)
    check("f1", outputs, labels, mask, {f1_key(average): expected}, average)


def test_f1_binary_without_positives_at_all_is_zero():
    outputs, labels = -np.ones(8, np.float32), np.zeros(8, int)
    mask = np.ones(8, bool)
    check("f1", outputs, labels, mask, {"f1_binary": 0.0}, "binary")
    check("f1", outputs, labels, mask, {"f1": 1.0}, "macro")


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("empty", [False, True])
def test_f1_multilabel_counts_every_column(average, empty):
    outputs, labels, mask = multilabel()
    if empty:
        labels[:, 1], outputs[:, 1] = 0, -9
        labels[~mask] = np.nan
    expected = sk.f1_score(
        labels[mask].astype(int), outputs[mask] > 0, average=average, zero_division=0
    )
    check("f1", outputs, labels, mask, {f1_key(average): expected}, average)


def test_f1_per_class():
    outputs, labels, mask = multiclass()
    labels, outputs[:, 3] = np.where(labels == 3, 1, labels), -99
    expected = sk.f1_score(
        labels[mask],
        outputs.argmax(1)[mask],
        labels=range(5),
        average=None,
        zero_division=0,
    )
    expected = {f"f1_per_class_{i}": value for i, value in enumerate(expected)}
    assert expected["f1_per_class_3"] == 0
    check("f1_per_class", outputs, labels, mask, expected)
    outputs, labels, mask = multilabel()
    expected = sk.f1_score(labels[mask].astype(int), outputs[mask] > 0, average=None)
    expected = {f"f1_per_class_{i}": value for i, value in enumerate(expected)}
    check("f1_per_class", outputs, labels, mask, expected)


def test_nothing_seen_is_nan():
    mask = np.zeros(8, bool)
    outputs, labels = np.ones((8, 3), np.float32), np.full(8, -1)
    for name, average, keys in (
        ("accuracy", None, ["accuracy"]),
        ("f1", "macro", ["f1"]),
        ("f1", "micro", ["f1_micro"]),
        ("f1", "weighted", ["f1_weighted"]),
        ("f1_per_class", None, [f"f1_per_class_{i}" for i in range(3)]),
    ):
        check(name, outputs, labels, mask, dict.fromkeys(keys, np.nan), average)
        metric = make(name, average)[0]
        assert metrics.evaluate(metric, []) == pytest.approx(
            {metric.name: np.nan}, nan_ok=True
        )


def test_bfloat16_outputs():
    outputs, labels, mask = multiclass()
    outputs = jnp.asarray(outputs, jnp.bfloat16)
    guess = np.asarray(outputs.astype(jnp.float32)).argmax(1)
    state = metrics.accuracy().update(outputs, labels, mask)
    expected = sk.accuracy_score(labels[mask], guess[mask])
    assert metrics.evaluate(metrics.accuracy(), [state])["accuracy"] == expected


def test_counts_do_not_overflow_int32():
    state = {"right": np.int32(2**31 - 1), "count": np.int32(2**31 - 1)}
    assert metrics.evaluate(metrics.accuracy(), [state] * 5) == {"accuracy": 1.0}


def test_wrong_use_is_explained():
    with pytest.raises(ValueError, match=r"unknown average of f1 'makro'.*'macro'"):
        metrics.f1("makro")
    update = metrics.f1("binary").update
    with pytest.raises(ValueError, match="multiclass task has 3"):
        update(jnp.zeros((4, 3)), jnp.zeros(4, int), jnp.ones(4))
    with pytest.raises(ValueError, match="multilabel task has 2"):
        update(jnp.zeros((4, 2)), jnp.zeros((4, 2)), jnp.ones(4))
    with pytest.raises(ValueError, match=r"\(4, 3\) fit no labels of shape \(4, 2\)"):
        metrics.accuracy().update(jnp.zeros((4, 3)), jnp.zeros((4, 2)), jnp.ones(4))

"""Metrics of labels with gaps, marked -1."""

import numpy as np
import pytest
import sklearn.metrics as sk
import splits

from mtl_jax import metrics

N = 12


def questions(columns=4):
    """Outputs, answers of which some are missing, mask; every column has both."""
    rng = np.random.default_rng(8)
    outputs = rng.normal(size=(N, columns)).astype(np.float32)
    labels = rng.integers(0, 2, (N, columns))
    labels[2], labels[3] = 0, 1
    labels[rng.uniform(size=labels.shape) < 0.3] = -1
    labels[4] = -1  # an example without any answer
    mask = np.arange(N) % 5 != 1
    for column in range(columns):
        here = labels[mask, column]
        assert {0, 1, -1} <= set(here.tolist())
    return outputs, labels, mask


def by_column(score, outputs, labels, mask):
    found = []
    for column in range(labels.shape[1]):
        here = mask & (labels[:, column] >= 0)
        found.append(score(labels[here, column], outputs[here, column]))
    return np.array(found)


SCORES = {
    "auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
    "f1": lambda y, o: sk.f1_score(y, o > 0),
}


@pytest.mark.parametrize("cuts", splits.CUTS)
@pytest.mark.parametrize("name", SCORES)
def test_columns_with_gaps_against_scikit_learn(name, cuts):
    arrays = questions()
    expected = by_column(SCORES[name], *arrays).mean()
    found = splits.value(metrics.make(name), *arrays, cuts=cuts)
    assert found == pytest.approx(expected, abs=1e-12)
    whole = by_column(SCORES[name], arrays[0], np.maximum(arrays[1], 0), arrays[2])
    assert abs(whole.mean() - expected) > 1e-3  # a gap is no negative answer


def test_other_averages_and_single_columns():
    outputs, labels, mask = questions()
    here = mask[:, None] & (labels >= 0)
    pooled = sk.f1_score(labels[here], outputs[here] > 0)
    found = splits.value(metrics.f1("micro"), outputs, labels, mask)
    assert found == pytest.approx(pooled, abs=1e-12)
    each = by_column(SCORES["f1"], outputs, labels, mask)
    found = splits.value(metrics.f1_per_class(), outputs, labels, mask, cuts=(5,))
    np.testing.assert_allclose(list(found.values()), each, atol=1e-12)
    right = ((outputs > 0) == labels)[here].mean()
    found = splits.value(metrics.accuracy(), outputs, labels, mask, cuts=(5,))
    assert found == pytest.approx(right, abs=1e-12)


def test_a_column_without_answers_does_not_count():
    outputs, labels, mask = questions()
    labels[:, 2] = -1
    keep = [0, 1, 3]
    for name, score in SCORES.items():
        expected = by_column(score, outputs[:, keep], labels[:, keep], mask).mean()
        found = splits.value(metrics.make(name), outputs, labels, mask, cuts=(3,))
        assert found == pytest.approx(expected, abs=1e-12)


def test_floating_answers_may_have_gaps():
    outputs, labels, mask = questions()
    for name in ("accuracy", *SCORES):
        metric = metrics.make(name)
        expected = splits.value(metric, outputs, labels, mask)
        found = splits.value(metric, outputs, labels.astype(np.float32), mask)
        assert found == expected


@pytest.mark.parametrize("name", ["auc", "average_precision"])
def test_binary_and_multiclass_with_gaps(name):
    rng = np.random.default_rng(9)
    mask = np.arange(N) != 3
    outputs, labels = rng.normal(size=N).astype(np.float32), np.arange(N) % 2
    labels[[0, 1, 7]] = -1
    here = mask & (labels >= 0)
    expected = SCORES[name](labels[here], outputs[here])
    found = splits.value(metrics.make(name), outputs, labels, mask, cuts=(2, 7))
    assert found == pytest.approx(expected, abs=1e-12)
    outputs, labels = rng.normal(size=(N, 3)).astype(np.float32), np.arange(N) % 3
    labels[[0, 1, 7]] = -1
    here = mask & (labels >= 0)
    p = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    each = [SCORES[name](labels[here] == c, p[here, c]) for c in range(3)]
    found = splits.value(metrics.make(name), outputs, labels, mask, cuts=(2, 7))
    assert found == pytest.approx(np.mean(each), abs=1e-6)


@pytest.mark.parametrize("cuts", splits.CUTS)
def test_average_precision_with_ties(cuts):
    rng = np.random.default_rng(10)
    outputs = rng.integers(0, 4, N).astype(np.float32)
    labels, mask = rng.integers(0, 2, N), np.arange(N) != 5
    expected = sk.average_precision_score(labels[mask], outputs[mask])
    found = splits.value(metrics.average_precision(), outputs, labels, mask, cuts=cuts)
    assert found == pytest.approx(expected, abs=1e-12)


def test_average_precision_that_is_undefined_or_perfect():
    metric, outputs = metrics.average_precision(), np.arange(4, dtype=np.float32)
    ones = np.ones(4, bool)
    assert np.isnan(splits.value(metric, outputs, np.zeros(4, int), ones))
    assert np.isnan(splits.value(metric, outputs, np.ones(4, int), ~ones))
    assert splits.value(metric, outputs, np.ones(4, int), ones) == 1
    assert splits.value(metric, outputs, np.array([0, 0, 1, 1]), ones) == 1
    broken = np.where(outputs == 1, np.nan, outputs)
    assert np.isnan(splits.value(metric, broken, np.ones(4, int), ones))
    # A column without positives is left out; scikit-learn counts 0.
    labels = np.array([[0, 0], [0, 0], [1, 0], [1, 0]])
    assert splits.value(metric, outputs[:, None] * [1, 1], labels, ones) == 1


def test_nothing_but_gaps_is_nan():
    outputs, labels = np.ones((N, 3), np.float32), np.full((N, 3), -1)
    for name in ("accuracy", *SCORES):
        found = splits.value(metrics.make(name), outputs, labels, np.ones(N, bool))
        assert np.isnan(found)

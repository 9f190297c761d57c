import numpy as np
import pytest
import sklearn.metrics as sk
import splits

from mtl_jax import metrics

N = 12


def counts(shape=(N,), mean=3.0):
    rng = np.random.default_rng(14)
    outputs = (np.log(mean) + rng.normal(size=shape) / 2).astype(np.float32)
    labels = rng.poisson(np.exp(outputs))
    labels.flat[1] = 0
    labels.flat[5] = -1
    return outputs, labels, np.arange(N) % 4 != 2


@pytest.mark.parametrize("cuts", splits.CUTS)
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("mean", [0.3, 3.0, 3000.0])
def test_counts_against_scikit_learn(cuts, column, mean):
    outputs, labels, mask = counts(mean=mean)
    here = mask & (labels >= 0)
    truth, rates = labels[here], np.exp(outputs[here].astype(np.float64))
    expected = {
        "poisson_deviance": sk.mean_poisson_deviance(truth, rates),
        "count_mae": sk.mean_absolute_error(truth, rates),
        "count_rmse": sk.root_mean_squared_error(truth, rates),
        "count_rmsle": sk.root_mean_squared_log_error(truth, rates),
    }
    outputs = outputs[:, None] if column else outputs
    for name, value in expected.items():
        found = splits.value(metrics.make(name), outputs, labels, mask, cuts=cuts)
        assert found == pytest.approx(value, rel=2e-5)


def test_columns_of_counts_are_averaged():
    outputs, labels, mask = counts((N, 2))
    each = []
    for column in range(2):
        here = mask & (labels[:, column] >= 0)
        rates = np.exp(outputs[here, column].astype(float))
        each.append(sk.mean_poisson_deviance(labels[here, column], rates))
    found = splits.value(metrics.poisson_deviance(), outputs, labels, mask, cuts=(4,))
    assert found == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("off", [0, 1e-3, -1e-2, 0.09, -0.11, 1.0, -5.0])
def test_the_deviance_of_near_misses_keeps_its_digits(off):
    label = np.array([1000])
    output = (np.log(np.float64(label)) + off).astype(np.float32)
    rate = np.exp(np.float64(output))
    expected = 2 * (label * (np.log(label) - np.float64(output)) - label + rate)
    found = splits.value(metrics.poisson_deviance(), output, label, [True])
    # The output has 24 bits, and what counts is how far it is from log 1000.
    assert found == pytest.approx(expected[0], rel=2e-3, abs=1e-8)


def test_no_counts_are_nan():
    outputs, labels = np.ones(3, np.float32), np.array([-1, 2, -1])
    for name in ("poisson_deviance", "count_mae", "count_rmse"):
        found = splits.value(metrics.make(name), outputs, labels, [True, False, True])
        assert np.isnan(found)


@pytest.mark.parametrize("cuts", splits.CUTS)
@pytest.mark.parametrize("shape", [(N,), (N, 3)])
def test_levels_against_scikit_learn(cuts, shape):
    rng = np.random.default_rng(15)
    outputs = rng.normal(size=(*shape, 4)).astype(np.float32)
    labels = rng.integers(0, 5, shape)
    labels.flat[3] = -1
    mask = np.arange(N) % 4 != 2
    here = (labels >= 0) & mask.reshape(-1, *[1] * (len(shape) - 1))
    guess = np.array([sum(o > 0 for o in row) for row in outputs[here]])
    assert len(set(guess)) > 2
    found = splits.value(metrics.level_mae(), outputs, labels, mask, cuts=cuts)
    assert found == pytest.approx(
        sk.mean_absolute_error(labels[here], guess), abs=1e-12
    )
    found = splits.value(metrics.level_accuracy(), outputs, labels, mask, cuts=cuts)
    assert found == pytest.approx(sk.accuracy_score(labels[here], guess), abs=1e-12)


def test_unsigned_levels():
    outputs = np.full((1, 3), -1.0, np.float32)  # level 0, one below the label
    for dtype in (np.uint8, np.int8):
        found = splits.value(
            metrics.level_mae(), outputs, np.array([1], dtype), [True], junk=(0, 0)
        )
        assert found == 1


def test_no_levels_are_nan_and_wrong_shapes_explained():
    for metric in (metrics.level_mae(), metrics.level_accuracy()):
        outputs, labels = np.ones((2, 3), np.float32), np.array([-1, 2])
        assert np.isnan(splits.value(metric, outputs, labels, [True, False]))
        with pytest.raises(
            ValueError, match=r"\(2, 3\) fit no levels of shape \(2, 3\)"
        ):
            metric.update(outputs, np.ones((2, 3), int), np.ones(2))

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

from mtl_jax import metrics

REFERENCE = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
}


def data(shape=(64,), offset=0.0, scale=1.0):
    rng = np.random.default_rng(3)  # the same data whatever ran before
    labels = (rng.normal(size=shape) * scale + offset).astype(np.float32)
    outputs = (labels + rng.normal(size=shape) * scale / 2).astype(np.float32)
    mask = rng.uniform(size=shape[0]) < 0.8
    labels[~mask] = np.nan
    return outputs, labels, mask


METRICS = {name: metrics.make(name) for name in REFERENCE}
UPDATES = {name: jax.jit(METRICS[name].update) for name in REFERENCE}


def fill(array, rows, junk):
    return np.concatenate([array, np.full((rows, *array.shape[1:]), junk, array.dtype)])


def value(name, outputs, labels, mask, cuts=()):
    """In uneven batches, each filled up with masked rows of garbage."""
    parts = [np.split(a, cuts) for a in (outputs, labels, mask)]
    states = []
    for o, y, m in zip(*parts, strict=True):
        rows = len(mask) + 1 - len(m)
        batch = fill(o, rows, 1e30), fill(y, rows, np.nan), fill(m, rows, False)
        states.append(UPDATES[name](*batch))
    return metrics.evaluate(METRICS[name], states)[name]


def reference(name, outputs, labels, mask):
    outputs, labels = outputs[mask].astype(np.float64), labels[mask].astype(np.float64)
    return REFERENCE[name](labels, outputs)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("cuts", [(), (1, 2, 60), (20, 40), tuple(range(1, 64))])
@pytest.mark.parametrize("shape", [(64,), (64, 3)])
def test_against_scikit_learn(name, cuts, shape):
    outputs, labels, mask = data(shape)
    expected = reference(name, outputs, labels, mask)
    assert value(name, outputs, labels, mask, cuts) == pytest.approx(expected, rel=1e-6)
    if len(shape) == 1:
        column = value(name, outputs[:, None], labels, mask, cuts)
        assert column == pytest.approx(expected, rel=1e-6)


def test_columns_have_their_own_scale():
    outputs, labels, mask = data((64, 2))
    outputs[:, 1], labels[:, 1] = outputs[:, 1] * 100, labels[:, 1] * 100
    for name in REFERENCE:
        expected = reference(name, outputs, labels, mask)
        found = value(name, outputs, labels, mask, (30,))
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("last", [(), (1,)])
def test_positions_are_pooled(name, last):
    outputs, labels, mask = data((16, 3, 5))
    expected = reference(
        name, outputs, labels, mask[:, None, None].repeat(3, 1).repeat(5, 2)
    )
    outputs = outputs.reshape(*labels.shape, *last)
    assert value(name, outputs, labels, mask, (5,)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", REFERENCE)
def test_eight_devices_agree_with_one(name):
    outputs, labels, mask = data()
    metric = metrics.make(name)
    stacked = jax.pmap(metric.update)(
        *(a.reshape(8, 8) for a in (outputs, labels, mask))
    )
    states = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(8)]
    expected = reference(name, outputs, labels, mask)
    assert metrics.evaluate(metric, states)[name] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("offset", [1e6, -1e6, 1e4])
@pytest.mark.parametrize("cuts", [(), (1, 2, 60), (20, 40), tuple(range(1, 64))])
def test_r2_is_stable_for_large_offsets(offset, cuts):
    outputs, labels, mask = data(offset=offset)
    expected = reference("r2", outputs, labels, mask)
    assert 0.5 < expected < 0.95
    assert value("r2", outputs, labels, mask, cuts) == pytest.approx(expected, rel=1e-5)


def test_r2_survives_a_first_label_far_from_the_rest():
    outputs, labels, mask = data()
    mask[0], labels[0], outputs[0] = True, 3e3, 3e3 + 1
    expected = reference("r2", outputs, labels, mask)
    found = 1 - value("r2", outputs, labels, mask, (40,))
    assert found == pytest.approx(1 - expected, rel=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.5, 0.1, -7.3, 1e6 + 0.1])
@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 3, 4, 499)])
def test_r2_of_constant_labels(constant, cuts):
    labels, mask = np.full(999, constant, np.float32), np.ones(999, bool)
    assert value("r2", labels, labels, mask, cuts) == 1.0
    assert value("r2", labels + 1, labels, mask, cuts) == 0.0
    if constant in (0.0, 0.5):  # its own mean is inexact for the others
        assert sk.r2_score(labels, labels) == 1.0
        assert sk.r2_score(labels, labels + 1) == 0.0


def test_merging_an_empty_state_changes_nothing():
    outputs, labels, mask = data(offset=1e6)
    mask[:10], mask[-10:], mask[30:40] = False, False, False
    for name in REFERENCE:
        expected = reference(name, outputs, labels, mask)
        found = value(name, outputs, labels, mask, (10, 30, 40, 54))
        assert found == pytest.approx(expected, rel=1e-5)


def test_nothing_seen_is_nan():
    outputs, labels, mask = data()
    for name in REFERENCE:
        assert np.isnan(value(name, outputs, labels, mask & False, (10,)))
    one = np.arange(64) == np.flatnonzero(mask)[0]
    assert np.isnan(value("r2", outputs, labels, one))
    assert value("mae", outputs, labels, one) > 0


def test_bfloat16_outputs_are_compared_in_float32():
    outputs = jnp.full(4, 1.0, jnp.bfloat16)
    labels, mask = jnp.full(4, 1.001), jnp.ones(4, bool)
    state = metrics.mae().update(outputs, labels, mask)
    assert metrics.evaluate(metrics.mae(), [state])["mae"] == pytest.approx(
        1e-3, rel=1e-3
    )


@pytest.mark.parametrize("name", REFERENCE)
def test_shapes_that_would_broadcast_are_refused(name):
    with pytest.raises(ValueError, match=r"\(4, 2\) fit no labels of shape \(4,\)"):
        metrics.make(name).update(jnp.zeros((4, 2)), jnp.zeros(4), jnp.ones(4))
    with pytest.raises(ValueError, match=r"\(4,\) fit no labels of shape \(4, 1\)"):
        metrics.make(name).update(jnp.zeros(4), jnp.zeros((4, 1)), jnp.ones(4))


def test_direction_and_names():
    tags = ("O", "B-PER", "I-PER")
    found = {
        name: metrics.make(name, **({"labels": tags} if "span" in name else {}))
        for name in metrics.METRICS
    }
    lower = {name for name, metric in found.items() if not metric.higher_is_better}
    assert lower == {
        "mae",
        "rmse",
        "level_mae",
        "poisson_deviance",
        "count_mae",
        "count_rmse",
        "count_rmsle",
        "abs_error",
        "rel_error",
        "angular_error",
        "angular_median",
    }
    assert found.pop("angular_within").name == "angular_within_11.25"
    assert all(metric.name == name for name, metric in found.items())


def test_unknown_names_are_explained():
    with pytest.raises(ValueError, match=r"unknown metric 'rsme'. Did you mean 'rmse'"):
        metrics.make("rsme")
    with pytest.raises(ValueError, match=r"of metric 'f1' 'avg'.*Known: average"):
        metrics.make("f1", avg="macro")
    with pytest.raises(ValueError, match=r"'span_f1' needs .*make\('span_f1', labels"):
        metrics.make("span_f1")

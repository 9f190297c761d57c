"""Labels that are standardised: metrics and predictions are of the values."""

import flax.linen as nn
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import data, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
VALUES = {
    "price": 900 + 40 * X[:, 0] + RNG.normal(size=90),
    "weight": -3 + 0.02 * X[:, 1] + 0.001 * RNG.normal(size=90),
    "plain": X[:, 2] + 0.1 * RNG.normal(size=90),
}
MASKS = {"price": np.arange(90) % 3 != 0}
UNITS = {"price": (900.0, 40.0), "weight": (-3.0, 0.02), "plain": None}


def standardised(name):
    mean, deviation = UNITS[name] or (0, 1)
    return ((VALUES[name] - mean) / deviation).astype(np.float32)


@pytest.fixture(scope="module", params=["jit", "pmap"])
def result(request):
    tasks = [mtl.regression(name, units=UNITS[name]) for name in VALUES]
    made = data.from_arrays(
        X,
        {name: standardised(name) for name in VALUES},
        masks=MASKS,
        fractions=(0.6, 0.1, 0.3),
    )
    model = mtl.models.HardSharing(
        mtl.models.MLP((8,)), {name: nn.Dense(1) for name in VALUES}
    )
    return made, mtl.fit(
        model, tasks, made, epochs=4, batch_size=8, parallel=request.param
    )


@pytest.mark.parametrize("name", VALUES)
def test_metrics_are_those_of_scikit_learn_on_the_values(result, name):
    import sklearn.metrics as sk

    made, fitted = result
    mask = made.test.masks.get(name, np.ones(len(made.test), bool))
    mean, deviation = UNITS[name] or (0, 1)
    truth = made.test.labels[name][mask].astype(np.float64) * deviation + mean
    found = fitted.predict(made.test.inputs)[name][mask].astype(np.float64)
    expected = {
        "rmse": sk.root_mean_squared_error(truth, found),
        "mae": sk.mean_absolute_error(truth, found),
        "r2": sk.r2_score(truth, found),
    }
    for metric, value in expected.items():
        assert fitted.test[f"{name}/{metric}"] == pytest.approx(value, rel=2e-3)
    # The loss is of the standardised labels.
    loss = (expected["rmse"] / deviation) ** 2
    assert fitted.test[f"{name}/loss"] == pytest.approx(loss, rel=2e-3)


def test_predictions_are_values(result):
    made, fitted = result
    outputs = fitted.outputs(made.test.inputs)
    found = fitted.predict(made.test.inputs)
    np.testing.assert_allclose(
        found["price"], outputs["price"][:, 0] * 40 + 900, rtol=1e-6
    )
    np.testing.assert_array_equal(found["plain"], outputs["plain"][:, 0])
    decided = train.decide(mtl.regression("price", units=(2, 3)), np.ones((2, 1)))
    assert decided["prediction"].tolist() == [5, 5]


@pytest.mark.parametrize("units", [(1.0,), (0.0, 0.0), (np.nan, 1.0), (1.0, -2.0)])
def test_units_that_are_none(units):
    with pytest.raises(ValueError, match=r"task 'price' was given units=.*mean, dev"):
        mtl.regression("price", units=units)

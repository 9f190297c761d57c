"""The keywords a method gets, and what the metrics tell of its solver."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import engine, losses, models, objective, tasks, train, weighting
from mtl_jax.train import rows

TASKS = (
    tasks.classification("digit", 3),
    tasks.binary("odd"),
    tasks.regression("mass"),
)


def tell_kpi():
    """A method whose weights are the performance indicators."""

    def update(losses, state, *, kpi=None, mask=None, **extra):
        del extra, losses
        return jnp.where(mask, kpi, 0), state

    return weighting.LossWeighting(
        lambda num_tasks, params=None: weighting.EmptyState(), update
    )


def batch(n=16, masked=False):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    made = {
        "inputs": x,
        "labels": {
            "digit": rng.integers(0, 3, n),
            "odd": rng.integers(0, 2, n),
            "mass": x.sum(1),
        },
    }
    if masked:
        made["masks"] = {
            "digit": np.arange(n) < 5,
            "odd": np.zeros(n, bool),
            "mass": np.arange(n) % 2 == 0,
        }
    return made


def run(method, made, parallel="jit", devices=None):
    heads = {"digit": nn.Dense(3), "odd": nn.Dense(1), "mass": nn.Dense(1)}
    model = models.from_linen(models.HardSharing(models.MLP((5,)), heads))
    variables = model.init(jax.random.key(0), jnp.ones((1, 4)))
    optimizer = optax.sgd(0.1)
    state = train.create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=3,
    )
    outputs, _ = model.apply(
        variables.shared, variables.specific, (), made["inputs"], train=False, key=None
    )
    step = train.make_train_step(
        objective.make_losses(model, TASKS),
        method,
        optimizer,
        parallel=parallel,
        devices=devices,
    )
    state, output = step(state, made)
    return outputs, state, output


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("devices", [1, 2])
def test_the_kpi_is_the_accuracy_or_the_likelihood(masked, devices):
    made = batch(masked=masked)
    outputs, _, output = run(
        tell_kpi(), made, parallel="pmap", devices=jax.devices()[:devices]
    )
    labels = made["labels"]
    expected = [
        np.argmax(outputs["digit"], -1) == labels["digit"],
        (np.ravel(outputs["odd"]) > 0) == labels["odd"],
        np.exp(-((np.ravel(outputs["mass"]) - labels["mass"]) ** 2)),
    ]
    for t, (task, values) in enumerate(zip(TASKS, expected, strict=True)):
        keep = made.get("masks", {}).get(task.name, np.ones(16, bool))
        mean = np.mean(values[keep]) if keep.any() else 0
        np.testing.assert_allclose(output.weights[t], mean, rtol=1e-5)


def test_a_loss_that_only_knows_itself_tells_the_likelihood():
    values = jnp.array([0.0, 1.0, 50.0])
    ones = jnp.ones(3)
    found = losses.kpi_per_example(losses.mse(), values, values, values, ones)
    np.testing.assert_allclose(found, np.exp(-np.asarray(values)), rtol=1e-6)
    # Of an example with labels at a quarter of its positions: their mean.
    found = losses.kpi_per_example(losses.mse(), values, values, values / 4, ones / 4)
    np.testing.assert_allclose(found, np.exp(-np.asarray(values)), rtol=1e-6)


def test_the_rows_tell_how_the_solver_fared():
    _, state, output = run(weighting.mgda(), batch())
    row = rows.training_row(state.totals, output, 1, 1, TASKS)
    assert row["solver_iterations"] >= 1 and row["solver_failures"] == 0
    _, state, output = run(weighting.equal(), batch())
    row = rows.training_row(state.totals, output, 1, 1, TASKS)
    assert "solver_iterations" not in row


def test_a_solver_that_fails_is_counted():
    def update(gramian, state, **extra):
        del extra, state
        report = weighting.SolverReport(jnp.int32(7), jnp.array(False))
        return jnp.ones(gramian.shape[0]), (report,)

    def init(num_tasks, params=None):
        del num_tasks, params
        return (weighting.SolverReport(jnp.int32(0), jnp.array(True)),)

    _, state, output = run(weighting.GramianWeighting(init, update), batch())
    row = rows.training_row(state.totals, output, 1, 1, TASKS)
    assert (row["solver_iterations"], row["solver_failures"]) == (7.0, 1)


def test_a_step_that_holds_its_weights_calls_no_solver():
    method = weighting.every_k(weighting.mgda(), 3)
    made = batch()

    def losses_fn(shared, specific, batch):
        x = batch["inputs"] @ shared
        return jnp.stack([jnp.mean((x - 1) ** 2), jnp.mean((x + x**2) ** 2)])

    optimizer = optax.sgd(0.01)
    state = train.create(
        jnp.ones(4), {}, method=method, optimizer=optimizer, num_tasks=2
    )
    step = train.make_train_step(losses_fn, method, optimizer, parallel="jit")
    for _ in range(7):
        state, _ = step(state, made)
    assert int(state.totals.solver_calls) == 3
    with pytest.raises(TypeError, match="make_bilevel_step"):
        engine.gradients(weighting.moml(), lambda a, b: a, 0.0, {}, ())


def test_fit_writes_them(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype(np.float32)
    data = mtl.data.from_arrays(x, {"a": x.sum(1), "b": x[:, 0]})
    model = models.HardSharing(models.MLP((4,)), {"a": nn.Dense(1), "b": nn.Dense(1)})
    result = mtl.fit(
        model,
        [tasks.regression("a"), tasks.regression("b")],
        data,
        method="mgda",
        epochs=1,
        batch_size=16,
    )
    first = result.history[0]
    assert first["solver_failures"] == 0 and first["solver_iterations"] > 0

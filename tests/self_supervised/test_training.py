"""Self-supervised tasks in training and evaluation: who sees what, and when."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import (
    data,
    engine,
    models,
    objective,
    pretexts,
    stacked,
    tasks,
    train,
    weighting,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4, 4)).astype(np.float32)
WIDTHS = {"y": 1, "auto": 16, "clean": 16, "hidden": 16, "up": 4, "same": 3}
BATCH = {"inputs": X, "labels": {"y": X.sum((1, 2))}}


def double(key, x):
    """An augmentation that is the same for all keys."""
    del key
    return 2 * x


def jitter(key, x):
    return x + 0.1 * jax.random.normal(key, x.shape)


TASKS = (
    tasks.regression("y"),
    tasks.autoencoding("auto", 16),
    tasks.denoising("clean", 16),
    tasks.masked("hidden", 16, patch=2),
    tasks.rotation("up"),
    tasks.contrastive("same", 3, augmentations=[jitter]),
)
SAME = tasks.contrastive("same", 3, augmentations=[double])


def model_of(names=WIDTHS, **trunk):
    heads = {name: nn.Dense(WIDTHS[name]) for name in names}
    return models.from_linen(models.HardSharing(models.MLP((5,), **trunk), heads))


MODEL = model_of()
VARIABLES = MODEL.init(jax.random.key(0), X)
KEY = jax.random.key(7)


@functools.cache
def looked():
    """The views, and the batch with all labels."""
    return jax.jit(lambda batch: pretexts.look(TASKS, batch, KEY))(BATCH)


@jax.jit
def apply(x):
    return dict(MODEL.apply(*VARIABLES, x)[0])


def losses(model, variables, task_list=TASKS):
    @jax.jit
    def found(variables):
        return objective.make_losses(model, task_list)(
            variables.shared,
            variables.specific,
            BATCH,
            key=KEY,
            collections=variables.collections,
            axis_name=None,
        )

    return found(variables)


@jax.jit
def by_hand(views, batch):
    """Every view in a call of its own."""
    outputs = apply(X)
    for task in TASKS:
        if task.name in views:
            own = [apply(view)[task.name] for view in views[task.name]]
            outputs[task.name] = task.pretext.outputs(own, None, None)
    return objective.task_losses(TASKS, outputs, batch)


def test_each_task_sees_its_own_view_and_the_others_clean_inputs():
    expected = by_hand(*looked())
    plain = MODEL._replace(encode=None, decode=None, stacked=None)
    for model in (MODEL, plain):
        found = losses(model, VARIABLES)
        np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-5)
        np.testing.assert_array_equal(found.counts, expected.counts)
    error = np.mean((np.asarray(apply(X)["y"][:, 0]) - BATCH["labels"]["y"]) ** 2)
    assert expected.sums[0] / expected.counts[0] == pytest.approx(error, rel=1e-5)


def test_each_loss_reaches_the_trunk_and_its_own_head_alone():
    @jax.jit
    def gradients(weights):
        def total(shared, specific):
            found = VARIABLES._replace(shared=shared, specific=specific)
            return losses(MODEL, found).sums @ weights

        return jax.grad(total, (0, 1))(VARIABLES.shared, VARIABLES.specific)

    for t, task in enumerate(TASKS):
        shared, specific = gradients(jnp.eye(len(TASKS))[t])
        assert np.any(shared["trunk"]["Dense_0"]["kernel"] != 0)
        reached = {n for n, head in specific.items() if np.any(head["kernel"] != 0)}
        assert reached == {f"heads_{task.name}"}


def test_batch_norm_sees_all_views_as_one_batch():
    model = model_of(batch_norm=True)
    variables = model.init(jax.random.key(0), X)
    found = losses(model, variables).collections
    views, _ = looked()
    rows = jnp.concatenate([X, *(v for own in views.values() for v in own)])
    assert len(rows) == 6 * len(X)
    _, expected = model.apply(*variables, rows, train=True)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_penalties_of_heads_with_views_are_kept():
    class Heavy(nn.Module):
        @nn.compact
        def __call__(self, z, train=False):
            out = nn.Dense(3)(z)
            return models.Penalised(out, jnp.full(len(z), 2.0)) if train else out

    net = models.HardSharing(models.MLP((5,)), {"same": Heavy()})
    model = models.from_linen(net)

    @jax.jit
    def found(batch):
        variables = model.init(jax.random.key(0), X)
        few = [SAME]
        return pretexts.outputs(model, few, variables, batch, train=True, key=KEY)[0]

    out = found(BATCH)["same"]
    assert out.outputs.shape == (8, 2, 17)
    np.testing.assert_array_equal(out.penalty, np.full(8, 2.0))


def state_of(model, method, optimizer, task_list):
    variables = model.init(jax.random.key(0), X[:1])
    return train.create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=len(task_list),
        key=1,
        collections=variables.collections,
    )


@pytest.mark.parametrize("name", ["uw", "mgda", "graddrop"])
def test_methods_at_the_parameters(name):
    method, optimizer = weighting.make(name), optax.adam(0.03)
    few = (TASKS[0], TASKS[2], SAME)
    model = model_of([task.name for task in few])
    state = state_of(model, method, optimizer, few)
    step = train.make_train_step(
        objective.make_losses(model, few), method, optimizer, parallel="jit"
    )
    seen = []
    batch = objective.pack(BATCH)
    for _ in range(60):
        state, output = step(state, batch)
        seen.append(np.asarray(output.losses))
    assert int(state.skipped) == 0
    # What is drawn differs from step to step, so that means are compared.
    assert np.all(np.mean(seen[-10:], 0) < np.mean(seen[:10], 0))


def test_the_representation():
    """Autoencoding reads the same inputs; tasks with views do not."""
    both = TASKS[:2]
    model = model_of(["y", "auto"])
    method, optimizer = weighting.make("mgda"), optax.sgd(0.1)
    function = objective.make_losses(model, both)
    assert isinstance(function, engine.SplitLosses)
    state = state_of(model, method, optimizer, both)
    out = model.apply(state.shared, state.specific, state.collections, X)[0]
    error = np.mean((np.asarray(out["auto"]) - X.reshape(8, 16)) ** 2)
    step = train.make_train_step(
        function, method, optimizer, at="representation", parallel="jit"
    )
    state, output = step(state, objective.pack(BATCH))
    assert output.losses[1] == pytest.approx(error, rel=1e-5)
    function = objective.make_losses(MODEL, TASKS)
    with pytest.raises(ValueError, match="views of their own read other inputs"):
        step = train.make_train_step(
            function, method, optimizer, at="representation", parallel="jit"
        )
        step(state_of(MODEL, method, optimizer, TASKS), objective.pack(BATCH))


def test_negatives_come_from_all_devices():
    few = (TASKS[0], SAME)
    model = model_of(["y", "same"])
    method, optimizer = weighting.make("equal"), optax.sgd(0.1)
    found = []
    for devices in (1, 2):
        step = train.make_train_step(
            objective.make_losses(model, few),
            method,
            optimizer,
            parallel="pmap",
            devices=jax.devices()[:devices],
        )
        state, output = step(state_of(model, method, optimizer, few), BATCH)
        found.append(jax.device_get((output.losses, state.shared, state.specific)))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_evaluation_draws_the_same_and_skips_what_fills_a_batch():
    source = data.ArraySource(X[:7], {"y": X[:7].sum((1, 2))})
    method, optimizer = weighting.make("equal"), optax.sgd(0.1)
    state = state_of(MODEL, method, optimizer, TASKS)
    evaluate = train.make_evaluation(MODEL, TASKS, parallel="jit")
    first = evaluate(state, source, 4)
    later = dataclasses.replace(state, step=state.step + 3, key=jax.random.key(9))
    assert evaluate(later, source, 4) == first
    # The last batch has three examples and one that fills it.
    values = []
    look = jax.jit(lambda x: pretexts.look(TASKS, {"inputs": x, "labels": {}}, None))
    for rows, number in ((X[:4], 4), (X[[4, 5, 6, 0]], 3)):
        views, _ = look(rows)
        own = [apply(view)["same"][:number] for view in views["same"]]
        out = np.asarray(TASKS[5].pretext.outputs(own, None, None), np.float64)
        values.append(np.log(np.exp(out).sum(-1)) - out[..., 0])
    expected = np.concatenate(values).mean()
    assert first["same/loss"] == pytest.approx(expected, rel=1e-4)
    assert {"up/accuracy", "hidden/abs_error", "auto/mae"} <= set(first)
    # Predictions are of the inputs as they are.
    found = train.predict(MODEL, state, X)
    outputs = apply(X)
    for name, out in outputs.items():
        np.testing.assert_allclose(found[name], out, rtol=1e-5, atol=1e-6)
    answer = train.decide(TASKS[5], found["same"])["prediction"]
    np.testing.assert_array_equal(answer, found["same"])


def test_labels_of_the_data_by_the_name_of_a_task_are_not_its_own():
    """Alone and in a stack of labels that are alike; masks too."""
    labels = {"y": X.sum((1, 2)), "up": np.zeros(8, np.int32), "z": np.zeros(8)}
    batch = {
        "inputs": X,
        "labels": labels | {"auto": np.ones(8)},
        "masks": {"y": np.ones(8, bool), "up": np.zeros(8, bool)},
    }
    few = [TASKS[0], TASKS[1], TASKS[4]]
    for given in (batch, objective.pack(batch)):
        _, found = pretexts.look(few, given, None)
        assert sorted(found["labels"]) == ["auto", "up", "y", "z"]
        assert list(found["masks"]) == ["y"]
        _, plain = pretexts.look(few, {**batch, "labels": {}}, None)
        for name in ("auto", "up"):
            (own,) = stacked.rows(found["labels"], [name])
            np.testing.assert_array_equal(own, plain["labels"][name])
        np.testing.assert_array_equal(found["labels"]["y"], labels["y"])
    other = tasks.regression("z", label="up")
    with pytest.raises(ValueError, match="'up' makes labels by the name 'up', and tas"):
        tasks.check_names([*few, other])


def test_as_many_views_as_were_declared():
    pretext = tasks.Pretext(lambda key, x: tasks.Examples((-x,), x[:, 0, 0]), 0)
    task = dataclasses.replace(TASKS[1], pretext=pretext)
    with pytest.raises(ValueError, match=r"num_views=0, and its examples have 1\. Gi"):
        pretexts.look([task], BATCH, None)


def test_a_run_goes_on_bit_for_bit(tmp_path):
    few = (TASKS[0], TASKS[2])
    model = model_of(["y", "clean"])
    source = data.Dataset("x", data.ArraySource(X, BATCH["labels"]))
    options = {"batch_size": 4, "parallel": "jit", "steps_per_call": 1}
    whole = train.fit(model, few, source, epochs=2, **options)
    train.fit(model, few, source, epochs=1, workdir=tmp_path, **options)
    parts = train.fit(model, few, source, epochs=2, workdir=tmp_path, **options)
    states = [(found.state.shared, found.state.specific) for found in (whole, parts)]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(a, b)

"""The train step of bilevel methods: devices, skipping, `fit`, resuming, the CLI."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import cli, data, engine, models, objective, tasks, train, weighting

METHODS = {
    # Learning rates at which a wrong hyper-gradient shows in a few steps.
    "auto_lambda": {"optimizer": optax.sgd(1.0)},
    "moml": {"optimizer": optax.sgd(100.0), "num_inner": 2},
    "forum": {"optimizer": optax.sgd(10.0), "num_inner": 3, "rho": 2.0},
}
STEPS, BATCH, SECOND = 6, 32, 16
TASKS = (
    tasks.classification("digit", 4),
    tasks.binary("odd"),
    tasks.regression("mass"),
)


def batch_of(rng, size, masked):
    x = rng.normal(size=(size, 6)).astype(np.float32)
    batch = {
        "inputs": x,
        "labels": {
            "digit": rng.integers(0, 4, size),
            "odd": (x[:, 0] > 0).astype(np.int32),
            "mass": x.sum(1),
        },
    }
    if masked:  # very uneven over the devices; none at all for "odd" on most
        batch["masks"] = {
            "digit": np.arange(size) < 9,
            "odd": np.arange(size) == 3,
            "mass": rng.random(size) < 0.5,
        }
    return batch


def batches(masked=False, steps=STEPS):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        first = batch_of(rng, BATCH, masked)
        yield {**first, "validation": batch_of(rng, SECOND, masked)}


def network(**options):
    heads = {"digit": nn.Dense(4), "odd": nn.Dense(1), "mass": nn.Dense(1)}
    return models.from_linen(models.HardSharing(models.MLP((8, 5), **options), heads))


def start(model, method, optimizer):
    variables = model.init(jax.random.key(1), jnp.ones((1, 6)))
    return train.create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=3,
        key=1,
        collections=variables.collections,
    )


def run(method, devices, *, masked=False, steps=STEPS, **options):
    model, optimizer = network(**options), optax.sgd(0.1, momentum=0.9)
    state = start(model, method, optimizer)
    step = train.make_bilevel_step(
        objective.make_losses(model, TASKS),
        method,
        optimizer,
        parallel="pmap",
        devices=jax.devices()[:devices],
        steps_per_epoch=2,
    )
    outputs = []
    for batch in batches(masked, steps):
        state, output = step(state, batch)
        outputs.append(output)
    return state, outputs


def difference(a, b):
    """Of all that is not a count."""
    return max(
        float(np.max(np.abs(np.asarray(x) - np.asarray(y))))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        if jnp.issubdtype(x.dtype, jnp.inexact)
    )


# ---- devices


@pytest.mark.parametrize(
    ("name", "masked"), [("auto_lambda", True), ("moml", False), ("forum", True)]
)
def test_eight_devices_equal_one(name, masked):
    method = weighting.make(name, **METHODS[name])
    options = {"masked": masked, "batch_norm": masked}
    one, out_one = run(method, 1, **options)
    eight, out_eight = run(method, 8, **options)
    before = start(network(**{"batch_norm": masked}), method, optax.sgd(0.1)).shared
    moved = difference(one.shared, before)
    assert moved > 0.03, "the parameters must have moved for this to mean something"
    weights = np.array([out.weights for out in out_one])
    assert np.ptp(weights[:, 0]) > 0.01, "and the weights too"
    for part in ("shared", "specific", "collections", "weighting", "optimizer"):
        a, b = getattr(one, part), getattr(eight, part)
        if jax.tree.leaves(a):
            size = max(float(np.max(np.abs(x))) for x in jax.tree.leaves(a))
            assert difference(a, b) < 5e-5 * max(1, moved, size), part
    for a, b in zip(out_one, out_eight, strict=True):
        np.testing.assert_allclose(a.losses, b.losses, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-3, atol=1e-4)
    for leaf in jax.tree.leaves((eight.shared, eight.weighting)):
        shards = [np.asarray(s.data) for s in leaf.addressable_shards]
        assert len(shards) == 8
        assert all(np.array_equal(shards[0], s) for s in shards)


def test_derivatives_of_replicated_sums_are_right_to_any_order():
    """Forward, reverse and mixed, through two steps, against one device."""
    x = jnp.arange(16.0).reshape(8, 2) / 8 + 0.1
    theta, w = jnp.array(0.3), jnp.array([0.4, 0.6])

    def local(theta, x):
        return jnp.stack([jnp.sum(jnp.sin(theta * x)), jnp.sum((theta - 1) ** 2 * x)])

    def everything(losses):
        def ahead(w):
            after = theta
            for _ in range(2):
                after = after - 0.01 * jax.vjp(losses, after)[1](w)[0]
            return losses(after)

        return (
            jax.jacrev(ahead)(w),
            jax.jacfwd(ahead)(w),
            jax.hessian(lambda w: ahead(w)[0])(w),
            jax.vmap(jax.grad(lambda w, t: ahead(w)[t]), (None, 0))(w, jnp.arange(2)),
        )

    def on_devices(x):
        reduce = engine.collectives.Reduce("data")
        return everything(lambda t: reduce.sum(local(reduce.replicated(t), x)))

    one = everything(lambda t: local(t, x.reshape(-1)))
    many = jax.pmap(on_devices, axis_name="data")(x)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        assert np.all(np.asarray(b) == np.asarray(b)[0])
        np.testing.assert_allclose(b[0], a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("devices", [1, 8])
def test_a_step_compiles_once_and_donates_its_state(devices):
    traces = []

    def losses_fn(shared, specific, batch):
        traces.append(1)
        return jnp.stack([jnp.sum(shared**2), jnp.sum((shared - 1) ** 2)])

    for name in METHODS:
        mine = jnp.ones(3)
        method, optimizer = weighting.make(name), optax.adam(0.1)
        state = train.create(mine, {}, method=method, optimizer=optimizer, num_tasks=2)
        step = train.make_bilevel_step(
            losses_fn,
            method,
            optimizer,
            parallel="pmap",
            devices=jax.devices()[:devices],
            steps_per_epoch=2,
        )
        batch = {"x": np.ones(8), "validation": {"x": np.ones(16)}}
        state, _ = step(state, batch)
        traced, before = len(traces), state
        for _ in range(4):
            state, _ = step(state, batch)
        assert len(traces) == traced, name
        assert before.shared.is_deleted(), "the state is donated"
        assert mine.tolist() == [1, 1, 1]


# ---- one step


@pytest.mark.parametrize("name", ["auto_lambda", "forum"])
def test_a_step_that_is_not_finite_is_skipped(name):
    method, optimizer = weighting.make(name, **METHODS[name]), optax.adam(0.01)
    model = network()
    state = start(model, method, optimizer)
    step = train.make_bilevel_step(
        objective.make_losses(model, TASKS),
        method,
        optimizer,
        parallel="jit",
        steps_per_epoch=2,
    )
    good, bad, worse, after = batches(steps=4)
    state, _ = step(state, good)
    bad["inputs"][0, 0] = np.inf
    worse["validation"]["inputs"][0, 0] = np.inf
    before = jax.tree.map(lambda a: a.copy(), state)
    for number, batch in ((1, bad), (2, worse)):
        state, output = step(state, batch)
        assert not bool(output.finite)
        assert int(output.skipped) == int(output.skipped_in_a_row) == number
        for part in ("shared", "specific", "optimizer", "weighting"):
            assert difference(getattr(before, part), getattr(state, part)) == 0, part
    assert int(state.step) == 3
    state, output = step(state, after)
    assert bool(output.finite) and int(output.skipped_in_a_row) == 0
    assert difference(before.shared, state.shared) > 0


@pytest.mark.parametrize("name", ["auto_lambda", "forum"])
def test_only_the_training_pass_changes_the_batch_statistics(name):
    method, optimizer = weighting.make(name), optax.sgd(0.1)
    model = network(batch_norm=True, dropout=0.3)
    losses_fn = objective.make_losses(model, TASKS)
    ours = train.make_bilevel_step(
        losses_fn, method, optimizer, parallel="jit", steps_per_epoch=1
    )
    equal = weighting.make("equal")
    plain = train.make_train_step(losses_fn, equal, optimizer, parallel="jit")
    (batch,) = batches(steps=1)
    first, output = ours(start(model, method, optimizer), batch)
    del batch["validation"]
    second, same = plain(start(model, equal, optimizer), batch)
    # One key: the losses under dropout are those of the plain step too.
    np.testing.assert_allclose(output.losses, same.losses, rtol=1e-5)
    assert difference(first.collections, second.collections) < 1e-6
    untouched = start(model, method, optimizer).collections
    assert difference(first.collections, untouched) > 1e-3


def test_the_batch_must_hold_a_validation_batch():
    method, optimizer = weighting.make("moml"), optax.sgd(0.1)
    step = train.make_bilevel_step(
        lambda s, h, b: jnp.ones(2) * s, method, optimizer, parallel="jit"
    )
    state = train.create(
        jnp.ones(()), {}, method=method, optimizer=optimizer, num_tasks=2
    )
    with pytest.raises(ValueError, match=r"no 'validation'.*its keys are \['x'\]"):
        step(state, {"x": np.ones(2)})


def test_each_kind_has_its_step():
    def losses_fn(shared, specific, batch):
        return jnp.ones(2)

    with pytest.raises(TypeError, match=r"BilevelWeighting; use train.make_bilevel_"):
        train.make_train_step(losses_fn, weighting.make("moml"), optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"LossWeighting; use train.make_train_step"):
        train.make_bilevel_step(losses_fn, weighting.make("equal"), optax.sgd(0.1))
    with pytest.raises(TypeError, match="is not a weighting method"):
        train.make_train_step(losses_fn, "moml", optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"make_bilevel_step\(…, steps_per_epoch"):
        train.make_bilevel_step(losses_fn, weighting.make("forum"), optax.sgd(0.1))


# ---- what they learn


def weights_learnt(method, steps=150):
    """The mean weights of the last steps: the task, one that helps it, one of noise.

    The task has few training labels and the helper many, of nearly the same function;
    the labels of the third are random anew in each batch.
    """
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, 1)) / 3
    small = rng.normal(size=(24, 20))

    def labelled(x):
        main = np.tanh(x @ truth)[:, 0]
        return np.stack([main, main + 0.05 * rng.normal(size=len(x))], 1)

    small_y = labelled(small)[:, 0]

    def make(size, training):
        x = rng.normal(size=(size, 20))
        y = labelled(x)
        noise = 2 * rng.normal(size=size)
        main = (small, small_y) if training else (x, y[:, 0])
        return {"main": main, "helper": (x, y[:, 1]), "noise": (x, noise)}

    def losses_fn(shared, specific, batch):
        del specific

        def loss(x, y):
            return jnp.mean((jnp.tanh(x @ shared["w"]) @ shared["v"] - y) ** 2)

        return jnp.stack([loss(*batch[k]) for k in ("main", "helper", "noise")])

    key = jax.random.key(0)
    params = {
        "w": jax.random.normal(key, (20, 16)) / 4,
        "v": jax.random.normal(key, (16,)) / 4,
    }
    optimizer = optax.sgd(0.1)
    state = train.create(params, {}, method=method, optimizer=optimizer, num_tasks=3)
    step = train.make_bilevel_step(losses_fn, method, optimizer, parallel="jit")
    seen = []
    for _ in range(steps):
        batch = {**make(24, True), "validation": make(64, False)}
        state, output = step(state, jax.tree.map(np.float32, batch))
        seen.append(np.asarray(output.weights))
    return seen[0], np.mean(seen[-30:], axis=0)


@pytest.mark.parametrize("form", ["raw", "softmax"])
def test_a_task_of_noise_loses_weight_and_one_that_helps_gains(form):
    method = weighting.auto_lambda(primary=[0], w_lr=0.02, weights=form)
    first, last = weights_learnt(method)
    assert last[1] > 1.2 * first[1], last
    assert last[2] < 0.5 * first[2], last


def test_the_validation_losses_of_moml_fall_together():
    method = weighting.moml(w_lr=0.05)
    first, last = weights_learnt(method)
    assert last[2] < 0.7 * first[2], last
    assert last.sum() == pytest.approx(1, abs=1e-5)


# ---- fit

RNG = np.random.default_rng(0)
N = 203
X = RNG.normal(size=(N, 5)).astype(np.float32)
LABELS = {
    "kind": np.argmax(X[:, :3], 1),
    "tall": (X[:, 0] + X[:, 3] > 0).astype(np.int32),
}
TWO = (mtl.classification("kind", 3), mtl.binary("tall"))


def small_network(**options):
    return models.HardSharing(
        models.MLP((16, 8), **options), {"kind": nn.Dense(3), "tall": nn.Dense(1)}
    )


def leaves(state):
    plain = jax.tree.map(
        lambda a: (
            jax.random.key_data(a)
            if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key)
            else a
        ),
        state,
    )
    return [np.asarray(a) for a in jax.tree.leaves(plain)]


def small_fit(method, workdir=None, epochs=4, **options):
    fractions = options.pop("fractions", (0.6, 0.2, 0.2))
    return mtl.fit(
        small_network(dropout=0.2, batch_norm=True),
        TWO,
        data.from_arrays(X, LABELS, fractions=fractions),
        method=method,
        epochs=epochs,
        batch_size=16,
        workdir=workdir,
        **{"parallel": "jit", "optimizer": optax.adam(0.01), **options},
    )


@pytest.mark.parametrize("name", ["moml"])  # a step of its own and a state
def test_fit_goes_on_bit_for_bit(name, tmp_path):
    class Killed(Exception):
        pass

    def kill(step):
        if step == 17:  # in mid-epoch, after the checkpoint of step 15
            raise Killed

    whole = small_fit(name, tmp_path / "whole")
    assert whole.test["kind/accuracy"] > 0.4  # a third, by chance
    assert int(whole.state.skipped) == 0
    with pytest.raises(Killed):
        small_fit(name, tmp_path / "parts", on_step=kill, checkpoint_every=5)
    parts = small_fit(name, tmp_path / "parts")
    assert parts.history[0]["step"] > 15, "only what was left"
    for a, b in zip(leaves(whole.state), leaves(parts.state), strict=True):
        np.testing.assert_array_equal(a, b)
    weights = [r["kind/weight"] for r in whole.history if r["split"] == "train"]
    assert len(set(weights)) > 1, "else the test could not see a lost state"


def test_eight_devices_give_the_result_of_one():
    options = {"optimizer": optax.sgd(0.05), "epochs": 2}
    method = weighting.auto_lambda(w_lr=0.01)
    one = small_fit_plain(method, parallel="jit", **options)
    many = small_fit_plain(method, parallel="auto", **options)
    assert len(many.state.step.sharding.device_set) == 8
    for a, b in zip(
        leaves((one.state.shared, one.state.weighting)),
        leaves((many.state.shared, many.state.weighting)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=2e-5)


def small_fit_plain(method, **options):
    """Without dropout, whose masks are others on each device."""
    return mtl.fit(
        small_network(batch_norm=True),
        TWO,
        data.from_arrays(X, LABELS, fractions=(0.6, 0.2, 0.2)),
        method=method,
        batch_size=16,
        **options,
    )


def test_the_validation_data_decide_the_weights():
    """Other validation labels, other weights; the training data are the same."""
    whole = data.from_arrays(X, LABELS, fractions=(0.6, 0.2, 0.2))
    labels = whole.validation.labels
    broken = {**labels, "kind": (labels["kind"] + 1) % 3}
    other = data.Dataset(
        whole.name,
        whole.train,
        data.ArraySource(whole.validation.inputs, broken),
        whole.test,
    )
    weights = [
        mtl.fit(
            small_network(),
            TWO,
            dataset,
            method=weighting.auto_lambda(w_lr=0.02),
            epochs=4,
            batch_size=16,
            parallel="jit",
            optimizer=optax.sgd(0.1),
        ).state.weighting.raw
        for dataset in (whole, other)
    ]
    assert weights[1][0] < 0.5 * weights[0][0], "what is learnt of it is wrong"
    assert weights[1][1] > 0.5 * weights[0][1]


def test_a_small_validation_split_makes_small_batches(tmp_path):
    result = small_fit("moml", tmp_path, epochs=1, fractions=(0.9, 0.05, 0.05))
    assert int(result.state.skipped) == 0
    # Another split of the same data, and the order of the validation data is another.
    with pytest.raises(ValueError, match="cannot resume: num_examples was 183"):
        small_fit("moml", tmp_path, epochs=2, fractions=(0.8, 0.1, 0.1))
    few = data.from_arrays(X, LABELS, fractions=(0.96, 0.02, 0.02))
    with pytest.raises(ValueError, match="has 4 examples, from which 8 devices"):
        mtl.fit(small_network(), TWO, few, method="moml", batch_size=16)


def test_another_validation_split_is_refused(tmp_path):
    whole = data.from_arrays(X, LABELS, fractions=(0.6, 0.2, 0.2))
    half = data.ArraySource(
        whole.validation.inputs[:20],
        {k: v[:20] for k, v in whole.validation.labels.items()},
    )
    options = {"method": "auto_lambda", "batch_size": 16, "parallel": "jit"}
    mtl.fit(small_network(), TWO, whole, epochs=1, workdir=tmp_path, **options)
    other = data.Dataset(whole.name, whole.train, half, whole.test)
    with pytest.raises(ValueError, match="num_examples was 40, is 20"):
        mtl.fit(small_network(), TWO, other, epochs=2, workdir=tmp_path, **options)


def test_without_validation_data_the_error_says_how_to_get_some():
    with pytest.raises(ValueError) as error:
        small_fit("forum", fractions=(0.8, 0.0, 0.2))
    assert "arrays has no validation split" in str(error.value)
    assert "data.validation_fraction=0.1" in str(error.value)
    with pytest.raises(ValueError, match="Use at='parameters'"):
        small_fit("forum", at="representation")


def test_missing_labels_in_both_splits():
    masks = {"tall": np.arange(N) % 4 == 0}
    holes = data.from_arrays(X, LABELS, masks=masks, fractions=(0.6, 0.2, 0.2))
    for name in METHODS:
        result = mtl.fit(
            small_network(),
            TWO,
            holes,
            method=name,
            epochs=1,
            batch_size=4,  # often without a label of "tall"
            parallel="jit",
        )
        assert int(result.state.skipped) == 0
        assert all(np.all(np.isfinite(a)) for a in leaves(result.state.shared))


# ---- the command line


def test_the_command_line_trains_goes_on_and_evaluates(tmp_path, capsys):
    data.prepare("digits", data_dir=tmp_path / "data")
    common = ["--set", f"data.data_dir={tmp_path / 'data'}", "train.parallel=jit"]
    common += ["optimizer.schedule=constant", "train.checkpoint_every=7"]

    def command(workdir, epochs):
        return [
            *("train", "configs/digits.py", "--method", "auto_lambda"),
            *("--workdir", str(tmp_path / workdir), "--log-level", "info"),
            *common,
            f"train.epochs={epochs}",
            "method.args={'w_lr': 0.003, 'primary': [0]}",
        ]

    assert cli.main(command("whole", 2)) == 0
    assert cli.main(command("parts", 1)) == 0
    assert cli.main(command("parts", 2)) == 0
    captured = capsys.readouterr()
    assert "going on from the checkpoint of step 19" in captured.err
    rows = [told(tmp_path / name) for name in ("whole", "parts")]
    assert {row["step"] for row in rows[0]} == {19, 38}
    assert rows[0] == rows[1]
    record = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert record["resolved"]["method_args"]["w_lr"] == 0.003
    assert cli.main(["evaluate", str(tmp_path / "whole"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digit/accuracy"] > 0.5


def told(workdir):
    """The rows of a run, but for its speed and the test at its end."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        {k: v for k, v in row.items() if k != "examples_per_second"}
        for row in rows
        if row["split"] != "test"
    ]

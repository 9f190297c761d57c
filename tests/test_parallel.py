"""pmap on eight devices against one device, with plain gradient descent.

Adam would hide a wrong scale of the gradients; SGD does not. Each test stands for a
result that is silently wrong where the step is written carelessly.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import engine, models, objective, parallel, tasks, train, weighting

STEPS, BATCH = 20, 32
METHODS = {
    "uw": {"sgd_lr": 0.1},  # learned state
    "dwa": {},  # epochs
    "rlw": {},  # a key
    "famo": {},  # the losses after the step
    "aligned_mtl": {},
    "gradnorm": {},
    "nash_mtl": {"update_weights_every": 3},
    "modo": {"samples": 1},
    "metabalance": {},
    # Those that see the gradients themselves, all of them.
    "moco": {},
    "db_mtl": {},
    "excess_mtl": {"robust_step_size": 0.1},
    "momentum_config": {"output": "momentum"},
    "trimmed_mean": {},
}
"""Statistics of losses and Gramians are replicated: of what methods do with them, one
of each sort."""
KINDS = {"equal": {}, "famo": {}, "mgda": {}, "pcgrad": {}, "graddrop": {"leak": 0.2}}
TASKS = (
    tasks.classification("digit", 4),
    tasks.binary("odd"),
    tasks.regression("mass"),
)


def batches(masked, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        x = rng.normal(size=(BATCH, 6)).astype(np.float32)
        batch = {
            "inputs": x,
            "labels": {
                "digit": rng.integers(0, 4, BATCH),
                "odd": (x[:, 0] > 0).astype(np.int32),
                "mass": x.sum(1),
            },
        }
        if masked:  # very uneven over the devices; none at all for "odd" on most
            batch["masks"] = {
                "digit": np.arange(BATCH) < 9,
                "odd": np.arange(BATCH) == 3,
                "mass": rng.random(BATCH) < 0.5,
            }
        yield batch


def build(trunk):
    trunk = models.MLP((8, 5)) if trunk is None else trunk
    heads = {"digit": nn.Dense(4), "odd": nn.Dense(1), "mass": nn.Dense(1)}
    model = models.from_linen(models.HardSharing(trunk, heads))
    return model, model.init(jax.random.key(0), jnp.ones((1, 6)))


def start_of(*, trunk=None, **_):
    return build(trunk)[1].shared


def run(method, devices, *, at="parameters", masked=False, trunk=None):
    model, variables = build(trunk)
    optimizer = optax.sgd(0.1)
    state = train.create(
        variables.shared,
        variables.specific,
        method=method,
        optimizer=optimizer,
        num_tasks=3,
        key=1,
        collections=variables.collections,
    )
    step = train.make_train_step(
        objective.make_losses(model, TASKS),
        method,
        optimizer,
        at=at,
        parallel="pmap",
        devices=jax.devices()[:devices],
        steps_per_epoch=4,
    )
    outputs = []
    for batch in batches(masked):
        state, output = step(state, batch)
        outputs.append(output)
    return state, outputs


def difference(a, b):
    return max(
        float(np.max(np.abs(np.asarray(x) - np.asarray(y))))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def without_reports(state):
    """A solver may take another number of iterations where rounding differs."""
    return jax.tree.map(
        lambda leaf: None if isinstance(leaf, weighting.SolverReport) else leaf,
        state,
        is_leaf=lambda leaf: isinstance(leaf, weighting.SolverReport),
    )


def check_parity(method, **options):
    one, out_one = run(method, 1, **options)
    eight, out_eight = run(method, 8, **options)
    compare(one, out_one, eight, out_eight, difference(one.shared, start_of(**options)))


def compare(one, out_one, eight, out_eight, moved):
    assert moved > 0.03, "the parameters must have moved for this to mean something"
    for part in ("shared", "specific", "collections", "weighting"):
        a, b = (without_reports(getattr(state, part)) for state in (one, eight))
        if jax.tree.leaves(a):
            assert difference(a, b) < 2e-5 * max(1, moved), part
    for a, b in zip(out_one, out_eight, strict=True):
        np.testing.assert_allclose(a.losses, b.losses, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-3, atol=1e-4)
    for leaf in jax.tree.leaves(eight.shared):
        shards = [np.asarray(s.data) for s in leaf.addressable_shards]
        assert len(shards) == 8
        assert all(np.array_equal(shards[0], s) for s in shards)


@pytest.mark.parametrize("name", ["equal", "mgda"])
def test_the_kinds_of_method_equal_one_device(name):
    check_parity(weighting.make(name, **KINDS[name]))


@pytest.mark.parametrize("name", KINDS)
def test_the_kinds_equal_one_device_with_masks_and_batch_norm(name):
    method = weighting.make(name, **KINDS[name])
    check_parity(method, masked=True, trunk=models.MLP((8, 5), batch_norm=True))


def small_losses(shared, specific, batch):
    """Three losses of a small network, masked; little to compile."""
    z = jnp.tanh(batch["inputs"] @ shared["w"])
    labels, masks = batch["labels"], batch["masks"]
    targets = [labels["digit"] - 1.5, labels["odd"] - 0.5, labels["mass"]]
    heads = [specific["digit"], specific["odd"], specific["mass"]]
    # Not below ½: methods that divide by a loss would magnify its rounding.
    errors = 0.5 + jnp.stack(
        [(z @ head - target) ** 2 for head, target in zip(heads, targets, strict=True)]
    )
    keep = jnp.stack([masks["digit"], masks["odd"], masks["mass"]])
    return engine.TaskLosses(
        jnp.sum(jnp.where(keep, errors, 0), axis=1), jnp.sum(keep, axis=1)
    )


def run_small(method, devices):
    rng = np.random.default_rng(4)
    shared = {"w": jnp.asarray(0.3 * rng.normal(size=(6, 5)), jnp.float32)}
    heads = {k: jnp.asarray(rng.normal(size=5), jnp.float32) for k in MASKS}
    optimizer = optax.sgd(0.02)  # in long steps, rounding would grow
    state = train.create(
        shared, heads, method=method, optimizer=optimizer, num_tasks=3, key=1
    )
    step = train.make_train_step(
        small_losses,
        method,
        optimizer,
        parallel="pmap",
        devices=jax.devices()[:devices],
        steps_per_epoch=4,
    )
    outputs = []
    for batch in batches(masked=True):
        state, output = step(state, batch)
        outputs.append(output)
    return state, outputs, shared


MASKS = ("digit", "odd", "mass")


@pytest.mark.parametrize("name", METHODS)
def test_methods_equal_one_device_with_masks(name):
    method = weighting.make(name, **METHODS[name])
    one, out_one, start = run_small(method, 1)
    eight, out_eight, _ = run_small(method, 8)
    compare(one, out_one, eight, out_eight, difference(one.shared, start))


@pytest.mark.parametrize("name", ["mgda", "pcgrad", "graddrop"])
def test_at_the_representation(name):
    method = weighting.make(name, **KINDS[name])
    check_parity(method, at="representation", masked=name != "pcgrad")


def test_every_method_that_sees_gradients_is_in_this_file():
    of = {name: weighting.describe(name).kind for name in weighting.METHODS}
    seen = {name for name, kind in of.items() if kind == "gradients"}
    assert seen <= {*METHODS, *KINDS}
    # Bilevel methods are in test_bilevel_training.py.
    assert {of[name] for name in METHODS} == set(of.values()) - {"bilevel"}


def test_dropout_masks_differ_between_devices():
    def losses_fn(shared, specific, batch, key, axis_name):
        mask = jax.random.bernoulli(key, 0.5, (16,)).astype(jnp.float32)
        everyone = jax.lax.all_gather(mask, axis_name)
        return jnp.stack([jnp.sum(everyone[i] * shared) for i in range(8)])

    method, optimizer = weighting.make("equal"), optax.sgd(1.0)
    state = train.create(
        jnp.zeros(16), {}, method=method, optimizer=optimizer, num_tasks=8
    )
    step = train.make_train_step(
        losses_fn, method, optimizer, parallel="pmap", devices=jax.devices()[:8]
    )
    seen = {}
    for i in range(3):
        before = np.asarray(state.shared)
        state, _ = step(state, {"x": np.ones(8, np.float32)})
        seen[i] = tuple(np.round(before - np.asarray(state.shared)))
        # Each entry counts the devices whose mask lets it pass.
        assert set(seen[i]) - {0.0, 8.0}, "one mask on all devices"
    assert len(set(seen.values())) == 3, "a new mask every step"


def test_dropout_of_a_linen_model_differs_between_devices_and_steps():
    model = models.from_linen(
        models.HardSharing(models.MLP((64,), dropout=0.5), {"a": nn.Dense(1)})
    )
    variables = model.init(jax.random.key(0), jnp.ones((1, 4)))

    def encode(key):
        out, _ = model.encode(
            variables.shared, (), jnp.ones((1, 4)), train=True, key=key
        )
        return out

    def step(key, x):
        return encode(jax.random.fold_in(key, jax.lax.axis_index("data")))

    out = jax.pmap(step, axis_name="data", in_axes=(None, 0))(
        jax.random.key(5), jnp.ones((8, 1))
    )
    patterns = {tuple(np.asarray(row).ravel() == 0) for row in out}
    assert len(patterns) == 8


def test_indivisible_batch_is_a_clear_error():
    with pytest.raises(ValueError) as error:
        parallel.split_batch({"inputs": np.zeros((13, 2))}, 8)
    assert "a batch of 13 examples cannot be divided over 8 devices" in str(error.value)
    assert "multiple of 8 (e.g. 16)" in str(error.value)
    assert "parallel='jit'" in str(error.value)


def test_default_is_pmap_with_several_devices_and_jit_with_one():
    assert len(parallel.resolve()) == 8
    assert len(parallel.resolve("jit")) == 1
    assert len(parallel.resolve("auto", jax.devices()[:1])) == 1
    with pytest.raises(ValueError, match="Did you mean 'pmap'"):
        parallel.resolve("pmpa")


@pytest.mark.parametrize("devices", [1, 8])
def test_donation_leaves_the_users_arrays_alive(devices):
    mine = jnp.arange(4.0)
    head = {"a": jnp.ones(2)}
    method, optimizer = weighting.make("equal"), optax.sgd(0.1)

    def losses_fn(shared, specific, batch):
        return jnp.stack([jnp.sum(shared**2), jnp.sum(specific["a"] ** 2)])

    state = train.create(mine, head, method=method, optimizer=optimizer, num_tasks=2)
    step = train.make_train_step(
        losses_fn, method, optimizer, parallel="pmap", devices=jax.devices()[:devices]
    )
    placed = parallel.place(state, jax.devices()[:devices])
    state_two, _ = step(placed, {"x": np.ones(8)})
    assert placed.shared.is_deleted(), "the state is donated"
    assert mine.tolist() == [0, 1, 2, 3]
    assert head["a"].tolist() == [1, 1]
    assert state.shared.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(state_two.shared, 0.8 * mine, rtol=1e-6)
    assert jnp.issubdtype(state_two.key.dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize("devices", [1, 8])
def test_methods_are_told_the_epoch(devices):
    state, _ = run(weighting.make("dwa"), devices)
    # 20 steps, 4 an epoch: the fifth epoch (number 4) is running, all steps counted.
    assert int(state.weighting.epoch) == 4
    assert state.weighting.num_steps.tolist() == [4, 4, 4]
    assert state.weighting.num_last.tolist() == [2, 2, 2]


def test_a_method_of_epochs_refuses_to_run_without_them():
    with pytest.raises(ValueError, match="steps_per_epoch is not given"):
        train.make_train_step(
            lambda s, h, b: s, weighting.make("dwa"), optax.sgd(0.1), parallel="jit"
        )


def test_step_compiles_once():
    traces = []

    def losses_fn(shared, specific, batch):
        traces.append(1)
        return jnp.stack([jnp.sum(shared**2), jnp.sum((shared - 1) ** 2)])

    for devices in (1, 8):
        traces.clear()
        for name in ("uw", "dwa", "mgda"):
            method, optimizer = weighting.make(name), optax.adam(0.1)
            state = train.create(
                jnp.ones(3), {}, method=method, optimizer=optimizer, num_tasks=2
            )
            step = train.make_train_step(
                losses_fn,
                method,
                optimizer,
                parallel="pmap",
                devices=jax.devices()[:devices],
                steps_per_epoch=2,
            )
            state, _ = step(state, {"x": np.ones(8)})
            traced = len(traces)
            for _ in range(4):
                state, _ = step(state, {"x": np.ones(8)})
            assert len(traces) == traced, (name, devices)

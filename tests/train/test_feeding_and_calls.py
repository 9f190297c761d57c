"""How batches come and how steps are grouped changes no number."""

import threading

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mtl_jax as mtl
from mtl_jax import data, models, train
from mtl_jax.train import feeding, many_steps
from mtl_jax.weighting import make

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 5)).astype(np.float32)
LABELS = {
    "kind": np.argmax(X[:, :3], 1),
    "tall": (X[:, 0] > 0).astype(np.int32),
    "unread": np.zeros((70, 1000), np.float32),
}
MASKS = {"tall": np.arange(70) % 4 != 0}
TASKS = (mtl.classification("kind", 3), mtl.binary("tall"))
DATA = data.from_arrays(X, LABELS, masks=MASKS, fractions=(0.8, 0.2, 0.0))
STEPS = 7  # an epoch: 56 examples in batches of 8


def fit(workdir=None, epochs=3, given=DATA, **options):
    heads = {"kind": nn.Dense(3), "tall": nn.Dense(1)}
    return mtl.fit(
        models.HardSharing(models.MLP((6,), dropout=0.2), heads),
        TASKS,
        given,
        epochs=epochs,
        batch_size=8,
        workdir=workdir,
        **{"parallel": "jit", "log_every": 3, "method": "dwa", **options},
    )


def leaves(state):
    return [
        np.asarray(
            jax.random.key_data(a)
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
            else a
        )
        for a in jax.tree.leaves(state)
    ]


def rows(result):
    timing = "examples_per_second"
    return [{k: v for k, v in r.items() if k != timing} for r in result.history]


def assert_equal(one, other, exactly=True):
    for a, b in zip(leaves(one.state), leaves(other.state), strict=True):
        if exactly:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert [(r["step"], r["split"]) for r in rows(one)] == [
        (r["step"], r["split"]) for r in rows(other)
    ]


@pytest.fixture(scope="module")
def single():
    """One step a call, batches from the host."""
    return fit(steps_per_call=1, feed="host")


def test_every_feed_and_grouping_trains_the_same(single):
    done = []
    several = fit(steps_per_call=4, feed="device", on_step=done.append)
    assert done == list(range(1, 3 * STEPS + 1))
    assert_equal(single, several, exactly=False)
    expected = [3, 6, 7, 7, 9, 12, 14, 14, 15, 18, 21, 21]
    assert [r["step"] for r in rows(several)] == expected
    # The grouping is no part of the program, so it changes nothing at all.
    for options in ({"steps_per_call": 4, "log_every": 1}, {"feed": "host"}, {}):
        other = fit(**{"steps_per_call": 4, "feed": "device", **options})
        if "log_every" not in options:
            assert_equal(several, other)
        assert all(
            np.array_equal(a, b)
            for a, b in zip(
                leaves(several.state.shared), leaves(other.state.shared), strict=True
            )
        )


def test_over_devices_each_takes_its_part():
    options = {"parallel": "pmap", "method": "equal", "optimizer": optax.sgd(0.1)}
    host = fit(feed="host", steps_per_call=2, epochs=1, **options)
    device = fit(feed="device", steps_per_call=2, epochs=1, **options)
    assert len(device.state.step.sharding.device_set) == 8
    assert_equal(host, device)


def test_a_run_with_calls_goes_on_bit_for_bit(tmp_path):
    class Killed(Exception):
        pass

    def kill(step):
        if step == 11:
            raise Killed

    options = {"steps_per_call": 3, "checkpoint_every": 5, "log_every": 4}
    whole = fit(tmp_path / "whole", **options)
    with pytest.raises(Killed):
        fit(tmp_path / "parts", on_step=kill, **options)
    parts = fit(tmp_path / "parts", **{**options, "steps_per_call": 2})
    assert parts.history[0]["step"] == 12
    for a, b in zip(leaves(whole.state), leaves(parts.state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_bad_step_within_a_call_is_skipped_alone():
    """An optimizer whose state overflows in step 3, and in no other."""

    def update(grads, state, params=None, **_):
        bad = jnp.where(state == 2, jnp.inf, 0.0)
        return jax.tree.map(lambda g: -0.1 * g + bad, grads), state + 1

    optimizer = optax.GradientTransformation(lambda _: jnp.zeros(()), update)

    def losses_fn(shared, specific, batch):
        return jnp.stack([jnp.mean((batch["x"] - shared) ** 2), shared**2])

    x = jnp.linspace(0, 1, 10).reshape(5, 2)
    ends = []
    for count in (1, 5):
        method = make("equal")
        state = train.create(
            jnp.array(1.0), {}, method=method, optimizer=optimizer, num_tasks=2
        )
        step = train.make_train_step(
            losses_fn, method, optimizer, parallel="jit", steps_per_call=count
        )
        if count == 1:
            for row in x:
                state, output = step(state, {"x": row})
        else:
            state, output = step(state, {"x": x})
        assert int(output.skipped) == 3, "the optimizer never gets past it"
        assert int(output.skipped_in_a_row) == int(state.skipped_in_a_row) == 3
        assert not bool(output.finite)
        ends.append((float(state.shared), int(state.step)))
    assert ends[0] == pytest.approx(ends[1])
    with pytest.raises(ValueError, match=r"leaves \[5, B, ...\]; found .* \[2\]"):
        step(state, {"x": x[0]})


def test_what_no_task_reads_stays_on_the_host():
    stream = feeding.Stream(DATA.train, data.Batches(56, 8, seed=0))
    labels = [t.label_name for t in TASKS]
    calls = many_steps.Calls(2, (7,), 14, paced=False)
    for way in ("device", "host"):
        with feeding.make(way, [stream], labels, calls, jax.devices()[:1], 3) as feed:
            count, parts = feed.take(3)
            assert count == 2
            second = feed.pick(feed.resident, jax.tree.map(lambda a: a[1], parts))
            expected = DATA.train.take(stream.order.indices(4))
            assert set(second["labels"]) == {"kind", "tall"}
            assert set(second["masks"]) == {"tall"}
            np.testing.assert_array_equal(second["inputs"], expected["inputs"])
            np.testing.assert_array_equal(
                second["masks"]["tall"], expected["masks"]["tall"]
            )
    small = [5 * 4 * 56, 2 * 4 * 56 + 56]  # inputs, labels and mask
    device = jax.devices()[:1]
    limits = (sum(small) * 2, sum(small) // 2)
    ways = [feeding.choose("auto", [stream], labels, n, device) for n in limits]
    assert ways == ["device", "host"]


class Unreliable:
    """A source of one's own, which is no array and breaks."""

    def __len__(self):
        return 56

    def take(self, indices):
        if len(indices) > 1:
            raise OSError("the disk is gone")
        return DATA.train.take(indices)


def test_errors_of_the_feed_are_seen_and_nothing_is_left_running():
    broken = data.Dataset("broken", DATA.train)
    object.__setattr__(broken, "train", Unreliable())
    with pytest.raises(OSError, match="the disk is gone"):
        fit(given=broken)
    with pytest.raises(ValueError, match="feed='device' was asked for, but the data"):
        fit(given=broken, feed="device")
    assert not [t for t in threading.enumerate() if t.name == "read-ahead"]
    with pytest.raises(ValueError, match=r"unknown way to feed .*'hots'.*'host'"):
        fit(feed="hots")
    with pytest.raises(ValueError, match="steps_per_call is 0; a call has at least 1"):
        fit(steps_per_call=0)


def test_nothing_waits_for_the_device_between_rows(monkeypatch):
    """Arrays become numbers where a row is written or the guard looks, only there."""
    from jax._src.array import ArrayImpl

    looked, original, now = [], ArrayImpl._value, [0]
    monkeypatch.setattr(
        ArrayImpl,
        "_value",
        property(lambda self: looked.append(now[0]) or original.fget(self)),
    )
    for k in (1, 2):
        looked.clear()
        fit(
            epochs=1,
            log_every=5,
            steps_per_call=k,
            on_step=lambda s: now.__setitem__(0, s),
        )
        assert set(looked) <= {0, 5, 7}, "the start, a row, the end of the epoch"
        assert 5 in looked


def test_how_many_steps_a_call_has():
    most = many_steps.most_steps
    assert most(None, (20, 50), 0) == 20
    assert most(None, (500,), 0) == many_steps.MOST
    assert most(None, (500,), many_steps.SENT // 3) == 3
    assert most(7, (2,), 0) == 7
    calls = many_steps.Calls(64, (500,), 1000, paced=True)
    assert calls.length(0) == 1, "nothing is known yet"
    calls.measured(20, 0.5)
    assert calls.length(20) == int(20 * many_steps.SECONDS / 0.5)
    calls.measured(20, 1e-6)
    assert calls.length(490) == 10
    assert calls.length(999) == 1

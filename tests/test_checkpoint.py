"""Checkpoints: bit-exact round trips, damage, kills, full disks, other models."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mtl_jax.checkpoint import (
    CheckpointError,
    Checkpoints,
    CheckpointWarning,
    Restored,
)
from mtl_jax.checkpoint.leaves import to_host

ROOT = Path(__file__).resolve().parents[1]


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    params: Any
    extra: Any
    key: Any
    step: Any


class Pair(NamedTuple):
    first: Any
    second: Any


def bits(leaf):
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    ):
        return str(leaf.dtype), leaf.shape, np.asarray(jax.random.key_data(leaf))
    if isinstance(leaf, bool | int | float | complex) and not hasattr(leaf, "dtype"):
        return type(leaf).__name__, (), np.asarray(leaf)
    return str(leaf.dtype), leaf.shape, np.asarray(leaf)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = bits(x), bits(y)
        assert x[:2] == y[:2]
        assert x[2].tobytes() == y[2].tobytes()


def small(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "w": jnp.asarray(rng.normal(size=(8, 4)), jnp.float32),
        "b": rng.normal(size=300),
        "step": jnp.int32(seed),
    }


def save(checkpoints, *steps, **kwargs):
    for step in steps:
        checkpoints.save(step, small(step), meta={"epoch": step}, **kwargs)


def everything():
    params = {
        "dense": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.zeros(3)},
        "half": jnp.arange(5, dtype=jnp.bfloat16) / 3,
        "negative zero": jnp.full((4,), -0.0),
        "a/b": jnp.ones(1),
        "ünï\n..": jnp.float16(2),
        "": jnp.array([jnp.nan, jnp.inf, 1e-45]),
        "7": {7: jnp.uint8(7), 11: (jnp.int8(1),)},
    }
    optimizer = optax.chain(
        optax.clip(1.0), optax.adamw(1e-3), optax.identity(), optax.scale(1.0)
    )
    return State(
        params=params,
        extra={
            "adam": optimizer.init(params),
            "nothing": None,
            "empty": {},
            "empty state": optax.EmptyState(),
            "pair": Pair((), [jnp.bool_(True), {}]),
            "np": np.arange(12, dtype=np.float64).reshape(3, 4).T,
            "np scalar": np.float64(0.1),
            "np 0d": np.array(5, np.int16),
            "big endian": np.arange(3, dtype=">i4").astype("<i4"),
            "complex": jnp.array([1 + 2j]),
            "no rows": jnp.zeros((0, 3)),
            "f8": jnp.array([1, -2], jnp.float8_e4m3fn),
            "u4": np.array([1, 9], ml_dtypes.uint4),
            "i4": np.array(-3, ml_dtypes.int4),
            "weak": jnp.asarray(2.0),
            "int": 3,
            "float": 0.1,
            "bool": False,
        },
        key=(jax.random.key(1), jax.random.key(2, impl="rbg")),
        step=(jax.random.split(jax.random.key(3), 4), jnp.int32(4)),
    )


@pytest.mark.parametrize("abstract", [False, True])
def test_round_trip_of_everything_bit_for_bit(tmp_path, abstract):
    state = everything()
    meta = {"epoch": 3, "names": ["a", "ü"], "none": None, "nested": {"x": 1.5}}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(12, state, meta=meta)
    like = jax.tree.map(
        lambda x: (
            jax.ShapeDtypeStruct(x.shape, x.dtype)
            if abstract and isinstance(x, jax.Array)
            else x
        ),
        everything(),
    )
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(like)
    assert isinstance(restored, Restored)
    assert (restored.meta, restored.step) == (meta, 12)
    assert_same(restored.state, state)
    for a, b in zip(
        jax.tree.leaves(restored.state), jax.tree.leaves(state), strict=True
    ):
        assert isinstance(a, type(b))
        if isinstance(b, jax.Array) and not abstract:
            assert getattr(a, "weak_type", 0) == getattr(b, "weak_type", 0)
            assert a.committed == b.committed


def test_a_state_without_leaves(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"a": None, "b": ()}, meta={})
        assert checkpoints.restore({"a": None, "b": ()}).state == {"a": None, "b": ()}
        checkpoints.save(1, jnp.ones(2), meta={})  # a single leaf is a tree, too
        assert_same(checkpoints.restore(jnp.zeros(2)).state, jnp.ones(2))


def test_shardings_of_the_model_are_kept(tmp_path):
    mesh = Mesh(np.array(jax.devices()), ("N",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*p)) for p in (("N",), ()))
    state = {
        "split": jax.device_put(jnp.arange(16.0), split),
        "whole": jax.device_put(jnp.arange(3), whole),
        "keys": jax.device_put(jax.random.split(jax.random.key(0), 8), split),
        "pmap": jax.pmap(lambda x: x * 2)(jnp.arange(8.0)),
        "other": jax.device_put(jnp.ones(2), jax.devices()[3]),
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, state, meta={})
        for like in (
            state,
            jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
                state,
            ),
        ):
            restored = checkpoints.restore(like).state
            assert_same(restored, state)
            for name in state:
                assert restored[name].sharding.is_equivalent_to(
                    state[name].sharding, state[name].ndim
                )
        # another topology: eight devices to one
        plain = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
        restored = checkpoints.restore(plain).state
        assert_same(restored, state)
        assert {len(x.devices()) for x in restored.values()} == {1}


def test_a_state_may_be_donated_right_after_the_save(tmp_path):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 3 + 1, s), donate_argnums=0)
    state = {f"{i}": jnp.full((50, 100), float(i)) for i in range(20)}
    mutable = np.zeros(1000)
    with Checkpoints(tmp_path, keep_last=9) as checkpoints:
        expected = []
        for i in range(4):
            tree = {**state, "numpy": mutable}
            expected.append(jax.tree.map(np.array, tree))
            checkpoints.save(i, tree, meta={})
            state = step(state)
            mutable += 1
        for i in range(4):
            assert_same(
                jax.tree.map(np.array, checkpoints.restore_step(i, tree).state),
                expected[i],
            )
        restored = checkpoints.restore(tree).state
        del restored["numpy"]
        again = checkpoints.restore(tree).state
        step(restored)  # a restored state is donated as well
        assert_same(jax.tree.map(np.array, again), expected[-1])


def test_the_copy_on_the_host_shares_no_memory():
    tree = {"jax": jnp.arange(1000.0), "numpy": np.arange(1000.0)}
    for name, leaf in to_host(tree).items():
        assert not np.shares_memory(leaf.data, np.asarray(tree[name]))


def test_a_donated_state_is_refused(tmp_path):
    state = {"w": jnp.ones(3)}
    state["w"].delete()
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(CheckpointError, match="the leaf w was deleted"):
            checkpoints.save(0, state, meta={})
        assert checkpoints.steps() == []


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"a": {"s": "text"}}, "the leaf a/s is a str and cannot be saved"),
        ({"o": np.array([None])}, "the leaf o is a object"),
        ({"n": 2**70}, "the leaf n = 1180591620717411303424 does not fit"),
    ],
)
def test_a_leaf_that_cannot_be_saved_is_named(tmp_path, state, match):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(CheckpointError, match=match):
            checkpoints.save(0, state, meta={})
        save(checkpoints, 0)
        assert checkpoints.steps() == [0]


def test_meta_must_be_json(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(CheckpointError, match="meta of step 0 is not JSON"):
            checkpoints.save(0, small(), meta={"array": np.zeros(2)})
        assert checkpoints.restore(small()) is None


# What is kept


def test_the_last_two_and_the_best_are_kept_also_after_reopening(tmp_path):
    for metric in [0.5, 0.9, 0.1, 0.2, float("nan"), None, 0.3]:
        with Checkpoints(tmp_path, best_metric="acc") as checkpoints:
            step = (checkpoints.latest_step() or 0) + 1
            metrics = None if metric is None else {"acc": metric, "loss": 1}
            save(checkpoints, step, metrics=metrics)
    with Checkpoints(tmp_path, best_metric="acc") as checkpoints:
        assert checkpoints.steps() == [2, 6, 7]
        assert checkpoints.best_step() == 2
        assert_same(checkpoints.restore_best(small()).state, small(2))
        assert checkpoints.restore(small()).step == 7
        assert checkpoints.path(7).is_dir()


@pytest.mark.parametrize("mode", ["max", "min"])
def test_best_in_one_process(tmp_path, mode):
    sign = 1 if mode == "max" else -1
    with Checkpoints(
        tmp_path, keep_last=1, best_metric="m", best_mode=mode
    ) as checkpoints:
        for step, value in enumerate([1, 5, 5, 4, np.nan, -np.inf, np.inf]):
            value = jnp.float32(sign * value)  # Orbax alone fails on jax scalars
            save(checkpoints, step, metrics={"m": value})
        assert checkpoints.steps() == [1, 6]
        assert checkpoints.best_step() == 1


def test_without_a_metric_there_is_no_best(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 0, 1, 2, metrics={"m": 1.0})
        assert checkpoints.steps() == [1, 2]
        with pytest.raises(ValueError, match="best_metric"):
            checkpoints.best_step()
    with Checkpoints(tmp_path, best_metric="acc") as checkpoints:
        assert checkpoints.best_step() is None
        with pytest.raises(CheckpointError, match="finite value of the metric 'acc'"):
            checkpoints.restore_best(small())


def test_arguments(tmp_path):
    with pytest.raises(ValueError, match="keep_last is 0"):
        Checkpoints(tmp_path, keep_last=0)
    with pytest.raises(ValueError, match="best_mode is 'most'"):
        Checkpoints(tmp_path, best_mode="most")
    with pytest.raises(CheckpointError, match="gs://b is an address"):
        Checkpoints("gs://b")


def test_a_relative_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpoints("new/run") as checkpoints:
        save(checkpoints, 1)
    assert (tmp_path / "new/run/1").is_dir()


# Saving a step again


def test_saving_the_same_again_changes_nothing(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
        checkpoints.wait()
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        save(checkpoints, 2)
        checkpoints.wait()
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_saving_a_step_again_replaces_it_and_keeps_its_metrics(tmp_path):
    with Checkpoints(tmp_path, best_metric="acc") as checkpoints:
        save(checkpoints, 1, metrics={"acc": 0.9})
        save(checkpoints, 2, metrics={"acc": 0.5})
        checkpoints.save(2, small(5), meta={"stopped": True})
        checkpoints.save(1, small(1), meta={"new": 1})
    with Checkpoints(tmp_path, best_metric="acc") as checkpoints:
        state, meta, step = checkpoints.restore(small())
        assert (meta, step) == ({"stopped": True}, 2)
        assert_same(state, small(5))
        assert checkpoints.best_step() == 1
        assert checkpoints.restore_best(small()).meta == {"new": 1}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]
        checkpoints.save(2, small(5), meta={}, metrics={"acc": 1.0})  # evaluated late
        assert checkpoints.best_step() == 2


def test_a_kill_while_a_step_is_replaced_loses_nothing(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
    (tmp_path / "2").rename(tmp_path / "2.replaced")  # killed before the new one
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(small()).step == 2
    shutil.copytree(tmp_path / "2", tmp_path / "2.replaced")  # killed behind it
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


def test_an_older_step_is_refused(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 5)
        with pytest.raises(CheckpointError, match=r"step 3 cannot .* step 5 is there"):
            save(checkpoints, 3)
        with pytest.raises(CheckpointError, match="negative"):
            checkpoints.save(-1, small(), meta={})


def test_an_interrupt_within_a_save_or_a_wait(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        manager = checkpoints._disk._manager
        original = manager.save

        def interrupted(*args, **kwargs):
            original(*args, **kwargs)
            raise KeyboardInterrupt

        monkeypatch.setattr(manager, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save(checkpoints, 2)
        save(checkpoints, 2)
        assert checkpoints.steps() == [1, 2]
        save(checkpoints, 3)
        monkeypatch.setattr(
            checkpoints._disk._manager,
            "wait_until_finished",
            lambda: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            checkpoints.wait()
        monkeypatch.undo()
        save(checkpoints, 3)
        assert checkpoints.steps() == [2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "3"]


# Damage


def damage(rng, step):
    """One random damage to one file of a step."""
    path = rng.choice(sorted(p for p in step.rglob("*") if p.is_file()))
    kind = rng.choice(["flip", "flip", "flip", "truncate", "delete"])
    data = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
    elif kind == "truncate":
        path.write_bytes(data[: rng.randrange(len(data) + 1)])
    elif data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    return f"{kind} {path.relative_to(step)}"


def test_fifty_damages_and_never_a_wrong_restore(tmp_path):
    source = tmp_path / "source"
    with Checkpoints(source, best_metric="m") as checkpoints:
        save(checkpoints, 1, 2, metrics={"m": 1.0})
    rng = random.Random(0)
    outcomes = {1: 0, 2: 0}
    for i in range(50):
        run = tmp_path / f"{i}"
        shutil.copytree(source, run)
        what = damage(rng, run / "2")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CheckpointWarning)
            with Checkpoints(run, best_metric="m") as checkpoints:
                state, meta, step = checkpoints.restore(small())
                assert_same(state, small(step)), what
                assert meta == {"epoch": step}
                outcomes[step] += 1
                told = [str(w.message) for w in caught]
                assert len(told) == (step == 1), what
                if step == 1:
                    assert f"step 2 ({run / '2'}) is damaged" in told[0]
                    assert f"Using step 1 ({run / '1'})" in told[0]
                    assert (run / "2.damaged").is_dir()
                    # the run goes on, and saves that step again
                    save(checkpoints, 2)
                    assert checkpoints.steps() == [1, 2]
                    assert checkpoints.restore(small()).step == 2
        shutil.rmtree(run)
    assert min(outcomes.values()) > 5, outcomes


def test_every_flip_in_data_and_meta_is_seen(tmp_path):
    source = tmp_path / "source"
    with Checkpoints(source) as checkpoints:
        save(checkpoints, 1, 2)
    files = [source / "2/meta/metadata"]
    files += [
        p
        for p in (source / "2/state").rglob("*")
        if p.is_file() and p.stat().st_size > 2000
    ]
    assert len(files) == 2
    rng = random.Random(1)
    for i in range(12):
        path = files[i % 2]
        good = path.read_bytes()
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with Checkpoints(source, read_only=True) as checkpoints:
            try:
                assert_same(checkpoints.restore_step(2, small()).state, small(2))
            except CheckpointError as error:
                assert f"{source / '2'} is damaged" in str(error)
        path.write_bytes(good)


def test_all_damaged(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
        checkpoints.wait()
        shutil.rmtree(tmp_path / "1/state")
        (tmp_path / "2/meta/metadata").write_text("{")
        with pytest.raises(CheckpointError) as error:
            checkpoints.restore(small())
        for text in ("all 2 checkpoints", f"{tmp_path}/1:", f"{tmp_path}/2:"):
            assert text in str(error.value)
        assert checkpoints.steps() == [1, 2]


def test_damaged_twice_at_the_same_step(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        for _ in range(2):
            save(checkpoints, 2)
            checkpoints.wait()
            (tmp_path / "2/meta/metadata").unlink()
            with pytest.warns(CheckpointWarning, match="moved to 2.damaged"):
                assert checkpoints.restore(small()).step == 1
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["1", "2.damaged", "2.damaged2"]


def test_a_damaged_best_step_is_no_other_model(tmp_path):
    with Checkpoints(tmp_path, best_metric="m") as checkpoints:
        for step in range(4):
            save(checkpoints, step, metrics={"m": float(-step)})
        checkpoints.wait()
        for path in (tmp_path / "0/state").rglob("d/*"):
            path.write_bytes(b"")
        with pytest.raises(CheckpointError, match=r"0 is damaged: .* Steps there: 0, "):
            checkpoints.restore_best(small())
        assert (tmp_path / "0").is_dir()


def test_read_only_changes_nothing(tmp_path):
    with Checkpoints(tmp_path / "none", read_only=True) as checkpoints:
        assert checkpoints.restore(small()) is None
    assert not (tmp_path / "none").exists()
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
    (tmp_path / "3.orbax-checkpoint-tmp").mkdir()  # a running save of another process
    (tmp_path / "2/meta/metadata").unlink()
    before = sorted(tmp_path.rglob("*"))
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        with pytest.warns(CheckpointWarning, match="step 2 .* is damaged"):
            assert checkpoints.restore(small()).step == 1
        with pytest.raises(CheckpointError, match="read_only=True"):
            save(checkpoints, 3)
    assert sorted(tmp_path.rglob("*")) == before
    with Checkpoints(tmp_path) as checkpoints:  # left by a kill
        assert not (tmp_path / "3.orbax-checkpoint-tmp").exists()
        assert checkpoints.steps() == [1, 2]


@pytest.mark.parametrize("where", ["2/metrics/metrics", "2/_CHECKPOINT_METADATA"])
def test_a_damaged_json_does_not_prevent_opening(tmp_path, where):
    with Checkpoints(tmp_path, best_metric="m") as checkpoints:
        save(checkpoints, 1, 2, metrics={"m": 1.0})
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).write_text('{"m": 0.')
    with Checkpoints(tmp_path, best_metric="m") as checkpoints:
        assert checkpoints.best_step() == 1
        assert checkpoints.restore(small()).step == 2


def test_a_step_under_another_name(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
    shutil.copytree(tmp_path / "1", tmp_path / "7")
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.warns(CheckpointWarning, match="it holds step 1, not 7"),
    ):
        assert checkpoints.restore(small()).step == 2


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mtl_jax.checkpoint.record.FORMAT", 2)
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        monkeypatch.undo()
        with pytest.raises(CheckpointError, match=r"step 1 has format 2.*Upgrade"):
            checkpoints.restore(small())


# Another model


def test_a_checkpoint_of_another_model(tmp_path):
    old = {"params": {f"layer{i:02d}": np.zeros(2) for i in range(20)}, "step": 1}
    old["w"], old["x"] = jnp.zeros((4, 3)), jnp.zeros(2, jnp.bfloat16)
    new = {"heads": {"a": np.zeros(3)}, "w": jnp.zeros((5, 3)), "x": jnp.zeros(2)}
    new["step"] = jnp.float32(0)
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        checkpoints.save(2, old, meta={})
        checkpoints.wait()
        for path in (tmp_path / "2/state").rglob("d/*"):
            path.write_bytes(b"")  # a mismatch is told before any damage
        with pytest.raises(CheckpointError) as error:
            checkpoints.restore(new)
    lines = str(error.value).splitlines()
    assert lines[0] == f"the checkpoint {tmp_path}/2 is of another model:"
    assert lines[1] == "only in the checkpoint (20):"
    assert lines[2:14] == [f"  params/layer{i:02d} float64[2]" for i in range(12)]
    assert lines[14] == "  ... and 8 more"
    assert lines[15:17] == ["only in the model (1):", "  heads/a float64[3]"]
    assert lines[17:21] == [
        "another shape or dtype (3):",
        "  step: checkpoint python int[], model float32[]",
        "  w: checkpoint float32[4,3], model float32[5,3]",
        "  x: checkpoint bfloat16[2], model float32[2]",
    ]
    assert lines[21].startswith("Build the model it was saved from")


def test_another_key_is_another_model(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"key": jax.random.key(0)}, meta={})
        for like in (jax.random.key(0, impl="rbg"), jax.random.PRNGKey(0)):
            with pytest.raises(CheckpointError, match=r"key: checkpoint key<fry>\[\]"):
                checkpoints.restore({"key": like})


def test_a_python_number_stands_for_the_array_it_became(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"step": jnp.int32(7), "lr": jnp.float32(0.1)}, meta={})
        state = checkpoints.restore({"step": 0, "lr": 0.0}).state
        assert_same(state, {"step": jnp.int32(7), "lr": jnp.float32(0.1)})
        with pytest.raises(CheckpointError, match="lr: checkpoint float32"):
            checkpoints.restore({"step": 0, "lr": 0})


def test_a_missing_step(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 2)
        with pytest.raises(CheckpointError, match=r"of step 9 in .*there: 1, 2\."):
            checkpoints.restore_step(9, small())


# Directories and disks that do not work


def test_a_file_in_place_of_the_directory(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match=f"directory {path} cannot be"):
            Checkpoints(path)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_directory_without_permission(tmp_path, monkeypatch, read_only):
    wanted = os.R_OK if read_only else os.W_OK
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & wanted)
    use = "read" if read_only else "written"
    with pytest.raises(CheckpointError, match=f"cannot be {use}: PermissionError"):
        Checkpoints(tmp_path, read_only=read_only)


def run(script, *args, **kwargs):
    prelude = """
        import sys, jax, numpy as np
        sys.path.insert(0, sys.argv[1])
        from mtl_jax.checkpoint import Checkpoints, CheckpointError
        def state(step):
            rng = np.random.default_rng(step)
            return {f"{i}": rng.normal(size=(200, 100)) for i in range(20)}
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(script)
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        **kwargs,
    )


def test_a_full_disk_is_told_at_the_next_call(tmp_path):
    script = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        c = Checkpoints(sys.argv[2])
        c.save(1, state(1), meta={})
        c.wait()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        for call in (c.wait, c.steps, c.close, lambda: c.save(3, state(3), meta={})):
            c.save(2, state(2), meta={})
            try:
                call()
            except CheckpointError as error:
                print(error)
            if call == c.close:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                c = Checkpoints(sys.argv[2])
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print(c.steps(), c.restore(state(0)).step)
        c.save(2, state(2), meta={})
        c.close()
        print("done")
    """
    process = run(script, tmp_path)
    out, err = process.communicate(timeout=120)
    lines = out.splitlines()
    assert len(lines) == 6, out + err
    for line in lines[:4]:
        assert f"checkpoint of step 2 was not saved to {tmp_path}: " in line
        assert "Steps still there: [1]." in line
    assert lines[4:] == ["[1] 1", "done"]
    assert "Traceback" not in err  # Orbax would log eight of them
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


def test_damage_is_told_once_and_nothing_else_is_printed(tmp_path):
    script = """
        c = Checkpoints(sys.argv[2])
        c.save(1, state(1), meta={})
        c.save(2, state(2), meta={})
        c.wait()
        open(sys.argv[2] + "/2/state/manifest.ocdbt", "wb").close()
        print(c.restore(state(0)).step)
        c.close()
    """
    out, err = run(script, tmp_path).communicate(timeout=120)
    assert out == "1\n", err
    assert "CheckpointWarning: checkpoint step 2" in err
    assert "Traceback" not in err and "ERROR" not in err


def test_a_full_file_system(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    try:
        with Checkpoints(tmp_path) as checkpoints:
            save(checkpoints, 1)
            big = {"w": np.random.default_rng(0).normal(size=400_000)}
            checkpoints.save(2, big, meta={})
            with pytest.raises(CheckpointError, match="The disk is full"):
                checkpoints.wait()
            assert checkpoints.restore(small()).step == 1
            save(checkpoints, 2)
            assert checkpoints.steps() == [1, 2]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_an_error_behind_a_save_does_not_hide_that_of_the_run(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("no such device")

    with (
        pytest.warns(CheckpointWarning, match="step 1 was not saved"),
        pytest.raises(ZeroDivisionError),
        Checkpoints(tmp_path) as checkpoints,
    ):
        monkeypatch.setattr(
            checkpoints._disk._manager._checkpointer._handler, "finalize", broken
        )
        save(checkpoints, 1)
        raise ZeroDivisionError


def test_closed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.close()
    checkpoints.close()
    with pytest.raises(CheckpointError, match="are closed"):
        save(checkpoints, 1)


# Kills


def test_killed_at_any_moment(tmp_path):
    script = """
        c = Checkpoints(sys.argv[2], best_metric="m")
        restored = c.restore(state(0))
        step = restored.step if restored else 0
        print("ready", flush=True)
        while True:
            step += 1
            c.save(step, state(step), meta={"at": step}, metrics={"m": step % 5})
            if step % 3 == 0:
                c.save(step, state(step), meta={"at": step, "again": True})
            print(step, flush=True)
    """

    def state(step):
        rng = np.random.default_rng(step)
        return {f"{i}": rng.normal(size=(200, 100)) for i in range(20)}

    rng, reached = random.Random(0), 0
    for _ in range(7):
        process = run(script, tmp_path)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        told = [process.stdout.readline() for _ in range(rng.randrange(4))]
        time.sleep(0.15 * rng.random())
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().splitlines()
        process.communicate()
        with Checkpoints(tmp_path, best_metric="m") as checkpoints:
            left = [p.name for p in tmp_path.iterdir() if not p.name.isdigit()]
            assert left == []
            restored = checkpoints.restore(state(0))
            if told:  # a save returns when the one before it is on disk
                assert restored.step >= int(told[-1]) - 1
            if restored is not None:
                assert restored.step >= reached
                reached = restored.step
                assert_same(restored.state, state(reached))
                assert restored.meta["at"] == reached
                best = checkpoints.best_step()
                assert_same(checkpoints.restore_best(state(0)).state, state(best))
    assert reached > 7


def test_the_meta_on_disk_is_plain_json(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
    body = json.loads(json.loads((tmp_path / "1/meta/metadata").read_text())["body"])
    assert body["format"] == 1
    assert list(body["leaves"]) == ["b", "step", "w"]

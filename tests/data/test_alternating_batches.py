"""Batches of one task each."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax import build, build_data, config, data, models

GROUPS = (6, 12, 30)


def order(**options):
    return data.AlternatingBatches(GROUPS, 3, **{"seed": 1, **options})


def groups_of(found, steps):
    ends = np.cumsum(GROUPS)
    rows = [np.searchsorted(ends, found.indices(i), side="right") for i in range(steps)]
    assert all(len(set(row)) == 1 for row in rows), "one task a batch"
    assert [found.group(i) for i in range(steps)] == [row[0] for row in rows]
    return [int(row[0]) for row in rows]


def test_tasks_take_turns_and_each_goes_through_its_examples():
    found = order()
    assert found.steps_per_epoch == 16
    assert groups_of(found, 7) == [0, 1, 2, 0, 1, 2, 0]
    first = np.concatenate([found.indices(i) for i in (0, 3)])
    assert sorted(first) == list(range(6)), "all once"
    assert sorted(np.concatenate([found.indices(i) for i in (6, 9)])) == list(range(6))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 1e6])
def test_shares_are_powers_of_the_lengths(temperature):
    found = order(policy="sampled", temperature=temperature)
    shares = np.array(GROUPS) ** (1 / temperature)
    for epoch in range(3):
        steps = [found.group(16 * epoch + i) for i in range(16)]
        counts = np.bincount(steps, minlength=3)
        assert np.all(np.abs(counts - 16 * shares / shares.sum()) < 1)
    assert [found.group(i) for i in range(16)] != [
        found.group(16 + i) for i in range(16)
    ]
    groups_of(found, 16)


def test_no_example_is_passed_over_from_epoch_to_epoch():
    found = order(policy="sampled")  # 2, 4 and 10 steps of 3 examples
    for epoch in range(2):
        rows = np.concatenate([found.indices(16 * epoch + i) for i in range(16)])
        assert sorted(rows) == list(range(48))


def test_an_order_is_a_function_of_the_step():
    for options in ({}, {"policy": "sampled", "temperature": 2.0}):
        one, other = order(**options), order(**options)
        for step in (40, 3, 17):
            assert one.indices(step).tolist() == other.indices(step).tolist()
    with pytest.raises(ValueError, match=r"temperature was 1.0, is 2.0"):
        order(policy="sampled", temperature=2.0).check_position(
            order(policy="sampled").position(5)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 7}, "Set batch_size to at most 6"),
        ({"policy": "sample"}, "Did you mean 'sampled'"),
        ({"temperature": 2.0}, "it is of 'sampled' alone"),
        ({"policy": "sampled", "temperature": 0.0}, "must be positive"),
        ({"seed": -1}, "seed -1 is negative"),
        ({"groups": (8, 8, 8), "batch_size": 12}, "Set batch_size to at most 8"),
        ({"groups": (8,) * 3 + (9,), "batch_size": 9}, "Set batch_size to at most 8"),
    ],
)
def test_errors_of_alternating_batches(options, message):
    arguments = {"groups": GROUPS, "batch_size": 3, "seed": 0, **options}
    groups, size = arguments.pop("groups"), arguments.pop("batch_size")
    with pytest.raises(ValueError, match=message):
        data.AlternatingBatches(groups, size, **arguments)


def own(name, count):
    rng = np.random.default_rng(count)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    return data.from_splits((x, {name: (x[:, 0] > 0).astype(np.int32)}))


def test_a_step_trains_one_task_and_a_run_resumes_exactly(tmp_path):
    both = data.per_task({"a": own("a", 24), "b": own("b", 40)}, policy="round_robin")
    tasks = (mtl.binary("a"), mtl.binary("b"))
    net = models.HardSharing(models.MLP((4,)), {t.name: nn.Dense(1) for t in tasks})

    def fit(epochs, workdir=None):
        return mtl.fit(
            net,
            tasks,
            both,
            epochs=epochs,
            batch_size=8,
            parallel="jit",
            log_every=1,
            steps_per_call=1,
            workdir=workdir,
        )

    whole = fit(2)
    rows = [row for row in whole.history if row["split"] == "train"]
    assert [sorted(k for k in row if k.endswith("/weight")) for row in rows[:2]] or rows
    trained = [[t for t in "ab" if row.get(f"{t}/weight") == 1] for row in rows]
    assert trained[:4] == [["a"], ["b"], ["a"], ["b"]]
    fit(1, tmp_path)
    resumed = fit(2, tmp_path)
    for one, other in zip(
        jax.tree.leaves(whole.state.shared),
        jax.tree.leaves(resumed.state.shared),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_settings_have_the_temperature(monkeypatch):
    joined = data.per_task({"a": own("a", 24), "b": own("b", 40)}, policy="sampled")
    monkeypatch.setattr(build_data, "_load", lambda _: joined)
    settings = config.Config("x", config.DataConfig("own", temperature=5.0))
    found = data.order(build.build_data(settings).train, 8, seed=0)
    assert (found.policy, found.temperature) == ("sampled", 5.0)
    blocks = dataclasses.replace(joined.train, policy="max", temperature=5.0)
    with pytest.raises(ValueError, match="the policy 'max'; it is of 'sampled' alone"):
        data.order(blocks, 8, seed=0)

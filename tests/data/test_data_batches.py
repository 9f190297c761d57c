import json

import numpy as np
import pytest

from mtl_jax import data


def test_an_epoch_repeats_nothing():
    batches = data.Batches(10, 3, seed=0)
    assert batches.steps_per_epoch == 3
    for epoch in range(4):
        steps = range(3 * epoch, 3 * epoch + 3)
        rows = np.concatenate([batches.indices(step) for step in steps])
        assert len(set(rows.tolist())) == 9
        assert rows.dtype == np.int64


def test_the_order_is_a_function_of_seed_and_step():
    forwards = data.Batches(100, 7, seed=5)
    backwards = data.Batches(100, 7, seed=5)
    seen = {step: forwards.indices(step).copy() for step in range(60)}
    for step in reversed(range(60)):
        np.testing.assert_array_equal(backwards.indices(step), seen[step])
    other = data.Batches(100, 7, seed=6)
    assert not np.array_equal(other.indices(0), seen[0])
    assert not np.array_equal(seen[0], seen[14])  # another epoch, another order


def test_the_order_is_this_one_for_ever():
    # A changed order would break every run that is resumed after an upgrade.
    assert data.Batches(10, 4, seed=7).indices(3).tolist() == [7, 1, 3, 4]


def test_unshuffled_is_the_order_of_the_data():
    batches = data.Batches(7, 3, seed=0, shuffle=False)
    found = [batches.indices(step).tolist() for step in range(3)]
    assert found == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


def test_nobody_can_change_the_order():
    with pytest.raises(ValueError, match="read-only"):
        data.Batches(10, 4, seed=0).indices(0)[0] = 3


def test_too_large_a_batch():
    with pytest.raises(ValueError) as caught:
        data.Batches(100, 128, seed=0)
    assert str(caught.value) == (
        "a batch of 128 is larger than the set of 100 examples. Set batch_size to at "
        "most 100."
    )
    for bad in ({"batch_size": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match=r"batch_size 0|seed -1"):
            data.Batches(100, **{"batch_size": 4, "seed": 0, **bad})
    with pytest.raises(ValueError, match="step -1 is negative"):
        data.Batches(100, 4, seed=0).indices(-1)


def test_position_survives_json_and_resumes():
    batches = data.Batches(100, 8, seed=3)
    saved = json.loads(json.dumps(batches.position(29)))
    assert (saved["epoch"], saved["batch_in_epoch"]) == (2, 5)
    resumed = data.Batches(100, 8, seed=3)
    resumed.check_position(saved)
    step = saved["epoch"] * resumed.steps_per_epoch + saved["batch_in_epoch"]
    np.testing.assert_array_equal(resumed.indices(step), batches.indices(29))


@pytest.mark.parametrize(
    ("present", "texts"),
    [
        (data.Batches(100, 4, seed=3), ["batch_size was 8, is 4"]),
        (data.Batches(100, 8, seed=4), ["seed was 3, is 4"]),
        (data.Batches(90, 8, seed=3), ["num_examples was 100, is 90"]),
        (data.Batches(100, 8, seed=3, shuffle=False), ["shuffle was True, is False"]),
        (data.Batches(99, 4, seed=3), ["batch_size was 8, is 4", "num_examples was"]),
    ],
)
def test_another_order_cannot_be_resumed(present, texts):
    saved = data.Batches(100, 8, seed=3).position(29)
    with pytest.raises(ValueError, match="cannot resume") as caught:
        present.check_position(saved)
    assert all(text in str(caught.value) for text in texts)
    fields = ("batch_size was", "seed was", "num_examples was", "shuffle was")
    named = sum(field in str(caught.value) for field in fields)
    assert named == len(texts)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 16])
def test_evaluation_sees_every_example_once(batch_size):
    mask = np.arange(10) % 2 == 0
    source = data.ArraySource(
        np.arange(10, 20)[:, None], {"y": np.arange(10)}, {"y": mask}
    )
    batches = list(data.evaluation_batches(source, batch_size))
    seen = []
    for batch in batches:
        assert batch["inputs"].shape == (batch_size, 1)
        assert batch["valid"].dtype == np.bool_
        assert (batch["inputs"][~batch["valid"]] == 10).all()  # example 0
        seen += batch["labels"]["y"][batch["valid"]].tolist()
        np.testing.assert_array_equal(batch["masks"]["y"], mask[batch["labels"]["y"]])
    assert seen == list(range(10))
    assert len(batches) == -(-10 // batch_size)


def test_evaluation_refuses_at_once():
    source = data.ArraySource(np.eye(3), {"y": np.arange(3)})
    with pytest.raises(ValueError, match="batch_size 0"):
        data.evaluation_batches(source, 0)

"""Inputs by name, groups of examples, and sets joined task by task."""

import collections
import dataclasses

import numpy as np
import pytest

from mtl_jax import data


def test_inputs_by_name_are_taken_checked_and_split():
    table = {"numeric": np.eye(10, 3), "categories": np.arange(20).reshape(10, 2)}
    dataset = data.from_arrays(table, {"y": np.arange(10)}, fractions=(0.6, 0.2, 0.2))
    assert (len(dataset.train), len(dataset.test)) == (6, 2)
    batch = dataset.train.take([1, 0])
    rows = batch["labels"]["y"]
    np.testing.assert_array_equal(batch["inputs"]["numeric"], table["numeric"][rows])
    np.testing.assert_array_equal(
        batch["inputs"]["categories"], table["categories"][rows]
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "inputs are an empty mapping: name at least one array"),
        ({"a": np.ones(3), "b": np.ones(2)}, "lengths differ: input 'a' 3, but input"),
        ({"a": np.array(["x", "y"])}, "input 'a' has dtype <U1"),
        ({"a": np.array([1.0, np.nan])}, "input 'a': 1 of 2 examples hold non-finite"),
        ({"a": np.ones((0, 2))}, r"inputs are empty: shape \(0, 2\)"),
    ],
)
def test_bad_inputs_by_name_are_clear_errors(inputs, message):
    length = len(next(iter(inputs.values()), []))
    with pytest.raises(ValueError, match=message):
        data.ArraySource(inputs, {"y": np.zeros(length, int)})


def test_splits_have_inputs_of_the_same_names_and_shapes():
    train = data.ArraySource({"a": np.ones((2, 3))}, {"y": np.zeros(2)})
    test = data.ArraySource({"b": np.ones((2, 3))}, {"y": np.zeros(2)})
    with pytest.raises(ValueError, match=r"an input of train has shape \{'a': \(3,\)"):
        data.Dataset("odd", train, test=test)


def seen(order, steps):
    return np.concatenate([order.indices(step) for step in range(steps)])


@pytest.mark.parametrize("policy", ["max", "min", "proportional"])
def test_every_batch_has_its_share_of_every_group(policy):
    groups, size = (5, 12, 31), 12
    order = data.GroupedBatches(groups, size, seed=3, policy=policy)
    assert sum(order.shares) == size
    if policy == "proportional":
        assert order.shares == (2, 3, 7)
    starts = np.cumsum((0, *groups))
    for step in range(3 * order.steps_per_epoch):
        rows = order.indices(step)
        assert len(rows) == size
        group = np.searchsorted(starts, rows, side="right") - 1
        assert tuple(np.bincount(group, minlength=3)) == order.shares
        # Each third of the batch, a device's part, has about a third of each group.
        for part in group.reshape(3, -1):
            counts = np.bincount(part, minlength=3)
            assert (abs(counts - np.array(order.shares) / 3) < 1.01).all()


def test_epochs_are_as_long_as_the_policy_says():
    longest = data.GroupedBatches((4, 12), 4, seed=0, policy="max")
    shortest = data.GroupedBatches((4, 12), 4, seed=0, policy="min")
    assert (longest.steps_per_epoch, shortest.steps_per_epoch) == (6, 2)
    counts = collections.Counter(seen(longest, 6).tolist())
    assert {counts[i] for i in range(4)} == {3}, "the short group came three times"
    assert {counts[i] for i in range(4, 16)} == {1}
    # Three short epochs: the longer group goes on and is seen as a whole.
    counts = collections.Counter(seen(shortest, 6).tolist())
    assert {counts[i] for i in range(4, 16)} == {1}


def test_each_turn_of_a_group_is_another_permutation():
    order = data.GroupedBatches((8, 8), 4, seed=1)
    first, second = (
        seen(order, 4),
        np.concatenate([order.indices(s) for s in (4, 5, 6, 7)]),
    )
    assert sorted(first) == sorted(second) == list(range(16))
    assert first.tolist() != second.tolist()
    again = data.GroupedBatches((8, 8), 4, seed=1)
    assert again.indices(6).tolist() == order.indices(6).tolist(), "a function of step"
    other = data.GroupedBatches((8, 8), 4, seed=2)
    assert other.indices(0).tolist() != order.indices(0).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(groups=(4, 4), batch_size=1), "cannot have an example of each of the 2"),
        (dict(groups=(4, 4), batch_size=5), "Set batch_size to 4 or 6"),
        (dict(groups=(2, 9), batch_size=6), "takes 3 examples of group 0, which has 2"),
        (dict(groups=(4, 0), batch_size=2), "each needs one example at least"),
        (dict(groups=(4, 4), batch_size=2, policy="mux"), "Did you mean 'max'"),
        (dict(groups=(4, 4), batch_size=2, seed=-1), "seed -1 is negative"),
    ],
)
def test_groups_that_make_no_batch_are_clear_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.GroupedBatches(**{"seed": 0, **arguments})


def test_a_position_of_another_order_is_refused():
    saved = data.GroupedBatches((4, 8), 4, seed=0).position(5)
    data.GroupedBatches((4, 8), 4, seed=0).check_position(saved)
    with pytest.raises(ValueError, match=r"groups was \[4, 8\], is \[8, 4\]"):
        data.GroupedBatches((8, 4), 4, seed=0).check_position(saved)
    with pytest.raises(ValueError, match="policy was max, is min"):
        data.GroupedBatches((4, 8), 4, seed=0, policy="min").check_position(saved)


def words(length, count, label, classes=2):
    rng = np.random.default_rng(length)
    tokens = rng.integers(1, 9, (count, length)).astype(np.int32)
    return data.from_splits(
        ({"tokens": tokens}, {label: rng.integers(0, classes, count)}),
        test=({"tokens": tokens[:2]}, {label: np.zeros(2, int)}),
        name=label,
    )


def test_a_task_whose_examples_are_all_left_out_is_a_clear_error():
    source = data.ArraySource(np.eye(6), {"a": np.arange(6)}, groups=(5, 1))
    with pytest.raises(ValueError, match=r"groups of \(3, 0\) examples.* is empty"):
        data.order(source.select([0, 1, 2]), 1, seed=0)


def test_sets_of_several_tasks_become_one():
    joined = data.per_task({"one": words(3, 4, "a"), "two": words(5, 6, "b")})
    assert joined.train.groups == (4, 6)
    assert joined.test.groups == (2, 2)
    tokens = joined.train.inputs["tokens"]
    assert tokens.shape == (10, 5)
    assert (tokens[:4, 3:] == 0).all()
    assert (tokens[:4, :3] == words(3, 4, "a").train.inputs["tokens"]).all()
    assert joined.train.masks["a"].tolist() == [True] * 4 + [False] * 6
    assert joined.train.masks["b"].tolist() == [False] * 4 + [True] * 6
    order = data.order(joined.train, 4, seed=0)
    assert isinstance(order, data.GroupedBatches)
    assert order.policy == "max"


def test_what_the_sets_say_of_themselves_is_joined():
    def with_facts(label, vocabulary, classes):
        whole = words(3, 4, label)
        tasks = {label: {"kind": "classification", "num_classes": classes}}
        facts = {"tasks": tasks, "model": {"vocabulary": vocabulary}, "own": label}
        return dataclasses.replace(whole, facts=facts)

    joined = data.per_task({"x": with_facts("a", 9, 2), "y": with_facts("b", 9, 3)})
    assert joined.facts["model"] == {"vocabulary": 9}
    assert [t["num_classes"] for t in joined.facts["tasks"].values()] == [2, 3]
    assert joined.facts["y"] == {"own": "b"}
    with pytest.raises(ValueError, match="say different things of 'vocabulary'"):
        data.per_task({"x": with_facts("a", 9, 2), "y": with_facts("b", 8, 3)})
    with pytest.raises(ValueError, match="say different things of 'a'"):
        data.per_task({"x": with_facts("a", 9, 2), "y": with_facts("a", 9, 3)})


def test_sets_with_the_same_label_are_one_task():
    joined = data.per_task({"one": words(3, 4, "a"), "two": words(3, 6, "a")})
    assert list(joined.train.labels) == ["a"]
    assert joined.train.masks["a"].all()


def test_masks_of_the_sets_stay():
    known = np.array([True, False, True])
    masked = data.from_splits((np.eye(3), {"a": np.arange(3)}, {"a": known}))
    whole = data.from_splits((np.eye(3), {"b": np.arange(3)}))
    joined = data.per_task({"masked": masked, "whole": whole})
    assert joined.train.masks["a"].tolist() == [True, False, True] + [False] * 3


def test_tags_are_padded_with_missing_ones():
    def tagged(length, label):
        tags = np.ones((2, length), np.int32)
        return data.from_splits(({"tokens": tags}, {label: tags}))

    joined = data.per_task({"one": tagged(2, "a"), "two": tagged(4, "a")})
    assert joined.train.labels["a"][0].tolist() == [1, 1, -1, -1]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({}, "per_task was given no sets"),
        (
            {
                "a": data.from_splits((np.eye(3), {"a": np.arange(3)})),
                "b": words(3, 2, "b"),
            },
            "the inputs of 'a' are",
        ),
        (
            {
                "a": data.from_splits((np.eye(3), {"a": np.arange(3)})),
                "b": data.from_splits((np.eye(4), {"b": np.arange(4)})),
            },
            r"inputs differ in shape between the sets: \(3,\), \(4,\)",
        ),
        (
            {
                "a": words(3, 2, "a"),
                "b": data.from_splits(
                    ({"tokens": np.ones((2, 3), np.int32)}, {"b": np.arange(2)})
                ),
            },
            "the sets b have no split 'test', which others have",
        ),
        (
            {
                "a": data.Dataset(
                    "a",
                    data.ArraySource(np.eye(2), {"a": np.ones(2)}, draws=np.ones(2)),
                )
            },
            "split 'train' of 'a' has draws",
        ),
    ],
)
def test_sets_that_do_not_go_together_are_clear_errors(sets, message):
    with pytest.raises(ValueError, match=message):
        data.per_task(sets)

import numpy as np
import pytest

from mtl_jax import data

LABEL = np.array([0] * 700 + [1] * 200 + [2] * 100)
INPUTS = np.arange(1000, dtype=np.float32)[:, None]


def test_every_example_is_in_one_split():
    made = data.from_arrays(INPUTS, {"y": LABEL}, masks={"y": LABEL > 0}, seed=3)
    parts = [made.split(name) for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [800, 100, 100]
    rows = np.concatenate([part.inputs[:, 0] for part in parts])
    np.testing.assert_array_equal(np.sort(rows), np.arange(1000))
    for part in parts:  # labels and masks moved along with their inputs
        at = part.inputs[:, 0].astype(int)
        np.testing.assert_array_equal(part.labels["y"], LABEL[at])
        np.testing.assert_array_equal(part.masks["y"], LABEL[at] > 0)


def test_the_seed_fixes_the_split():
    def rows(seed):
        return data.from_arrays(INPUTS, {"y": LABEL}, seed=seed).test.inputs[:, 0]

    np.testing.assert_array_equal(rows(1), rows(1))
    assert set(rows(1)) != set(rows(2))


def test_stratified_shares_are_exact():
    made = data.from_arrays(INPUTS, {"y": LABEL}, stratify="y")
    for name, counts in (("train", [560, 160, 80]), ("test", [70, 20, 10])):
        found = np.bincount(made.split(name).labels["y"])
        np.testing.assert_array_equal(found, counts)


def test_a_fraction_of_zero_leaves_the_split_out():
    made = data.from_arrays(INPUTS, {"y": LABEL}, fractions=(0.9, 0.0, 0.1))
    assert made.validation is None
    assert (len(made.train), len(made.test)) == (900, 100)


BAD = [
    ({"fractions": (0.8, 0.1)}, "expected three numbers"),
    ({"fractions": (0.8, 0.1, 0.2)}, "sum to 1.1"),
    ({"fractions": (0.0, 0.5, 0.5)}, "positive first one"),
    ({"stratify": "z"}, "unknown label to stratify by 'z'"),
    ({"stratify": "x"}, "cannot stratify by label 'x' of dtype float64"),
]


@pytest.mark.parametrize(("change", "text"), BAD)
def test_bad_requests(change, text):
    labels = {"y": LABEL, "x": LABEL + 0.5}
    with pytest.raises(ValueError) as caught:
        data.from_arrays(INPUTS, labels, **change)
    assert text in str(caught.value)


def test_too_few_examples_for_a_split():
    with pytest.raises(ValueError, match=r"split 'test' would be empty: 0\.1 of 4"):
        data.from_arrays(np.eye(4), {"y": np.arange(4)})


def test_from_splits():
    train = (np.eye(4), {"y": np.arange(4)}, {"y": np.array([1, 0, 1, 1], bool)})
    made = data.from_splits(train, test=(np.eye(4)[:2], {"y": np.arange(2)}))
    assert made.validation is None
    assert set(made.train.take([0])) == {"inputs", "labels", "masks"}
    assert set(made.test.take([0])) == {"inputs", "labels"}
    with pytest.raises(ValueError, match="split 'test' is a ndarray, expected the tup"):
        data.from_splits(train, test=np.eye(4))

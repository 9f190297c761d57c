import subprocess
import sys

import numpy as np
import pytest

from mtl_jax import data


def test_importing_data_stays_light():
    code = (
        "import sys, mtl_jax.data\n"
        "heavy = {'tensorflow_datasets', 'sklearn', 'grain', 'tensorflow', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_take_keeps_dtypes_and_rows():
    images = np.arange(48, dtype=np.uint8).reshape(6, 2, 4)
    mask = np.array([True, False, True, True, False, True])
    source = data.ArraySource(
        images, {"a": np.arange(6), "b": np.arange(12.0).reshape(6, 2)}, {"b": mask}
    )
    batch = source.take(np.array([4, 0, 4]))
    assert batch["inputs"].dtype == np.uint8
    np.testing.assert_array_equal(batch["inputs"], images[[4, 0, 4]])
    np.testing.assert_array_equal(batch["labels"]["a"], [4, 0, 4])
    assert batch["labels"]["b"].shape == (3, 2)
    np.testing.assert_array_equal(batch["masks"]["b"], [False, True, False])
    assert batch["masks"]["b"].dtype == np.bool_


def test_no_masks_no_key():
    source = data.ArraySource(np.eye(3), {"a": np.arange(3)})
    assert set(source.take([0])) == {"inputs", "labels"}


BAD = [
    ({"labels": {"a": np.arange(4)}}, "lengths differ: inputs 3, but label 'a' 4"),
    (
        {"masks": {"a": np.ones(2, bool)}},
        "lengths differ: inputs 3, but mask 'a' 2",
    ),
    ({"masks": {"b": np.ones(3, bool)}}, "mask 'b' belongs to no label. Labels: a."),
    ({"masks": {"a": np.ones(3)}}, "mask 'a' has dtype float64 and shape (3,)"),
    ({"masks": {"a": np.ones((3, 1), bool)}}, "shape (3, 1), expected bool (3,)"),
    ({"inputs": np.zeros((0, 2)), "labels": {"a": []}}, "inputs are empty"),
    ({"labels": {}}, "labels are empty"),
    (
        {"inputs": np.array([[1.0], [np.nan], [np.inf]])},
        "inputs: 2 of 3 examples hold non-finite values (NaN or infinity), the first "
        "at index 1",
    ),
    ({"labels": {"a": np.array(["x", "y", "z"])}}, "label 'a' has dtype <U1"),
    (
        {"labels": {"a": np.array([0.0, 1.0, np.nan])}},
        "label 'a': 1 of 3 examples hold non-finite values (NaN or infinity), the "
        "first at index 2. Mark missing labels with masks={'a': bool array}.",
    ),
]


@pytest.mark.parametrize(("change", "text"), BAD)
def test_bad_arrays_are_named(change, text):
    good = {"inputs": np.eye(3), "labels": {"a": np.arange(3)}, "masks": {}}
    data.ArraySource(**good)
    with pytest.raises(ValueError) as caught:
        data.ArraySource(**{**good, **change})
    assert text in str(caught.value)


def test_masked_labels_may_be_nan():
    labels = {"a": np.array([0.0, np.nan, 1.0])}
    data.ArraySource(np.eye(3), labels, {"a": np.array([True, False, True])})
    with pytest.raises(ValueError, match="first at index 1"):
        data.ArraySource(np.eye(3), labels, {"a": np.array([False, True, True])})


def test_splits_have_to_agree():
    train = data.ArraySource(np.eye(3), {"a": np.arange(3)})
    other = data.ArraySource(np.eye(3), {"b": np.arange(3)})
    wider = data.ArraySource(np.ones((3, 4)), {"a": np.arange(3)})
    with pytest.raises(ValueError, match="train has the labels a, test has b"):
        data.Dataset("d", train, None, other)
    with pytest.raises(ValueError, match=r"shape \(3,\), one of validation \(4,\)"):
        data.Dataset("d", train, wider)


def test_split_lists_those_present():
    train = data.ArraySource(np.eye(3), {"a": np.arange(3)})
    dataset = data.Dataset("d", train, None, train)
    assert dataset.split("test") is train
    for name in ("validation", "dev"):
        with pytest.raises(ValueError) as caught:
            dataset.split(name)
        assert f"no split {name!r}. Present: train, test." in str(caught.value)

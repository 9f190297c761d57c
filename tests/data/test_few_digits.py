"""Some digits with few examples, against a look at the images themselves."""

import numpy as np
import pytest

from mtl_jax import data
from mtl_jax.data.recipes import digit_images


@pytest.fixture(autouse=True)
def images(monkeypatch):
    """Stands in for MNIST: the first pixel is the digit, the second a number."""

    def splits(validation, data_dir):
        rng, found = np.random.default_rng(0), {}
        for name, count in (("train", 400), ("validation", validation), ("test", 60)):
            digits = rng.integers(0, 10, count)
            pictures = np.zeros((count, 28, 28), np.uint8)
            pictures[:, 0, 0], pictures[:, 0, 1] = digits, np.arange(count) % 250
            found[name] = digit_images.Digits(pictures, digits)
        return found

    monkeypatch.setattr(digit_images, "splits", splits)


def made(**arguments):
    return data.recipes.make("few_digits", validation=50, **arguments)


def test_classes_are_counted_from_the_first_and_odd_is_of_the_digit():
    found = made(first=5, last=9)
    for split in ("train", "validation", "test"):
        part = found.split(split)
        digits = part.inputs[:, 0, 0, 0].astype(int)
        assert set(digits) == {5, 6, 7, 8, 9}
        np.testing.assert_array_equal(part.labels["digit"], digits - 5)
        np.testing.assert_array_equal(part.labels["odd"], digits % 2)
    assert found.facts["tasks"]["digit"]["num_classes"] == 5


def test_few_examples_of_each_in_train_alone():
    found = made(per_class=7, seed=1)
    assert np.bincount(found.train.labels["digit"]).tolist() == [7] * 10
    assert len(found.test) == 60
    again, other = made(per_class=7, seed=1), made(per_class=7, seed=2)
    np.testing.assert_array_equal(found.train.inputs, again.train.inputs)
    assert not np.array_equal(found.train.inputs, other.train.inputs)


def test_few_labels():
    found = made(labelled=30)
    assert len(found.train) == 400
    assert found.train.masks["digit"].sum() == found.train.masks["odd"].sum() == 30
    assert not found.test.masks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": 4, "last": 4}, "the digits 4 to 4; give two or more"),
        ({"last": 10}, "the digits 0 to 10"),
        ({"per_class": 1000}, r"asked for 1000 images a digit; of the digit 0"),
        ({"labelled": 401}, "asked for 401 labelled images; there are 400"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        made(**arguments)

"""Augmentation within the step, and what it leaves alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import build, config, models
from mtl_jax.models import augmentations

KEY = jax.random.key(4)
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (40, 6, 5)), jnp.float32)


def test_a_shift_moves_and_fills_with_zeros():
    found = np.asarray(augmentations.shift(2)(KEY, IMAGES))
    seen = set()
    for one, image in zip(found, np.asarray(IMAGES), strict=True):
        wide = np.pad(image, 2)
        fits = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(wide[i : i + 6, j : j + 5], one)
        ]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) > 10
    whole = augmentations.shift(1)(KEY, jnp.ones((2, 4, 4, 3), jnp.uint8))
    assert whole.shape == (2, 4, 4, 3) and whole.dtype == jnp.uint8


def test_a_flip_mirrors_some():
    found = np.asarray(augmentations.flip(0.3)(KEY, IMAGES))
    images = np.asarray(IMAGES)
    turned = [np.array_equal(a, b[:, ::-1]) for a, b in zip(found, images, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(found, images, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert 3 < sum(turned) < 25


def test_a_crop_shows_a_window_of_a_ramp():
    ramp = jnp.broadcast_to(jnp.arange(16.0)[None, :, None], (30, 16, 16))
    found = np.asarray(augmentations.crop(0.5)(KEY, ramp))[:, :, 8]
    # Inside, a window of a ramp is a ramp of the slope of the window's side.
    inner = np.diff(found, axis=1)[:, 3:-3]
    sides = inner.mean(1)
    np.testing.assert_allclose(inner, sides[:, None] * np.ones(9), atol=1e-3)
    assert np.all((sides >= 0.499) & (sides <= 1.001)) and sides.std() > 0.05
    middle = found[:, 7:9].mean(1)
    half = sides * 8
    assert np.all((middle >= half - 0.51) & (middle <= 15.51 - half))


def test_noise_has_its_deviation():
    found = augmentations.noise(0.2)(KEY, jnp.zeros((50, 40), jnp.uint8))
    assert found.dtype == jnp.float32
    assert float(found.std()) == pytest.approx(0.2, rel=0.05)


def test_evaluation_is_left_alone_and_keys_decide():
    net = models.HardSharing(models.MLP((3,)), {"a": nn.Dense(1)})
    plain = models.from_linen(net)
    noisy = models.augmented(plain, [augmentations.noise(1.0)])
    v = noisy.init(KEY, IMAGES)

    def encoded(model, key, train):
        trunk = v.collections[0]
        return model.encode(v.shared, trunk, IMAGES, train=train, key=key)[0]

    for train, key in ((False, KEY), (True, None)):
        np.testing.assert_array_equal(
            encoded(noisy, key, train), encoded(plain, key, train)
        )
    one, again = encoded(noisy, KEY, True), encoded(noisy, KEY, True)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, encoded(noisy, jax.random.key(5), True))
    assert not np.array_equal(one, encoded(plain, KEY, True))


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (["shfit"], "binary", "Did you mean 'shift'"),
        ([{"name": "shift", "pixel": 1}], "binary", "'shift' does not take"),
        ([{"name": "shift", "pixels": 0}], "binary", "pixels=0; give 1"),
        ([{"name": "crop", "least": 0}], "binary", r"least=0; it is in \(0, 1\]"),
        ([{"name": "noise", "deviation": -1}], "binary", "it is not negative"),
        ([{"pixels": 1}], "binary", "give the name of an augmentation"),
        (["flip"], "segmentation", "labels of x would stay where they are"),
        (["flip"], "rotation", "after the images were turned"),
    ],
)
def test_errors_of_augmentations(given, kind, message):
    classes = 2 if kind == "segmentation" else None
    task = config.TaskConfig("x", kind, num_outputs=classes)
    with pytest.raises(ValueError, match=message):
        build.build_augmentations(given, [task])


def test_inputs_that_are_no_images():
    with pytest.raises(ValueError, match=r"found inputs of shape \[2, 3\]"):
        augmentations.flip()(KEY, jnp.ones((2, 3)))
    net = models.HardSharing(models.MLP((3,)), {"a": nn.Dense(1)})
    model = models.augmented(models.from_linen(net), [augmentations.noise()])
    with pytest.raises(ValueError, match="one array of inputs; this data set has x, y"):
        model.encode({}, (), {"x": IMAGES, "y": IMAGES}, train=True, key=KEY)

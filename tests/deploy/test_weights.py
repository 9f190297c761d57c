"""Narrow weights: their bytes, and how far they are from the wide ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.deploy import weights


def kernel(*shape):
    rng = np.random.default_rng(0)
    # Channels of different size: one scale for all would lose the small ones.
    return (rng.normal(size=shape) * 10.0 ** np.arange(shape[-1])).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "shape"), [("a/kernel", (7, 4)), ("query/kernel", (6, 2, 5))]
)
def test_int8_is_half_a_level_of_its_channel_away_at_most(name, shape):
    array = kernel(*shape)
    stored = weights.packed(name, array, "int8")
    levels, scale = stored[f"{name}:int8"], stored[f"{name}:scale"]
    assert levels.dtype == np.int8 and scale.dtype == np.float32
    top = np.array([np.abs(array[..., c]).max() for c in range(shape[-1])])
    np.testing.assert_allclose(scale, top / 127, rtol=1e-6)
    back = np.asarray(weights.unpacked(name, stored))
    for c in range(shape[-1]):
        assert np.abs(back[..., c] - array[..., c]).max() <= 0.5001 * scale[c]
    assert levels.min() >= -127, "symmetric"
    wanted = np.linalg.norm(back - array) / np.linalg.norm(array)
    found = weights.relative_error(name, array, stored)
    assert 0 < found == pytest.approx(wanted, 1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "copies"),
    [
        ("kernel", (2, 7, 4), 1),
        ("kernel", (3, 3, 2, 5), 1),
        ("matrices", (2, 3, 6, 4), 2),
    ],
)
def test_every_copy_of_a_layer_has_its_own_scales(name, shape, copies):
    """One of numbers that are a thousandth of the others' is as exact as they are."""
    array = kernel(*shape)
    array[0] *= 1e-3
    stored = weights.packed(name, array, "int8")
    back = np.asarray(weights.unpacked(name, stored))
    for i in np.ndindex(shape[:copies]):
        for c in range(shape[-1]):
            one = array[i][..., c]
            level = np.abs(one).max() / 127
            assert np.abs(back[i][..., c] - one).max() <= 0.5001 * level


def test_bfloat16_is_stored_as_bits_that_numpy_reads():
    array = kernel(7, 4)
    stored = weights.packed("kernel", array, "bfloat16")
    assert stored["kernel:bfloat16"].dtype == np.uint16
    back = np.asarray(weights.unpacked("kernel", stored))
    # Of a float32 the upper half is a bfloat16.
    bits = stored["kernel:bfloat16"].astype(np.uint32) << 16
    np.testing.assert_array_equal(back, bits.view(np.float32))
    assert np.abs(back / array - 1).max() <= 2.0**-8


@pytest.mark.parametrize("how", weights.WEIGHTS)
def test_what_stays_as_it_is(how):
    for array in (np.ones(5, np.float32), np.arange(6).reshape(2, 3), np.float32(2)):
        array = np.asarray(array)
        assert list(weights.packed("kernel", array, how)) == ["kernel"]
    # Of the columns of two tasks
    for name in ("bias", "BatchNorm_0/scale", "BatchNorm_0/mean", "BatchNorm_0/var"):
        assert list(weights.packed(name, kernel(2, 5), how)) == [name]
    zero = np.zeros((3, 2), np.float32)
    stored = weights.packed("kernel", zero, how)
    assert not np.asarray(weights.unpacked("kernel", stored)).any()
    assert weights.relative_error("kernel", zero, stored) == 0
    assert jnp.asarray(weights.unpacked("kernel", stored)).dtype == jnp.float32


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="unknown kind of weights 'int4'"):
        weights.packed("kernel", kernel(2, 2), "int4")

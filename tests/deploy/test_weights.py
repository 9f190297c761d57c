"""Narrow weights: their bytes, and how far they are from the wide ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.deploy import weights


def kernel(*shape):
    rng = np.random.default_rng(0)
    # Channels of different size: one scale for all would lose the small ones.
    return (rng.normal(size=shape) * 10.0 ** np.arange(shape[-1])).astype(np.float32)


@pytest.mark.parametrize("shape", [(7, 4), (3, 3, 2, 5)])
def test_int8_is_half_a_level_of_its_channel_away_at_most(shape):
    array = kernel(*shape)
    stored = weights.packed("w", array, "int8")
    levels, scale = stored["w:int8"], stored["w:scale"]
    assert levels.dtype == np.int8 and scale.dtype == np.float32
    top = np.array([np.abs(array[..., c]).max() for c in range(shape[-1])])
    np.testing.assert_allclose(scale, top / 127, rtol=1e-6)
    back = np.asarray(weights.unpacked("w", stored))
    for c in range(shape[-1]):
        assert np.abs(back[..., c] - array[..., c]).max() <= 0.5001 * scale[c]
    assert levels.min() >= -127, "symmetric"
    wanted = np.linalg.norm(back - array) / np.linalg.norm(array)
    assert 0 < weights.relative_error("w", array, stored) == pytest.approx(wanted, 1e-5)


def test_bfloat16_is_stored_as_bits_that_numpy_reads():
    array = kernel(7, 4)
    stored = weights.packed("w", array, "bfloat16")
    assert stored["w:bfloat16"].dtype == np.uint16
    back = np.asarray(weights.unpacked("w", stored))
    # Of a float32 the upper half is a bfloat16.
    bits = stored["w:bfloat16"].astype(np.uint32) << 16
    np.testing.assert_array_equal(back, bits.view(np.float32))
    assert np.abs(back / array - 1).max() <= 2.0**-8


@pytest.mark.parametrize("how", weights.WEIGHTS)
def test_what_stays_as_it_is(how):
    for array in (np.ones(5, np.float32), np.arange(6).reshape(2, 3), np.float32(2)):
        array = np.asarray(array)
        assert list(weights.packed("b", array, how)) == ["b"]
    zero = np.zeros((3, 2), np.float32)
    stored = weights.packed("z", zero, how)
    assert not np.asarray(weights.unpacked("z", stored)).any()
    assert weights.relative_error("z", zero, stored) == 0
    assert jnp.asarray(weights.unpacked("z", stored)).dtype == jnp.float32


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="unknown kind of weights 'int4'"):
        weights.packed("w", kernel(2, 2), "int4")

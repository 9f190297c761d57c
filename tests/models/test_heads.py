"""Heads read vectors, every pixel, or a part of a text."""

import jax
import numpy as np
import pytest

from mtl_jax import models
from mtl_jax.models import alike

RNG = np.random.default_rng(0)
TEXT = {
    "tokens": RNG.normal(size=(2, 7, 4)).astype(np.float32),
    "pooled": RNG.normal(size=(2, 4)).astype(np.float32),
}


@pytest.mark.parametrize("shape", [(2, 4), (2, 7, 4), (2, 5, 3, 4)])
def test_dense_layers_on_the_last_axis(shape):
    z = RNG.normal(size=shape).astype(np.float32)
    out, variables = models.Head(3, (6,)).init_with_output(jax.random.key(0), z)
    first, last = variables["params"]["Dense_0"], variables["params"]["Dense_1"]
    hidden = np.maximum(z @ first["kernel"] + first["bias"], 0)
    expected = hidden @ last["kernel"] + last["bias"]
    assert out.shape == (*shape[:-1], 3)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", ["tokens", "pooled"])
def test_reads_a_part(part):
    head = models.Head(3, reads=part)
    out, variables = head.init_with_output(jax.random.key(0), TEXT)
    expected = models.Head(3).apply(variables, TEXT[part])
    np.testing.assert_array_equal(out, expected)


def test_reads_what_there_is():
    def fails(head, z, text):
        with pytest.raises(ValueError) as error:
            head.init(jax.random.key(0), z)
        assert text in str(error.value)

    parts = "the parts pooled, tokens; give the head reads='pooled' or reads='tokens'"
    fails(models.Head(3), TEXT, parts)
    array = TEXT["pooled"]
    fails(models.Head(3, reads="tokens"), array, "'tokens' of a representation; found")
    fails(models.Head(3, reads="tokens"), array, "shape (2, 4). Take reads away")
    fails(models.Head(3, reads="token"), TEXT, "Did you mean 'tokens'?")


def test_heads_of_equal_fields_are_alike():
    heads = {
        "a": models.Head(3, (6,), reads="tokens"),
        "b": models.Head(3, (6,), reads="pooled"),
        "c": models.Head(3, (6,), reads="tokens"),
    }
    assert alike.groups(heads) == [["a", "c"], ["b"]]

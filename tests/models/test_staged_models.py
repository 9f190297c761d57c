"""Architectures of the stages of a trunk against their equations."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import CASES, CHAIN, X, heads, named_params, trunk
from test_expert_models import tower

from mtl_jax import models
from mtl_jax.models.cross_stitch import Stitch

T = len(CHAIN)
WORDS = {"tokens": jnp.array([[2, 3, 0], [4, 1, 2]])}


def column(stage, k, x):
    """A stage of one layer, of one column."""
    layer = stage["Dense_0"]
    return np.tanh(x @ layer["kernel"][k] + layer["bias"][k])


def cross_stitch(params, x):
    lower = params["trunk"]
    first = [column(lower["stages_0"], k, x) for k in range(T)]
    alpha = lower["stitch1"]["alpha"]
    read = [sum(alpha[k, j] * first[j] for j in range(T)) for k in range(T)]
    second = [column(lower["stages_1"], k, read[k]) for k in range(T)]
    outputs = {}
    for t in CHAIN:
        row = params[f"heads_{t}"]["stitch"]["alpha"]
        mixed = sum(row[j] * second[j] for j in range(T))
        outputs[t] = tower(params[f"heads_{t}"]["head"], mixed)
    return outputs


EQUATIONS = {"cross_stitch": cross_stitch}


@pytest.mark.parametrize("name", EQUATIONS)
def test_outputs_follow_the_equations(name):
    net = CASES[name](trunk())
    params = named_params(net)
    outputs = jax.jit(net.apply)({"params": jax.tree.map(jnp.float32, params)}, X)
    assert set(outputs) == set(CHAIN)
    for b, x in enumerate(np.float64(X)):
        expected = EQUATIONS[name](params, x)
        for t in CHAIN:
            np.testing.assert_allclose(outputs[t][b], expected[t], rtol=2e-4, atol=1e-5)


def test_stitches_begin_at_the_weights_of_the_paper():
    net = models.CrossStitch(models.MLP((4, 2)), heads())
    params = jax.jit(net.init)(jax.random.key(0), X)["params"]
    expected = np.full((3, 3), 0.05) + np.diag([0.85] * 3)
    np.testing.assert_allclose(params["trunk"]["stitch1"]["alpha"], expected)
    for t, row in zip(CHAIN, expected, strict=True):
        np.testing.assert_allclose(params[f"heads_{t}"]["stitch"]["alpha"], row)
    kernels = params["trunk"]["stages_0"]["Dense_0"]["kernel"]
    assert not np.allclose(kernels[0], kernels[1]), "columns differ"
    alone = models.CrossStitch(models.MLP((4,)), {"a": nn.Dense(1)})
    params = jax.jit(alone.init)(jax.random.key(0), X)["params"]
    np.testing.assert_array_equal(params["heads_a"]["stitch"]["alpha"], [1])


def test_a_stitch_by_channels():
    rng = np.random.default_rng(1)
    alpha = rng.normal(size=(2, 2, 3)).astype(np.float32)
    x = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    text = {"tokens": x, "present": np.ones((2, 5, 4), bool)}
    stitch = Stitch(np.eye(2).tolist(), per_channel=True)
    found = stitch.apply({"params": {"alpha_tokens": alpha}}, text)
    np.testing.assert_array_equal(found["present"], text["present"])
    for k in range(2):
        for c in range(3):
            expected = alpha[k, 0, c] * x[0, ..., c] + alpha[k, 1, c] * x[1, ..., c]
            np.testing.assert_allclose(
                found["tokens"][k, ..., c], expected, rtol=1e-4, atol=1e-6
            )
    (begun,) = stitch.init(jax.random.key(0), x)["params"].values()
    assert np.array_equal(begun, np.broadcast_to(np.eye(2)[..., None], (2, 2, 3)))


STAGED = {
    "cross_stitch": lambda trunk, heads: models.CrossStitch(
        trunk, heads, per_channel=True
    ),
}
"""By name, a function of a trunk and heads."""


@pytest.mark.parametrize("name", STAGED)
def test_of_a_text_words_and_the_whole_are_read(name):
    """With vectors that are frozen, of which there is one table for all."""
    trunk = models.BagOfEmbeddings(5, 4, (3, 3), vectors=np.ones((5, 4)), freeze=True)
    towers = {
        "tags": models.Head(2, reads="tokens"),
        "topic": models.Head(1, reads="pooled"),
    }
    model = models.from_linen(STAGED[name](trunk, towers))
    variables = jax.eval_shape(model.init, jax.random.key(0), WORDS)
    outputs, _ = jax.eval_shape(model.apply, *variables, WORDS)
    assert {t: o.shape for t, o in outputs.items()} == {
        "tags": (2, 3, 2),
        "topic": (2, 1),
    }
    frozen = jax.tree.leaves(variables.collections[0]["frozen"])
    assert [leaf.shape for leaf in frozen] == [(5, 4)]


@pytest.mark.parametrize("name", STAGED)
def test_of_an_image_every_pixel_is_read(name):
    images = jnp.ones((2, 4, 4, 3))
    trunk = models.DilatedCNN(4, (1, 2), batch_norm=True)
    model = models.from_linen(STAGED[name](trunk, heads()))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs, after = jax.eval_shape(
        lambda *v: model.apply(*v, images, train=True, key=jax.random.key(0)),
        *variables,
    )
    found = getattr(outputs["buy"], "outputs", outputs["buy"])
    assert found.shape == (2, 4, 4, 1)
    assert "batch_stats" in after[0]
    assert jax.tree.structure(after) == jax.tree.structure(variables.collections)


@pytest.mark.parametrize("name", STAGED)
def test_a_trunk_that_is_none(name):
    with pytest.raises(ValueError, match="the stages of a trunk were asked for"):
        STAGED[name](None, heads())

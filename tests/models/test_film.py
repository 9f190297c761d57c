"""FiLM against its equation, and what of a text it conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import CASES, CHAIN, X, heads, named_params, trunk
from equations import dense, relu, tower

from mtl_jax import models

TEXT = {"tokens": jnp.array([[2, 3, 0], [4, 1, 2]])}


def modulated(x, generator, embedding):
    """Half of what is generated is the scale, the other the shift."""
    both = dense(generator, embedding)
    return (1 + both[: len(x)]) * x + both[len(x) :]


def film(params, x, layers):
    z = np.tanh(dense(params["trunk"]["Dense_0"], x))
    shared, outputs = params["conditioned"], {}
    for task in CHAIN:
        embedding, h = params[f"embeddings_{task}"], z
        if not layers:
            h = modulated(h, shared["generator"], embedding)
        for i in range(layers):
            h = dense(shared[f"layers_{i}"], h)
            h = relu(modulated(h, shared[f"generators_{i}"], embedding))
        outputs[task] = tower(params[f"heads_{task}"], h)
    return outputs


@pytest.mark.parametrize("name, layers", [("film", 0), ("film_layers", 2)])
def test_outputs_follow_the_equation(name, layers):
    net = CASES[name](trunk())
    params = named_params(net)
    outputs = jax.jit(net.apply)({"params": jax.tree.map(jnp.float32, params)}, X)
    for b, x in enumerate(np.float64(X)):
        expected = film(params, x, layers)
        for task in CHAIN:
            np.testing.assert_allclose(
                outputs[task][b], expected[task], rtol=2e-4, atol=1e-5
            )


def test_every_pixel_is_modulated_alike():
    net = models.FiLM(models.DilatedCNN(3, (1,)), {t: models.Head(1) for t in CHAIN}, 2)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 3)))
    outputs, variables = jax.jit(net.init_with_output)(jax.random.key(0), images)
    params = variables["params"]
    z = models.DilatedCNN(3, (1,)).apply({"params": params["trunk"]}, images)
    both = dense(params["conditioned"]["generator"], params["embeddings_buy"])
    expected = dense(params["heads_buy"]["Dense_0"], (1 + both[:3]) * z + both[3:])
    np.testing.assert_allclose(outputs["buy"], expected, rtol=1e-4, atol=1e-6)


def test_the_parts_of_a_text_that_are_read():
    net = models.FiLM(
        models.BagOfEmbeddings(5, 4, (3,)),
        {
            "topic": models.Head(2, reads="pooled"),
            "mood": models.Head(2, reads="pooled"),
            "tag": models.Head(3, reads="tokens"),
        },
    )
    outputs, variables = jax.eval_shape(net.init_with_output, jax.random.key(0), TEXT)
    shapes = {task: out.shape for task, out in outputs.items()}
    assert shapes == {"topic": (2, 2), "mood": (2, 2), "tag": (2, 3, 3)}
    params = variables["params"]
    assert params["conditioned_pooled"]["generator"]["kernel"].shape == (16, 6)
    assert params["conditioned_tokens"]["generator"]["kernel"].shape == (16, 8)
    assert net.shared_names == ("trunk", "conditioned_pooled")
    model = models.from_linen(net)
    found = jax.eval_shape(model.init, jax.random.key(0), TEXT)
    assert "conditioned_tokens" in found.specific, "of the one task that reads words"


@pytest.mark.parametrize(
    "net, inputs, text",
    [
        (models.FiLM(trunk(), heads(), 0), X, "embedding_features=0; give a task at"),
        (
            models.FiLM(models.BagOfEmbeddings(5, 4), heads()),
            TEXT,
            r"FiLM reads one array .* a head reads None. Give heads that name",
        ),
        (
            models.FiLM(trunk(), {"a": models.Head(1, reads="words")}),
            X,
            r"gives an array of shape \(8, 6\).*and a head reads 'words'",
        ),
    ],
)
def test_what_is_not_conditioned(net, inputs, text):
    with pytest.raises(ValueError, match=text):
        jax.eval_shape(net.init, jax.random.key(0), inputs)

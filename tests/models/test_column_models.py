"""Networks of the tasks side by side, against their equations, example by example."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import CASES, CHAIN, X, heads, named_params, start, trunk
from equations import dense, row, softmax, tower

from mtl_jax import models
from mtl_jax.models.trace_norm import trace_norm

TEXT = {"tokens": jnp.array([[2, 3, 0], [4, 1, 2]])}


def of_texts():
    """A head of texts and one of their words."""
    return {
        "topic": models.Head(2, reads="pooled"),
        "tag": models.Head(3, reads="tokens"),
    }


def network(params, x):
    """The trunk of `architecture_cases`."""
    return np.tanh(dense(params["Dense_0"], x))


def applied(net, params, train=True):
    params = jax.tree.map(jnp.float32, params)
    return jax.jit(net.apply, static_argnums=2)({"params": params}, X, train)


def check_outputs(outputs, expected):
    """`expected`: a function of one example."""
    for b, x in enumerate(np.float64(X)):
        for task, value in expected(x).items():
            found = getattr(outputs[task], "outputs", outputs[task])[b]
            np.testing.assert_allclose(found, value, rtol=2e-4, atol=1e-5)


def l2(leaves):
    rows = np.concatenate([leaf.reshape(3, -1) for leaf in leaves], axis=1)
    return 0.1 * np.sum((rows - rows.mean(0)) ** 2, axis=1)


def norms(leaves):
    """By the singular values' definition: roots of the eigenvalues of `M Mᵀ`."""
    total = 0
    for leaf in leaves:
        rows = leaf.reshape(3, -1)
        total += np.sum(np.sqrt(np.maximum(np.linalg.eigvalsh(rows @ rows.T), 0)))
    return np.full(3, 0.1 * total / 3)


@pytest.mark.parametrize("name, penalty", [("soft_sharing", l2), ("trace_norm", norms)])
def test_soft_sharing(name, penalty):
    net = CASES[name](trunk())
    params = named_params(net)
    outputs = applied(net, params)

    def expected(x):
        return {
            task: tower(params[f"heads_{task}"], network(row(params["trunk"], k), x))
            for k, task in enumerate(CHAIN)
        }

    check_outputs(outputs, expected)
    terms = penalty(jax.tree.leaves(params["trunk"]))
    for k, task in enumerate(CHAIN):
        np.testing.assert_allclose(outputs[task].penalty, terms[k], rtol=1e-5)
    assert not isinstance(applied(net, params, False)["buy"], models.Penalised)


def test_the_l2_of_two_tasks_is_that_of_their_distance():
    net = models.SoftSharing(trunk(), {"a": nn.Dense(1), "b": nn.Dense(1)}, strength=6)
    params = named_params(net)
    total = sum(out.penalty[0] for out in applied(net, params).values())
    away = [leaf[0] - leaf[1] for leaf in jax.tree.leaves(params["trunk"])]
    np.testing.assert_allclose(total, 3 * sum(np.sum(a**2) for a in away), rtol=1e-5)


@pytest.mark.parametrize("equal", [False, True])
def test_trunks_start_apart_or_equal(equal):
    net = models.SoftSharing(nn.Dense(6), heads(), equal_start=equal)
    kernel = jax.jit(net.init)(jax.random.key(0), X)["params"]["trunk"]["kernel"]
    assert kernel.shape == (3, 5, 6)
    for other in (1, 2):
        assert np.array_equal(kernel[0], kernel[other]) == equal


def test_the_trace_norm_has_a_gradient_everywhere():
    rng = np.random.default_rng(0)
    matrix = jnp.asarray(rng.normal(size=(3, 5)), jnp.float32)
    step = jnp.asarray(rng.normal(size=(3, 5)), jnp.float32)
    slope = jax.jvp(trace_norm, (matrix,), (step,))[1]
    values = [np.linalg.norm(matrix + h * step, "nuc") for h in (1e-3, -1e-3)]
    np.testing.assert_allclose(slope, (values[0] - values[1]) / 2e-3, rtol=1e-3)
    np.testing.assert_allclose(
        jnp.vdot(jax.grad(trace_norm)(matrix), step), slope, rtol=1e-5
    )
    repeated = jnp.eye(3, 5)
    np.testing.assert_allclose(jax.grad(trace_norm)(repeated), repeated, atol=1e-6)
    equal = jnp.tile(matrix[:1], (3, 1))
    expected = equal / np.linalg.norm(equal)
    np.testing.assert_allclose(jax.grad(trace_norm)(equal), expected, atol=1e-6)
    assert not np.any(jax.grad(trace_norm)(jnp.zeros((2, 4))))


def test_trunks_of_texts_with_state_and_frozen_vectors():
    vectors = np.ones((5, 4), np.float32)
    net = models.SoftSharing(
        models.BagOfEmbeddings(5, 3, vectors=vectors, freeze=True), of_texts()
    )
    outputs, variables = net.init_with_output(jax.random.key(0), TEXT)
    assert {t: o.shape for t, o in outputs.items()} == {
        "topic": (2, 2),
        "tag": (2, 3, 3),
    }
    (frozen,) = jax.tree.leaves(variables["frozen"])
    assert frozen.shape == (5, 4)
    net = models.SoftSharing(models.MLP((4,), batch_norm=True), heads())
    model = models.from_linen(net)
    variables = model.init(jax.random.key(0), X)
    _, changed = model.apply(*variables, X, train=True)
    mean = changed[0]["batch_stats"]["trunk"]["BatchNorm_0"]["mean"]
    kernel = variables.shared["trunk"]["Dense_0"]["kernel"]
    expected = 0.01 * np.einsum("bi,tij->btj", X, kernel).mean(0)
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)


def test_soft_sharing_in_half_precision():
    _, model, variables = start("trace_norm")
    narrow = models.in_dtype(model, "bfloat16")
    outputs, _ = jax.jit(narrow.apply, static_argnames="train")(
        *variables, X, train=True
    )
    assert outputs["buy"].penalty.dtype == jnp.float32


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"penalty": "l1"}, "unknown penalty of soft sharing 'l1'"),
        ({"strength": 0.0}, r"strength=0.0; it is above 0. Tasks that are not tied"),
    ],
)
def test_what_does_not_tie(arguments, text):
    net = models.SoftSharing(trunk(), heads(), **arguments)
    with pytest.raises(ValueError, match=text):
        jax.eval_shape(net.init, jax.random.key(0), X)


def fused(params, x, fusion, head):
    z = [network(row(params["trunk"]["trunk"], i), x) for i in range(3)]
    if fusion == "concatenation":
        return tower(head, np.concatenate(z))
    if fusion == "average":
        return tower(head, (z[0] + z[1] + z[2]) / 3)
    weights = softmax(head["weights"])
    return tower(head["head"], sum(w * v for w, v in zip(weights, z, strict=True)))


@pytest.mark.parametrize("fusion", ["concatenation", "weighted_sum", "average"])
def test_late_fusion(fusion):
    net = CASES[fusion](trunk())
    params = named_params(net)

    def expected(x):
        return {t: fused(params, x, fusion, params[f"heads_{t}"]) for t in CHAIN}

    check_outputs(applied(net, params), expected)
    specific = jax.eval_shape(models.from_linen(net).init, jax.random.key(0), X)[1]
    assert specific.groups == (tuple(f"heads_{t}" for t in CHAIN),)


@pytest.mark.parametrize("fusion, width", [("concatenation", 9), ("weighted_sum", 3)])
def test_fusion_of_pixels_and_of_texts(fusion, width):
    pixels = models.LateFusion(
        models.DilatedCNN(3, (1,)), {t: nn.Dense(1) for t in CHAIN}, fusion
    )
    images = jnp.ones((2, 4, 4, 3))
    outputs, variables = jax.eval_shape(
        pixels.init_with_output, jax.random.key(0), images
    )
    assert outputs["buy"].shape == (2, 4, 4, 1)
    head = variables["params"]["heads_buy"]
    assert head.get("head", head)["kernel"].shape == (width, 1)
    texts = models.LateFusion(models.BagOfEmbeddings(5, 4), of_texts(), fusion)
    outputs, _ = jax.eval_shape(texts.init_with_output, jax.random.key(0), TEXT)
    assert outputs["topic"].shape == (2, 2) and outputs["tag"].shape == (2, 3, 3)


def test_a_fusion_that_there_is_not():
    with pytest.raises(ValueError, match="unknown fusion 'sum'"):
        models.LateFusion(trunk(), heads(), "sum")

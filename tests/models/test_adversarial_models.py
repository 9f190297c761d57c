"""The gradient reversal layer, and shared-private networks with an adversary."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import (
    BATCH,
    CASES,
    CHAIN,
    B,
    X,
    bound,
    heads,
    jacobian,
    named_params,
    trunk,
)
from equations import dense, relu, row, softmax, tower

from mtl_jax import models
from mtl_jax.models.cross_moment import CrossMoment

T = len(CHAIN)


def test_reversal_is_the_identity_and_minus_its_scale_times_the_derivative():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)), jnp.float32)
    out, pull = jax.vjp(lambda x: models.gradient_reversal(x, 0.25), x)
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(pull(jnp.ones((2, 3)))[0], np.full((2, 3), -0.25))
    slope = jax.jvp(lambda x: jnp.sum(models.gradient_reversal(x) ** 2), (x,), (x,))[1]
    np.testing.assert_allclose(slope, -2 * jnp.sum(x**2), rtol=1e-6)
    scaled = jax.jit(jax.grad(lambda s: models.gradient_reversal(1.0, s)))
    assert scaled(2.0) == 0, "the scale is not learned"
    half = jax.grad(lambda x: models.gradient_reversal(x, 3.0).sum())(
        x.astype(jnp.bfloat16)
    )
    assert half.dtype == jnp.bfloat16


def networks(params, k):
    """Shared and private features of all examples, `[B, D]`."""
    lower = params["trunk"]["Dense_0"], row(params["private"]["Dense_0"], k)
    return [np.tanh(dense(layer, np.float64(X))) for layer in lower]


def guesses(params, s):
    """What the discriminator gives the tasks of one example."""
    first, second = (params["discriminator"][f"Dense_{i}"] for i in (0, 1))
    return softmax(dense(second, relu(dense(first, s))))


@pytest.mark.parametrize("name", ["adversarial", "shared_private"])
def test_outputs_and_penalties_follow_the_equations(name):
    net = CASES[name](trunk())
    params = named_params(net)
    apply = jax.jit(net.apply, static_argnums=2)
    outputs = apply({"params": jax.tree.map(jnp.float32, params)}, X, True)
    for k, task in enumerate(CHAIN):
        s, p = networks(params, k)
        common = sum(
            np.mean(s[:, i] * p[:, j]) ** 2 for i in range(6) for j in range(6)
        )
        for b in range(B):
            both = np.concatenate([s[b], p[b]])
            expected = tower(params[f"heads_{task}"], both)
            found = outputs[task]
            np.testing.assert_allclose(found.outputs[b], expected, rtol=2e-4, atol=1e-5)
            penalty = 0.2 * common
            if name == "adversarial":
                penalty -= 0.3 * np.log(guesses(params, s[b])[k])
            np.testing.assert_allclose(found.penalty[b], penalty, rtol=1e-4)
    plain = jax.jit(net.apply)({"params": jax.tree.map(jnp.float32, params)}, X)
    assert not isinstance(plain["buy"], models.Penalised)


def test_the_discriminator_descends_and_the_trunk_ascends():
    """Each task has examples of its own; the adversary against its own two losses."""
    net = models.SharedPrivate(trunk(), heads(), 0.3, 0.0)
    model = models.from_linen(net)
    variables = model.init(jax.random.key(0), X)
    owner = np.arange(B) % T
    batch = {**BATCH, "masks": {t: owner == k for k, t in enumerate(CHAIN)}}

    def rows_of(model):
        def losses(shared):
            call = bound(model, variables._replace(shared=shared), batch)
            out = call(shared, variables.specific)
            return out.sums / out.counts

        return jax.jacrev(losses)(variables.shared)

    def cross_entropies(shared):
        lower = shared["trunk"]["Dense_0"]
        z = nn.tanh(X @ lower["kernel"] + lower["bias"])
        layer = shared["discriminator"]["Dense_0"]
        logs = nn.log_softmax(z @ layer["kernel"] + layer["bias"])
        return -jnp.stack([jnp.mean(logs[owner == k, k]) for k in range(T)])

    quiet = models.from_linen(models.SharedPrivate(trunk(), heads(), 1e-30, 0.0))
    found, without = jax.jit(lambda: (rows_of(model), rows_of(quiet)))()
    expected = jax.jit(jax.jacrev(cross_entropies))(variables.shared)
    for part, sign in (("discriminator", 1), ("trunk", -1)):
        term = jax.tree.map(jnp.subtract, found[part], without[part])
        for a, b in zip(*map(jax.tree.leaves, (term, expected[part])), strict=True):
            assert np.any(b)
            np.testing.assert_allclose(a, sign * 0.3 * b, atol=1e-5)


def test_with_the_same_examples_for_all_there_is_nothing_to_tell_apart():
    net = models.SharedPrivate(trunk(), heads(), 0.3, 0.0)
    model = models.from_linen(net)
    variables = model.init(jax.random.key(0), X)
    even = jax.tree.map(jnp.zeros_like, variables.shared["discriminator"])
    variables.shared["discriminator"] = even
    _, (shared, _) = jax.jit(lambda: jacobian(model, variables))()
    for leaf in jax.tree.leaves(shared["discriminator"]):
        np.testing.assert_allclose(np.sum(leaf, axis=0), 0, atol=1e-6)


def test_the_moment_is_of_all_devices():
    rng = np.random.default_rng(1)
    s, p = rng.normal(size=(4, 3, 2)), rng.normal(size=(4, 3, 5, 2))
    whole = CrossMoment().apply({}, s.reshape(12, 2), p.reshape(12, 5, 2))
    moment = CrossMoment(axis_name="devices")
    parts = jax.vmap(lambda s, p: moment.apply({}, s, p), axis_name="devices")(s, p)
    np.testing.assert_allclose(parts, np.tile(whole, (4, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    "net, inputs, shapes",
    [
        (
            models.SharedPrivate(
                models.DilatedCNN(3, (1,)), {t: nn.Dense(1) for t in "ab"}
            ),
            jnp.ones((2, 4, 4, 3)),
            {"a": (2, 4, 4, 1), "b": (2, 4, 4, 1)},
        ),
        (
            models.SharedPrivate(
                models.BagOfEmbeddings(5, 4),
                {
                    "a": models.Head(2, reads="pooled"),
                    "b": models.Head(3, reads="tokens"),
                },
            ),
            {"tokens": jnp.array([[2, 3, 0], [4, 1, 2]])},
            {"a": (2, 2), "b": (2, 3, 3)},
        ),
    ],
)
def test_pixels_and_texts(net, inputs, shapes):
    def run(key):
        variables = net.init(key, inputs)
        return net.apply(variables, inputs, True)

    outputs = jax.eval_shape(run, jax.random.key(0))
    assert {t: out.outputs.shape for t, out in outputs.items()} == shapes
    assert all(out.penalty.shape == (2,) for out in outputs.values())


class Words(nn.Module):
    """A trunk of words without a vector of all of them."""

    @nn.compact
    def __call__(self, x):
        return {"words": nn.Dense(2)(x)}


@pytest.mark.parametrize(
    "net, text",
    [
        (models.SharedPrivate(trunk(), heads(), -1.0), "found adversarial=-1.0, ortho"),
        (
            models.SharedPrivate(trunk(), {"a": nn.Dense(1)}),
            r"tells tasks apart, and the tasks \['a'\]. Give it two or more, or set",
        ),
        (
            models.SharedPrivate(Words(), heads()),
            "its trunk gives {'words'",
        ),
    ],
)
def test_what_has_no_adversary(net, text):
    with pytest.raises(ValueError, match=text):
        jax.eval_shape(net.init, jax.random.key(0), X)

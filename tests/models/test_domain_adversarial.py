"""Domain-adversarial sharing: who descends, who ascends, and how fast λ grows."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import data, models, objective, tasks, train, weighting

B, D, H = 6, 4, 3
RNG = np.random.default_rng(1)
X = RNG.normal(size=(B, D)).astype(np.float32)
SENTIMENT, DOMAIN = RNG.integers(0, 2, B), np.arange(B) % 2
LABELLED = DOMAIN == 0
BATCH = {
    "inputs": X,
    "labels": {"sentiment": SENTIMENT, "domain": DOMAIN},
    "masks": {"sentiment": LABELLED},
}
TASKS = (tasks.binary("sentiment"), tasks.binary("domain"))


def network(**arguments):
    heads = {task.name: nn.Dense(1, use_bias=False) for task in TASKS}
    trunk = nn.Dense(H, use_bias=False)
    return models.from_linen(models.DomainAdversarial(trunk, heads, **arguments))


def params_of(variables):
    """`W [D, H]` of the trunk, and the two vectors `[H]` of the heads, float64."""
    heads = variables.specific
    return (
        np.float64(variables.shared["trunk"]["kernel"]),
        np.float64(heads["heads_sentiment"]["kernel"])[:, 0],
        np.float64(heads["heads_domain"]["head"]["kernel"])[:, 0],
    )


def steps_of(collections):
    """How many steps were counted."""
    (leaf,) = jax.tree.leaves(collections)
    return int(leaf.reshape(()))


def gradients(w, v, labels, here):
    """Of the mean logistic loss of `v · (x W)`, for W and v."""
    z = np.float64(X[here]) @ w
    off = 1 / (1 + np.exp(-z @ v)) - labels[here]
    return np.float64(X[here]).T @ np.outer(off, v) / here.sum(), off @ z / here.sum()


def rates(step, over, gamma=10.0, strength=1.0):
    return strength * (2 / (1 + np.exp(-gamma * min(step / over, 1))) - 1)


def test_the_head_descends_and_the_trunk_ascends_by_lambda():
    """One step of SGD against the gradients in closed form, at every step's λ."""
    model = network(strength=0.8, over=4, gamma=5.0)
    method, optimizer = weighting.static(weights=(0.7, 1.5)), optax.sgd(0.5)
    state = train.state.initial(model, method, optimizer, X, 2, 0)
    step = train.make_train_step(
        objective.make_losses(model, TASKS), method, optimizer, parallel="jit"
    )
    everyone = np.ones(B, bool)
    for number in range(6):
        w, v, u = params_of(state)
        of_sentiment = gradients(w, v, SENTIMENT, LABELLED)
        of_domain = gradients(w, u, DOMAIN, everyone)
        scale = rates(number, 4, 5.0, 0.8)
        expected = (
            w - 0.5 * (0.7 * of_sentiment[0] - scale * 1.5 * of_domain[0]),
            v - 0.5 * 0.7 * of_sentiment[1],
            u - 0.5 * 1.5 * of_domain[1],
        )
        state, _ = step(state, BATCH)
        for found, wanted in zip(params_of(state), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert steps_of(state.collections) == 6


@pytest.mark.parametrize("at", ["parameters", "representation"])
def test_a_method_sees_the_reversed_gradient(at):
    """The Gramian of the two rows, the second with -λ."""
    model = network(strength=0.5)
    variables = model.init(jax.random.key(0), X)
    method = weighting.make("mgda")
    state = train.create(
        *variables[:2],
        method=method,
        optimizer=optax.sgd(0.1),
        num_tasks=2,
        collections=variables.collections,
    )
    w, v, u = params_of(variables)
    step = train.make_train_step(
        objective.make_losses(model, TASKS),
        method,
        optax.sgd(0.1),
        at=at,
        parallel="jit",
    )
    gramian = step(state, BATCH)[1].gramian
    everyone = np.ones(B, bool)
    rows = [
        gradients(w, v, SENTIMENT, LABELLED)[0],
        gradients(w, u, DOMAIN, everyone)[0],
    ]
    if at == "representation":
        z = np.float64(X) @ w
        first = (1 / (1 + np.exp(-z @ v)) - SENTIMENT) * LABELLED / LABELLED.sum()
        second = (1 / (1 + np.exp(-z @ u)) - DOMAIN) / B
        rows = [np.outer(first, v), np.outer(second, u)]
    rows = np.stack([rows[0].ravel(), -0.5 * rows[1].ravel()])
    np.testing.assert_allclose(gramian, rows @ rows.T, rtol=1e-4, atol=1e-7)


def test_evaluation_counts_nothing_and_reads_the_head():
    model = network(over=10)
    variables = model.init(jax.random.key(0), X)
    outputs, after = model.apply(*variables, X)
    assert steps_of(after) == 0
    w, v, u = params_of(variables)
    z = np.float64(X) @ w
    np.testing.assert_allclose(outputs["domain"][:, 0], z @ u, rtol=1e-4)
    np.testing.assert_allclose(outputs["sentiment"][:, 0], z @ v, rtol=1e-4)


def test_a_run_goes_on_with_its_lambda(tmp_path):
    rows = np.tile(X, (4, 1))
    labels = {"sentiment": np.tile(SENTIMENT, 4), "domain": np.tile(DOMAIN, 4)}
    both = data.from_arrays(rows, labels, fractions=(0.5, 0.25, 0.25))

    def trained(folder, epochs):
        return [
            train.fit(
                network(over=12),
                TASKS,
                both,
                method="equal",
                optimizer=optax.sgd(0.3),
                epochs=count,
                batch_size=4,
                parallel="jit",
                steps_per_call=1,
                workdir=tmp_path / folder,
            )
            for count in epochs
        ][-1].state

    whole, parts = trained("whole", [2]), trained("parts", [1, 2])
    pairs = zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True)
    for a, b in pairs:
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(a, b)
    assert steps_of(parts.collections) == 6


def test_a_step_in_parts_is_one_step():
    """Where the loss is not split, a part passes through the counter's head too."""
    model = network(over=10)._replace(encode=None, decode=None, stacked=None)
    method, optimizer = weighting.make("equal"), optax.sgd(0.1)
    state = train.state.initial(model, method, optimizer, X, 2, 0)
    state = dataclasses.replace(
        state, collections=jax.tree.map(lambda a: a + 3, state.collections)
    )
    step = train.make_train_step(
        objective.make_losses(model, TASKS),
        method,
        optimizer,
        accumulate=3,
        parallel="jit",
    )
    assert steps_of(step(state, BATCH)[0].collections) == 3 + 1


def test_a_text_is_reversed_in_all_its_parts():
    heads = {
        "tag": models.Head(2, reads="tokens"),
        "domain": models.Head(1, reads="pooled"),
    }
    trunk = models.BagOfEmbeddings(5, 3)
    text = {"tokens": jnp.array([[2, 3, 0], [4, 1, 2]])}

    def slope(net):
        variables = net.init(jax.random.key(0), text)

        def loss(params):
            return jnp.sum(net.apply({"params": params}, text)["domain"])

        return jax.grad(loss)(variables["params"])["trunk"]["words"]["embedding"]

    plain = slope(models.HardSharing(trunk, {t: Nested(h) for t, h in heads.items()}))
    turned = slope(models.DomainAdversarial(trunk, heads, strength=2.0))
    assert np.any(plain)
    np.testing.assert_allclose(turned, -2 * plain, rtol=1e-5)


class Nested(nn.Module):
    """A head one level down, whose parameters start as those of a reversed one."""

    head: nn.Module

    def __call__(self, z):
        return self.head(z)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"domain": "site"},
            "unknown task to be the domain of DomainAdversarial 'site'",
        ),
        ({"strength": -1.0}, "strength=-1.0"),
        ({"over": -1}, "over=-1"),
        ({"gamma": 0.0}, "gamma=0.0"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)

"""Architectures of the stages of a trunk against their equations."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import CASES, CHAIN, X, heads, named_params, noisy, trunk
from test_expert_models import dense, relu, tower

from mtl_jax import models
from mtl_jax.models.cross_stitch import Stitch
from mtl_jax.models.learning_to_branch import Choice
from mtl_jax.models.mtan import resized

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


def sluice(params, x):
    """Two layers of two subspaces, and the penalties of the columns."""
    lower = params["trunk"]
    first = [column(lower["stages_0"], k, x) for k in range(T)]
    halves = [half for h in first for half in (h[:2], h[2:])]
    alpha = lower["stitch1"]["alpha"]
    mixed = [sum(a * h for a, h in zip(row, halves, strict=True)) for row in alpha]
    read = [np.concatenate(mixed[2 * k : 2 * k + 2]) for k in range(T)]
    second = [column(lower["stages_1"], k, read[k]) for k in range(T)]
    halves = [half for h in second for half in (h[:2], h[2:])]
    outputs, penalties = {}, {}
    for k, t in enumerate(CHAIN):
        head = params[f"heads_{t}"]
        alpha, beta = head["stitch"]["alpha"], head["beta"]
        own = [sum(a * h for a, h in zip(row, halves, strict=True)) for row in alpha]
        outputs[t] = tower(
            head["head"], beta[0] * read[k] + beta[1] * np.concatenate(own)
        )
        kernels = [lower[f"stages_{i}"]["Dense_0"]["kernel"][k] for i in range(2)]
        penalties[t] = 0.1 * sum(
            np.linalg.norm(w[:, :2].T @ w[:, 2:]) ** 2 for w in kernels
        )
    return outputs, penalties


def norm(params, stats, x):
    x = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5)
    return x * params["scale"] + params["bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mtan(params, x, stats):
    first = np.tanh(dense(params["trunk"]["stages_0"]["Dense_0"], x))
    second = np.tanh(dense(params["trunk"]["stages_1"]["Dense_0"], first))
    outputs = {}
    for t in CHAIN:
        head, seen = params[f"heads_{t}"], stats[f"heads_{t}"]

        def layer(name, u, head=head, seen=seen):
            return norm(
                head[f"{name}_norm"], seen[f"{name}_norm"], u @ head[name]["kernel"]
            )

        hidden = relu(layer("stage01_g", first))
        kept = sigmoid(layer("stage01_h", hidden)) * first
        merged = relu(layer("stage02_f", kept))
        hidden = relu(layer("stage02_g", np.concatenate([second, merged])))
        outputs[t] = tower(head["head"], sigmoid(layer("stage02_h", hidden)) * second)
    return outputs


def test_attention_follows_the_equations():
    net = CASES["mtan"](trunk())
    variables = jax.jit(net.init)(jax.random.key(0), X)
    variables = jax.tree.map(np.float64, noisy(variables, 2))
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    outputs = jax.jit(net.apply)(jax.tree.map(jnp.float32, variables), X)
    for b, x in enumerate(np.float64(X)):
        expected = mtan(variables["params"], x, variables["batch_stats"])
        for t in CHAIN:
            np.testing.assert_allclose(outputs[t][b], expected[t], rtol=2e-4, atol=1e-5)


def branched(params, x, weights):
    """From the weights of all choices, by name."""
    lower = params["trunk"]
    first = [column(lower["stages_0"], j, x) for j in range(2)]
    read = [sum(d * y for d, y in zip(row, first, strict=True)) for row in weights[""]]
    second = [column(lower["stages_1"], j, read[j]) for j in range(3)]
    return {
        t: tower(
            params[f"heads_{t}"]["head"],
            sum(d * y for d, y in zip(weights[t], second, strict=True)),
        )
        for t in CHAIN
    }


def hard(logits):
    return (logits == logits.max(-1, keepdims=True)).astype(float)


def branched_hard(params, x):
    weights = {t: hard(params[f"heads_{t}"]["choice"]["logits"]) for t in CHAIN}
    weights[""] = hard(params["trunk"]["choice01"]["logits"])
    return branched(params, x, weights)


def test_training_is_soft_and_evaluation_hard():
    net = CASES["learning_to_branch"](trunk())
    variables = jax.jit(net.init)(jax.random.key(0), X)
    params = noisy(variables["params"], 2)

    @jax.jit
    def run(params, key):
        return net.apply(
            {**variables, "params": params},
            X,
            True,
            rngs={"dropout": key},
            mutable=["schedule", "intermediates"],
            capture_intermediates=lambda module, _: isinstance(module, Choice),
        )

    outputs, after = run(params, jax.random.key(1))
    seen = after["intermediates"]
    weights = {t: seen[f"heads_{t}"]["choice"]["__call__"][0] for t in CHAIN}
    weights[""] = seen["trunk"]["choice01"]["__call__"][0]
    for row in (*weights[""], *(weights[t] for t in CHAIN)):
        assert row.min() > 0.01 and row.max() < 0.99
        np.testing.assert_allclose(row.sum(), 1, rtol=1e-5)
    for b, x in enumerate(np.float64(X)):
        expected = branched(jax.tree.map(np.float64, params), x, weights)
        for t in CHAIN:
            np.testing.assert_allclose(outputs[t][b], expected[t], rtol=2e-4, atol=1e-5)
    others, _ = run(params, jax.random.key(2))
    assert not np.allclose(outputs["buy"], others["buy"]), "another sample"
    assert {int(n) for n in jax.tree.leaves(after["schedule"])} == {1}


def test_choices_are_samples_of_the_softmax():
    """The largest of logits and Gumbel noise; the temperature divides both."""
    logits = jnp.array([0.0, 1.0, -0.5])
    keys = jax.random.split(jax.random.key(0), 20_000)

    @jax.jit
    def sample(temperature):
        choice = Choice((3,), temperature)
        return jax.vmap(
            lambda key: choice.apply(
                {"params": {"logits": logits}}, True, rngs={"dropout": key}
            )
        )(keys)

    warm, cool = np.float64(sample(2.0)), np.float64(sample(0.8))
    shares = np.bincount(warm.argmax(1), minlength=3) / len(keys)
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(shares, expected, atol=0.015)
    apart = [tau * np.diff(np.log(w[:200])) for tau, w in ((2.0, warm), (0.8, cool))]
    np.testing.assert_allclose(*apart, rtol=1e-2, atol=1e-3)


def test_the_temperature_falls_to_the_least():
    choice = Choice((3,), 4.0, 0.5, 0.9)
    variables = {"params": {"logits": jnp.zeros(3)}}
    found = []
    for steps in range(4):
        state = {"schedule": {"steps": jnp.int32(steps)}}
        weights, after = choice.apply(
            {**variables, **state},
            True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["schedule"],
        )
        assert after["schedule"]["steps"] == steps + 1
        found.append(np.log(weights[0] / weights[1]))
    ratios = np.array(found) / found[0]
    np.testing.assert_allclose(ratios, [1, 2, 4, 4 / 0.9], rtol=1e-4)


def test_the_tree_that_was_learned():
    model = models.from_linen(CASES["learning_to_branch"](trunk()))
    variables = noisy(jax.jit(model.init)(jax.random.key(0), X))
    found = models.learned_branches(variables.shared, variables.specific)
    parents = np.argmax(variables.shared["trunk"]["choice01"]["logits"], axis=1)
    for t in CHAIN:
        last = np.argmax(variables.specific[f"heads_{t}"]["choice"]["logits"])
        assert found[t] == (parents[last], last)
    assert len(set(found.values())) > 1
    moved = jax.tree.map(lambda a: a, variables.shared)
    kernel = moved["trunk"]["stages_1"]["Dense_0"]["kernel"]
    before, _ = jax.jit(model.apply)(*variables, X)
    unread = kernel.at[found["view"][1]].add(1.0)
    moved["trunk"]["stages_1"]["Dense_0"]["kernel"] = unread
    after, _ = jax.jit(model.apply)(moved, *variables[1:], X)
    for t in CHAIN:
        same = np.array_equal(before[t], after[t])
        assert same == (found[t][1] != found["view"][1])


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"num_nodes": (2,)}, r"num_nodes=\(2,\); the trunk has 2 stages"),
        ({"num_nodes": (2, 0)}, "at least one node"),
        ({"temperature": 0.1}, "found temperature=0.1, least=0.2"),
        ({"decay": 1.5}, "decay=1.5"),
    ],
)
def test_trees_that_cannot_be(arguments, text):
    with pytest.raises(ValueError, match=text):
        models.LearningToBranch(models.MLP((4, 3)), heads(), **arguments)


EQUATIONS = {
    "cross_stitch": cross_stitch,
    "learning_to_branch": branched_hard,
    "sluice": lambda params, x: sluice(params, x)[0],
}


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


def test_the_penalty_of_a_column_is_in_the_loss_of_its_task():
    net = CASES["sluice"](trunk())
    params = named_params(net)
    apply = jax.jit(net.apply, static_argnums=2)
    outputs = apply({"params": jax.tree.map(jnp.float32, params)}, X, True)
    for b, x in enumerate(np.float64(X)):
        plain, penalties = sluice(params, x)
        for t in CHAIN:
            found = outputs[t]
            np.testing.assert_allclose(found.outputs[b], plain[t], rtol=2e-4, atol=1e-5)
            np.testing.assert_allclose(found.penalty[b], penalties[t], rtol=1e-4)


def test_layers_are_mixed_entry_by_entry():
    """Of the entries that only the last layer has, nothing is mixed."""
    trunk = models.BagOfEmbeddings(5, 4, (2,))
    read = models.Sluice(trunk, {"a": models.Head(1, reads="pooled")})
    params = jax.eval_shape(read.init, jax.random.key(0), WORDS)["params"]
    assert "beta" in params["heads_a"], "of the words"
    shapes = models.Sluice(models.MLP((6, 4)), heads(), orthogonality=0.0)
    with pytest.raises(
        ValueError, match=r"give \[{'array': \[6\]}, {'array': \[4\]}\]"
    ):
        jax.eval_shape(shapes.init, jax.random.key(0), X)
    single = models.Sluice(models.MLP((6, 4)), heads(), mixture=False)
    params = jax.eval_shape(single.init, jax.random.key(0), X)["params"]
    assert "beta" not in params["heads_buy"]


def test_sluice_of_one_subspace_is_cross_stitch():
    plain = models.CrossStitch(models.MLP((4, 3)), heads())
    sluice = models.Sluice(models.MLP((4, 3)), heads(), 1, mixture=False)
    params = named_params(plain)
    a = jax.jit(plain.apply)({"params": params}, X)
    for t in CHAIN:
        stitch = params[f"heads_{t}"]["stitch"]
        stitch["alpha"] = stitch["alpha"][None]
    b = jax.jit(sluice.apply)({"params": params}, X)
    for t in CHAIN:
        np.testing.assert_allclose(a[t], b[t], rtol=1e-6)


@pytest.mark.parametrize(
    "trunk, arguments, text",
    [
        (models.MLP((4,)), {"num_subspaces": 0}, "found num_subspaces=0"),
        (models.MLP((4,)), {"orthogonality": -1}, "orthogonality=-1"),
        (models.MLP((5, 4)), {}, "stage 1 of the trunk gives a width of 5"),
        (models.MLP((5,)), {"orthogonality": 0}, "the last stage of the trunk gives a"),
        (models.Transformer(5, 4, 0), {}, "no kernel of a width"),
    ],
)
def test_what_cannot_be_cut_into_subspaces(trunk, arguments, text):
    with pytest.raises(ValueError, match=text):
        net = models.Sluice(trunk, heads(), **arguments)
        inputs = WORDS if isinstance(trunk, models.Transformer) else X
        jax.eval_shape(net.init, jax.random.key(0), inputs)


def test_features_of_another_size_are_merged():
    """Maxima over the bins of the places, of an image that shrinks unevenly."""
    x = np.random.default_rng(2).normal(size=(2, 7, 5, 3)).astype(np.float32)
    rows, columns = [(0, 3), (2, 5), (4, 7)], [(0, 3), (2, 5)]
    found = resized(x, (3, 2))
    assert found.shape == (2, 3, 2, 3)
    for i, (a, b) in enumerate(rows):
        for j, (c, d) in enumerate(columns):
            expected = x[:, a:b, c:d].max((1, 2))
            np.testing.assert_array_equal(found[:, i, j], expected)
    np.testing.assert_array_equal(resized(x, ()), x.max((1, 2)))
    wider = resized(x[:, 0], (10,))
    np.testing.assert_array_equal(wider, np.repeat(x[:, 0], 2, axis=1))
    flat = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(resized(flat, ()), flat)
    with pytest.raises(
        ValueError, match=r"gives \(\) places and the next one \(3, 2\)"
    ):
        resized(flat, (3, 2))


def test_of_any_trunk_the_masks_have_the_shape_of_the_features():
    net = models.MTAN(models.CNN((4, 5), (6,)), heads())
    images = jnp.ones((2, 9, 9, 3))
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    head = variables["params"]["heads_buy"]
    shapes = {name: head[name]["kernel"].shape for name in head if name[-1] in "fgh"}
    assert shapes == {
        **{"stage01_g": (4, 4), "stage01_h": (4, 4)},
        **{"stage02_f": (4, 5), "stage02_g": (10, 5), "stage02_h": (5, 5)},
        **{"stage03_f": (5, 6), "stage03_g": (12, 6), "stage03_h": (6, 6)},
    }
    model = models.from_linen(net)
    specific = jax.eval_shape(model.init, jax.random.key(0), images).specific
    assert specific.groups == (tuple(f"heads_{t}" for t in CHAIN),)


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
    "sluice": lambda trunk, heads: models.Sluice(trunk, heads, 1),
    "mtan": models.MTAN,
    "learning_to_branch": models.LearningToBranch,
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

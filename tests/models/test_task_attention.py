"""Attention between tasks against its equations, and graphs of tasks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import CASES, CHAIN, X, heads, named_params, trunk
from equations import dense, relu, row, softmax, tower

from mtl_jax import models
from mtl_jax.models import task_graph

TEXT = {"tokens": jnp.array([[2, 3, 0], [4, 1, 2]])}


def features(params, x):
    for layer in sorted(params):
        x = relu(dense(params[layer], x))
    return x


def attention(params, x, graph, both_ways):
    """Every task in turn; `graph`: whom it reads beside itself."""
    z = np.tanh(dense(params["trunk"]["trunk"]["Dense_0"], x))
    towers = params["trunk"]["towers"]
    read = [t for t in CHAIN if any(t in others for others in graph.values())]
    u = {t: features(row(towers, i), z) for i, t in enumerate(read)}
    outputs = {}
    for t in CHAIN:
        head = params[f"heads_{t}"]
        own = u[t] if t in u else features(head["tower"], z)
        found = own
        if graph[t]:
            every = [own, *(u[o] for o in graph[t])]
            q, k, v = (
                [dense(head[name], f) for f in every]
                for name in ("query", "key", "value")
            )
            scores = np.array([q[0] @ key for key in k])
            if both_ways:
                scores += [query @ k[0] for query in q]
            weights = softmax(scores / np.sqrt(len(own)))
            found = own + sum(w * f for w, f in zip(weights, v, strict=True))
        outputs[t] = tower(head["head"], found)
    return outputs


GRAPHS = {
    "attention": {t: [o for o in CHAIN if o != t] for t in CHAIN},
    "local_attention": {"view": [], "click": ["view"], "buy": ["view"]},
    "two_way_attention": {"view": ["buy"], "click": [], "buy": ["view"]},
}


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_follow_the_equations(name):
    net = CASES[name](trunk())
    params = named_params(net)
    outputs = jax.jit(net.apply)({"params": jax.tree.map(jnp.float32, params)}, X)
    for b, x in enumerate(np.float64(X)):
        expected = attention(params, x, GRAPHS[name], name == "two_way_attention")
        for t in CHAIN:
            np.testing.assert_allclose(outputs[t][b], expected[t], rtol=2e-4, atol=1e-5)


def test_pixels_attend_to_their_own_position():
    net = models.TaskAttention(
        models.DilatedCNN(3, (), 1), {t: nn.Dense(1) for t in "ab"}, tower_features=(4,)
    )
    images = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    z = {"towers": jnp.asarray(np.random.default_rng(1).normal(size=(2, 2, 3, 3, 4)))}
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    assert variables["params"]["trunk"]["towers"]["Dense_0"]["kernel"].shape == (
        2,
        3,
        4,
    )
    head = net.heads["a"]
    whole, found = jax.jit(head.init_with_output)(jax.random.key(1), z)
    one = {"towers": z["towers"][:, :, 1:2, 2:3]}
    np.testing.assert_allclose(
        head.apply(found, one)[:, 0, 0], whole[:, 1, 2], rtol=1e-5
    )


def test_the_part_of_a_text_that_is_read():
    tags = {t: models.Head(3, reads="tokens") for t in "ab"}
    net = models.TaskAttention(models.BagOfEmbeddings(5, 4), tags, tower_features=(6,))
    outputs = jax.eval_shape(net.init_with_output, jax.random.key(0), TEXT)[0]
    assert outputs["a"].shape == (2, 3, 3)
    mixed = {"tag": tags["a"], "topic": models.Head(2, reads="pooled")}
    with pytest.raises(ValueError, match=r"all heads read one part .*'pooled'.*FiLM"):
        models.TaskAttention(models.BagOfEmbeddings(5, 4), mixed)


def test_a_graph_of_pairs_goes_both_ways_and_a_mapping_one():
    pairs = task_graph.neighbours(CHAIN, [["buy", "view"]])
    assert pairs == {"view": ("buy",), "click": (), "buy": ("view",)}
    arrows = task_graph.neighbours(CHAIN, {"buy": ["view"]})
    assert arrows == {"view": (), "click": (), "buy": ("view",)}
    assert task_graph.both_ways(arrows) == pairs


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("all",), "unknown attention between tasks 'all'"),
        (("local",), "needs a graph .* found attention='local' with none"),
        (("global", {"buy": ["view"]}), "'global' with graph="),
        (("local", {"bye": ["view"]}), "unknown task of the graph 'bye'. Did you mean"),
        (("local", [("buy", "buy")]), "'buy' as a neighbour of itself"),
        (("local", {"buy": []}), "has no neighbours. Give pairs"),
        (("local", {"buy": "view"}), r"mapping .* found \{'buy': 'view'\}"),
        (("local", ["buy"]), r"list of pairs of tasks; found \['buy'\]"),
        (("global", None, ()), "towers of at least one layer"),
    ],
)
def test_attention_that_there_is_not(arguments, text):
    with pytest.raises(ValueError, match=text):
        models.TaskAttention(trunk(), heads(), *arguments)
    with pytest.raises(ValueError, match="has no neighbours"):
        models.TaskAttention(trunk(), {"a": nn.Dense(1)})

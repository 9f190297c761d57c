"""MMoE, CGC, PLE and DSelect-k against their equations, example by example."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import CASES, CHAIN, X, heads, named_params, trunk
from equations import dense, relu, softmax, tower

from mtl_jax import models
from mtl_jax.models.dselect_k import selections, smooth_step


def experts(params, x):
    """The outputs of stacked MLPs of one example, one after the other."""
    found = []
    for i in range(params["Dense_0"]["kernel"].shape[0]):
        z = x
        for layer in sorted(params):
            z = relu(dense({k: v[i] for k, v in params[layer].items()}, z))
        found.append(z)
    return found


def mixture(gate, x, vectors):
    weights = softmax(dense(gate, x))
    return sum(w * v for w, v in zip(weights, vectors, strict=True))


def below(params, x):
    return np.tanh(dense(params["trunk"]["Dense_0"], x)) if "trunk" in params else x


def mmoe(params, x):
    x = below(params["trunk"], x)
    shared = experts(params["trunk"]["experts"], x)
    return {
        t: tower(head["tower"], mixture(head["gate"], x, shared))
        for t, head in ((t, params[f"heads_{t}"]) for t in CHAIN)
    }


def cgc(params, x):
    x = below(params["trunk"], x)
    shared = experts(params["trunk"]["experts"], x)
    outputs = {}
    for t in CHAIN:
        head = params[f"heads_{t}"]
        offered = experts(head["own"], x) + shared
        outputs[t] = tower(head["tower"], mixture(head["gate"], x, offered))
    return outputs


def ple(params, x, layers):
    """As drawn in the paper: every gate of a layer in its layer."""
    lower = params["trunk"]
    common = below(lower, x)
    streams = dict.fromkeys(CHAIN, common)
    for j in range(1, layers + 1):
        last = j == layers
        own, gates = {}, {}
        for t in CHAIN:
            head = params[f"heads_{t}"]
            own[t] = experts(
                head["last"]["own"] if last else lower[f"own{j}_{t}"], streams[t]
            )
            if last:
                gates[t] = head["last"]["gate"]
            else:
                gates[t] = head["gate"] if j == layers - 1 else lower[f"gate{j}_{t}"]
        shared = experts(lower[f"shared{j}"], common)
        everything = [v for t in CHAIN for v in own[t]] + shared
        streams = {t: mixture(gates[t], streams[t], own[t] + shared) for t in CHAIN}
        if not last:
            common = mixture(lower[f"gate{j}"], common, everything)
    return {t: tower(params[f"heads_{t}"]["last"]["tower"], streams[t]) for t in CHAIN}


def selection(codes, count, gamma):
    """The weights of the experts in one selector."""

    def step(z):
        if z <= -gamma / 2:
            return 0.0
        if z >= gamma / 2:
            return 1.0
        return -2 / gamma**3 * z**3 + 3 / (2 * gamma) * z + 0.5

    weights = []
    for i in range(count):
        bits = f"{i:0{len(codes)}b}"
        weight = 1.0
        for bit, z in zip(bits, codes, strict=True):
            weight *= step(z) if bit == "1" else 1 - step(z)
        weights.append(weight)
    return np.array(weights)


def select(head, x, k, count, gamma):
    """`(weights of the experts, those in each selector)` of one example."""
    if isinstance(head["codes"], dict):
        codes, shares = dense(head["codes"], x).reshape(k, -1), dense(head["shares"], x)
    else:
        codes, shares = head["codes"], head["shares"]
    chosen = np.stack([selection(codes[j], count, gamma) for j in range(k)])
    return softmax(shares) @ chosen, chosen


def dselect_k(params, x, k, gamma):
    x = below(params["trunk"], x)
    shared = experts(params["trunk"]["experts"], x)
    outputs, penalties = {}, {}
    for t in CHAIN:
        head = params[f"heads_{t}"]
        weights, chosen = select(head, x, k, len(shared), gamma)
        mixed = sum(w * v for w, v in zip(weights, shared, strict=True))
        outputs[t] = tower(head["tower"], mixed)
        entropy = -sum(r * np.log(r) for r in chosen.ravel() if r > 0)
        lost = sum(1 / row.sum() - 1 for row in chosen) if len(shared) == 3 else 0
        penalties[t] = 0.1 * entropy + lost
    return outputs, penalties


EQUATIONS = {
    "mmoe": mmoe,
    "cgc": cgc,
    "ple": lambda params, x: ple(params, x, 3),
    "ple_two": lambda params, x: ple(params, x, 2),
    "dselect_k": lambda params, x: dselect_k(params, x, 2, 3.0)[0],
    "dselect_k_static": lambda params, x: dselect_k(params, x, 3, 0.5)[0],
}


WITHOUT_TRUNK = [(name, False) for name in ("mmoe", "ple_two")]


@pytest.mark.parametrize(
    "name, below", [*((name, True) for name in EQUATIONS), *WITHOUT_TRUNK]
)
def test_outputs_follow_the_equations(name, below):
    net = CASES[name](trunk() if below else None)
    params = named_params(net)
    assert ("trunk" in params["trunk"]) == below
    outputs = jax.jit(net.apply)({"params": jax.tree.map(jnp.float32, params)}, X)
    assert set(outputs) == set(CHAIN)
    for b, x in enumerate(np.float64(X)):
        expected = EQUATIONS[name](params, x)
        for t in CHAIN:
            np.testing.assert_allclose(outputs[t][b], expected[t], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dselect_k", "dselect_k_static"])
def test_penalties_of_gates_follow_the_equations(name):
    net = CASES[name](trunk())
    params = named_params(net)
    k, gamma = (2, 3.0) if name == "dselect_k" else (3, 0.5)
    apply = jax.jit(net.apply, static_argnums=2)
    outputs = apply({"params": jax.tree.map(jnp.float32, params)}, X, True)
    for b, x in enumerate(np.float64(X)):
        plain, penalties = dselect_k(params, x, k, gamma)
        for t in CHAIN:
            found = outputs[t]
            np.testing.assert_allclose(found.outputs[b], plain[t], rtol=2e-4, atol=1e-5)
            np.testing.assert_allclose(found.penalty[b], penalties[t], rtol=1e-4)


def test_one_expert_is_a_layer_of_hard_sharing():
    layered = models.HardSharing(nn.Sequential([trunk(), models.MLP((4,))]), heads(3))
    params = named_params(layered)
    outputs = jax.jit(layered.apply)({"params": params}, X)
    first, second = params["trunk"]["layers_0"], params["trunk"]["layers_1"]
    moved = {
        "trunk": {
            "trunk": first,
            "experts": jax.tree.map(lambda a: a[None], second),
        },
        **{
            f"heads_{t}": {
                "tower": params[f"heads_{t}"],
                "gate": {"kernel": np.ones((6, 1))},
            }
            for t in CHAIN
        },
    }
    single = models.MMoE(trunk(), heads(3), 1, (4,))
    found = jax.jit(single.apply)({"params": moved}, X)
    for t in CHAIN:
        np.testing.assert_allclose(found[t], outputs[t], rtol=1e-6)


def test_cgc_without_own_experts_is_mmoe_and_ple_of_one_layer_is_cgc():
    plain = models.MMoE(trunk(), heads(3), 2, (4,))
    params = named_params(plain)
    without = models.CGC(trunk(), heads(3), 2, 0, (4,))
    check_equal(plain, without, params)
    layer = models.PLE(trunk(), heads(3), 2, 3, (4,), num_layers=1)
    check_equal(CASES["cgc"](trunk()), layer, named_params(layer))


def check_equal(net, other, params):
    expected, found = (jax.jit(n.apply)({"params": params}, X) for n in (net, other))
    for t in CHAIN:
        np.testing.assert_array_equal(found[t], expected[t])


def test_a_gate_that_has_chosen_reads_k_experts():
    codes = jnp.array([[3.0, -3.0, -9.0], [3.0, 3.0, 0.5]])
    chosen = selections(smooth_step(codes, 1.0), 8)
    np.testing.assert_array_equal(chosen, np.eye(8)[[4, 7]])

    def total(codes):
        chosen = selections(smooth_step(codes, 1.0), 8)
        return jnp.sum(chosen * jnp.arange(8))

    assert not np.any(jax.grad(total)(codes)), "and it stays so"
    every = selections(smooth_step(jnp.array([0.1, -0.3, 0.2]), 1.0), 8)
    np.testing.assert_allclose(np.sum(every), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["mmoe", "cgc", "dselect_k", "dselect_k_static"])
def test_towers_that_are_alike_are_stacked_with_their_gates(name):
    model = models.from_linen(CASES[name](trunk()))
    variables = jax.eval_shape(model.init, jax.random.key(0), X)
    assert variables.specific.groups == (tuple(f"heads_{t}" for t in CHAIN),)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(variables.specific)} == {3}


def test_towers_that_differ_are_not_stacked():
    towers = {"a": nn.Dense(1), "b": nn.Dense(2), "c": nn.Dense(1)}
    model = models.from_linen(models.MMoE(trunk(), towers, 2, (4,)))
    specific = jax.eval_shape(model.init, jax.random.key(0), X).specific
    assert specific.groups == (("heads_a", "heads_c"), ("heads_b",))


@pytest.mark.parametrize(
    "build, text",
    [
        (lambda: models.MMoE(None, heads(), 0), "experts: 0 networks with layers of"),
        (lambda: models.MMoE(None, heads(), 2, ()), r"widths \(\) were asked for"),
        (lambda: models.CGC(None, heads(), 1, -1), "own: -1 networks"),
        (lambda: models.PLE(None, heads(), num_layers=0), "num_layers=0; it has at"),
        (lambda: models.DSelectK(None, heads(), 1), "of num_experts.*num_experts=1"),
        (lambda: models.DSelectK(None, heads(), num_selected=0), "num_selected=0"),
        (lambda: models.DSelectK(None, heads(), gamma=0), "gamma=0"),
    ],
)
def test_numbers_out_of_range(build, text):
    with pytest.raises(ValueError, match=text):
        jax.eval_shape(build().init, jax.random.key(0), X)


def test_what_is_no_vector():
    images = jnp.ones((2, 8, 8, 3))
    with pytest.raises(ValueError, match=r"MMoE reads one vector .* the inputs are an"):
        models.MMoE(None, heads()).init(jax.random.key(0), images)
    pixels = models.PLE(models.DilatedCNN(4, (1,)), heads())
    with pytest.raises(ValueError, match=r"PLE .* DilatedCNN, gives .*\(2, 8, 8, 4\)"):
        jax.eval_shape(pixels.init, jax.random.key(0), images)


def test_of_a_text_the_pooled_vector_is_read():
    words = {"tokens": jnp.array([[2, 3, 0], [4, 1, 2]])}
    net = models.MMoE(models.BagOfEmbeddings(5, 4), heads(), 2, (3,))
    outputs, variables = net.init_with_output(jax.random.key(0), words)
    assert outputs["buy"].shape == (2, 1)
    gate = variables["params"]["heads_buy"]["gate"]["kernel"]
    assert gate.shape == (4, 2)

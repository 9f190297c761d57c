"""Sub-network routing against its equations, and the distribution of its gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import CASES, CHAIN, X, heads, named_params, noisy, trunk
from test_expert_models import below, experts, tower

from mtl_jax import models
from mtl_jax.models.sub_network import HardConcrete


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hard(log_alpha):
    return np.clip(sigmoid(log_alpha) * 1.2 - 0.1, 0, 1)


def read(route, gates, networks):
    """What one reader reads; all in loops."""
    found = 0.0
    for i, u in enumerate(networks):
        found = found + gates[i] * (
            route["matrices"][i].T @ u if "matrices" in route else u
        )
    return found


def routed(params, x, gates=None):
    """Outputs of one example; gates by route, by default those of evaluation."""
    lower = params["trunk"]
    first = experts(lower["level00"], below(lower, x))
    if gates is None:
        gates = {
            t: hard(params[f"heads_{t}"]["route"]["gates"]["log_alpha"]) for t in CHAIN
        }
        gates[""] = hard(lower["route01"]["gates"]["log_alpha"])
    second = []
    for j in range(3):
        route = {k: v[j] for k, v in lower["route01"].items() if k == "matrices"}
        network = jax.tree.map(lambda leaf, j=j: leaf[j : j + 1], lower["level01"])
        second += experts(network, read(route, gates[""][j], first))
    return {
        t: tower(
            params[f"heads_{t}"]["head"],
            read(params[f"heads_{t}"]["route"], gates[t], second),
        )
        for t in CHAIN
    }


def expected_open(gates):
    return np.sum(sigmoid(gates["log_alpha"] - 2 / 3 * np.log(0.1 / 1.1)))


@pytest.mark.parametrize("name", ["sub_network", "sub_network_aver"])
def test_outputs_follow_the_equations(name):
    net = CASES[name](trunk())
    params = named_params(net)
    outputs = jax.jit(net.apply)({"params": jax.tree.map(jnp.float32, params)}, X)
    for b, x in enumerate(np.float64(X)):
        for t, expected in routed(params, x).items():
            np.testing.assert_allclose(outputs[t][b], expected, rtol=2e-4, atol=1e-5)


def test_training_has_samples_and_penalties():
    net = CASES["sub_network"](trunk())
    params = named_params(net)

    @jax.jit
    def run(params, key):
        return net.apply(
            {"params": params},
            X,
            True,
            rngs={"dropout": key},
            mutable=["intermediates"],
            capture_intermediates=lambda module, _: isinstance(module, HardConcrete),
        )

    narrow = jax.tree.map(jnp.float32, params)
    outputs, after = run(narrow, jax.random.key(0))
    seen = after["intermediates"]

    def gates(route):
        return np.float64(route["gates"]["__call__"][0][0])

    sampled = {t: gates(seen[f"heads_{t}"]["route"]) for t in CHAIN}
    sampled[""] = gates(seen["trunk"]["route01"])
    for b, x in enumerate(np.float64(X)):
        for t, expected in routed(params, x, sampled).items():
            found = outputs[t].outputs[b]
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
    shared = expected_open(params["trunk"]["route01"]["gates"]) / len(CHAIN)
    for t in CHAIN:
        own = expected_open(params[f"heads_{t}"]["route"]["gates"])
        np.testing.assert_allclose(outputs[t].penalty, 0.1 * (own + shared), rtol=1e-5)
    others, _ = run(narrow, jax.random.key(1))
    assert not np.allclose(others["buy"].outputs, outputs["buy"].outputs)


def test_gates_are_hard_concrete():
    """Their quantiles are those of the distribution, and so is how many are not 0."""
    log_alpha = jnp.array([-1.5, 0.0, 2.0])
    gates = HardConcrete((3,))

    @jax.jit
    @jax.vmap
    def sample(key):
        variables = {"params": {"log_alpha": log_alpha}}
        return gates.apply(variables, True, rngs={"dropout": key})

    z, open_gates = sample(jax.random.split(jax.random.key(0), 20_000))
    u = np.linspace(0.05, 0.95, 19)[:, None]
    concrete = sigmoid((np.log(u / (1 - u)) + np.float64(log_alpha)) / (2 / 3))
    expected = np.clip(1.2 * concrete - 0.1, 0, 1)
    np.testing.assert_allclose(np.quantile(z, u[:, 0], axis=0), expected, atol=0.03)
    found = np.mean(np.asarray(z) > 0, axis=0)
    assert np.all(found[:2] < 0.99)
    np.testing.assert_allclose(np.sum(found), open_gates[0], atol=0.02)


def test_a_gate_that_is_closed_leaves_a_network_out():
    net = CASES["sub_network"](trunk())
    params = jax.tree.map(np.float32, named_params(net))
    for t in CHAIN:
        closed = np.array([-9, 0, 9 if t == "buy" else -9], np.float32)
        params[f"heads_{t}"]["route"]["gates"]["log_alpha"] = closed
    apply = jax.jit(net.apply)
    before = apply({"params": params}, X)
    kernel = params["trunk"]["level01"]["Dense_0"]["kernel"]
    for network, readers in ((0, set()), (1, set(CHAIN)), (2, {"buy"})):
        moved = jax.tree.map(np.copy, params)
        moved["trunk"]["level01"]["Dense_0"]["kernel"] = kernel + (
            np.arange(3)[:, None, None] == network
        )
        after = apply({"params": moved}, X)
        assert {t for t in CHAIN if np.any(before[t] != after[t])} == readers


def test_heads_are_stacked_with_their_gates():
    model = models.from_linen(CASES["sub_network"](None))
    variables = jax.eval_shape(model.init, jax.random.key(0), X)
    assert variables.specific.groups == (tuple(f"heads_{t}" for t in CHAIN),)
    assert variables.shared["trunk"]["level00"]["Dense_0"]["kernel"].shape == (2, 5, 4)
    assert variables.specific["heads_buy"]["route"]["matrices"].shape == (3, 4, 4)


def test_a_single_level_has_gates_of_the_tasks_alone():
    net = models.SubNetworkRouting(None, heads(), (2,), (4,), "aver", 0.5)
    variables = noisy(jax.jit(net.init)(jax.random.key(0), X))
    keys = {"dropout": jax.random.key(0)}
    outputs = jax.jit(lambda v: net.apply(v, X, True, rngs=keys))(variables)
    gates = variables["params"]["heads_buy"]["route"]["gates"]
    expected = 0.5 * expected_open(jax.tree.map(np.float64, gates))
    np.testing.assert_allclose(outputs["buy"].penalty, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"num_networks": ()}, r"found num_networks=\(\)"),
        ({"num_networks": (2, 0)}, r"found num_networks=\(2, 0\)"),
        ({"features": ()}, r"features=\(\)"),
        ({"sparsity": -1}, "sparsity=-1"),
        ({"connection": "mean"}, "unknown connection of SubNetworkRouting 'mean'"),
    ],
)
def test_arguments_out_of_range(arguments, text):
    with pytest.raises(ValueError, match=text):
        models.SubNetworkRouting(None, heads(), **arguments)


def test_what_is_no_vector():
    net = models.SubNetworkRouting(None, heads())
    with pytest.raises(ValueError, match="SubNetworkRouting reads one vector"):
        jax.eval_shape(net.init, jax.random.key(0), jnp.ones((2, 8, 8, 3)))

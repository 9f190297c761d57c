"""ESMM and AITM against their equations, and the arithmetic of chains."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from architecture_cases import (
    BATCH,
    CASES,
    CHAIN,
    LABELS,
    TASKS,
    X,
    bound,
    heads,
    named_params,
    start,
    trunk,
)
from test_expert_models import below, dense, relu, softmax, tower

from mtl_jax import models, objective
from mtl_jax.models.esmm import joint_logit
from mtl_jax.models.mixed_precision import in_dtype


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def entropy(p, label):
    """Binary cross entropy of a probability."""
    return -np.log(p if label else 1 - p)


def esmm(params, x):
    """The probabilities of all steps before and with each."""
    x = below(params, x)
    steps = [sigmoid(tower(params[f"heads_{t}"], x))[0] for t in CHAIN]
    return dict(zip(CHAIN, np.cumprod(steps), strict=True))


def aitm(params, x):
    x = below(params, x)
    found, z = {}, None
    for t in CHAIN:
        own = x
        for _, layer in sorted(params[f"towers_{t}"].items()):
            own = relu(dense(layer, own))
        if z is None:
            z = own
        else:
            transfer = params[f"transfers_{t}"]
            both = [own, relu(dense(transfer["given"], z))]
            project = [
                [dense(transfer[name], u) for u in both]
                for name in ("query", "key", "value")
            ]
            queries, keys, values = map(np.array, project)
            z = softmax((queries * keys).sum(1) / np.sqrt(len(own))) @ values
        found[t] = sigmoid(tower(params[f"heads_{t}"], z))[0]
    return found


EQUATIONS = {"esmm": esmm, "aitm": aitm, "aitm_plain": aitm}


@pytest.mark.parametrize(
    "name, below", [*((name, True) for name in EQUATIONS), ("aitm", False)]
)
def test_outputs_are_the_logits_of_the_equations(name, below):
    net = CASES[name](trunk() if below else None)
    params = named_params(net)
    assert ("trunk" in params) == below
    outputs = jax.jit(net.apply)({"params": jax.tree.map(jnp.float32, params)}, X)
    for b, x in enumerate(np.float64(X)):
        for t, p in EQUATIONS[name](params, x).items():
            expected = np.log(p) - np.log1p(-p)
            np.testing.assert_allclose(outputs[t][b, 0], expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", EQUATIONS)
def test_losses_are_those_of_the_papers(name):
    """Over the entire space; of AITM with the calibrator, in the loss of a task."""
    net = CASES[name](trunk())
    params = named_params(net)
    weight = {"aitm": 0.5}.get(name, 0.0)
    expected, penalties = dict.fromkeys(CHAIN, 0.0), 0.0
    for b, x in enumerate(np.float64(X)):
        found = EQUATIONS[name](params, x)
        for place, t in enumerate(CHAIN):
            expected[t] += entropy(found[t], LABELS[t][b]) / len(X)
            if place and weight:
                penalty = weight * max(found[t] - found[CHAIN[place - 1]], 0) / len(X)
                expected[t] += penalty
                penalties += penalty
    if weight:
        assert penalties > 0.01
    outputs = jax.jit(net.apply, static_argnums=2)(
        {"params": jax.tree.map(jnp.float32, params)}, X, True
    )
    out = objective.task_losses(TASKS, outputs, BATCH)
    np.testing.assert_allclose(
        out.sums / out.counts, [expected[t] for t in CHAIN], rtol=1e-4
    )


GRID = np.array([-1e4, -200, -90, -30, -17, -3, -0.5, 0, 1, 8, 17, 30, 90, 200, 1e4])


def test_joint_logits_are_exact_at_any_probability():
    """Against rational arithmetic: odds of the product from odds of the factors."""
    from fractions import Fraction

    def exponential(x):
        # exp to 25 digits, from the series of a small number squared up.
        small = Fraction(x) / 2**18
        total = term = Fraction(1)
        for n in range(1, 12):
            term = term * small / n
            total += term
        digits = 10**40
        for _ in range(18):
            total = Fraction(round(total * total * digits), digits)
        return total

    values = [-40.0, -17.5, -3.0, 0.0, 0.75, 8.0, 17.5, 40.0]
    for a in values:
        for b in values:
            f, g = exponential(-a), exponential(-b)
            expected = -np.log(float(f + g + f * g))
            found = joint_logit(jnp.float32(a), jnp.float32(b))
            np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-6)


def test_joint_logits_and_their_gradients_are_finite():
    a, b = (jnp.asarray(g.ravel(), jnp.float32) for g in np.meshgrid(GRID, GRID))
    value = jax.jit(joint_logit)(a, b)
    da, db = jax.jit(jax.vmap(jax.grad(joint_logit, argnums=(0, 1))))(a, b)
    assert np.all(np.isfinite([value, da, db]))
    least = np.minimum(a, b)
    assert np.all(value <= least + 1e-6 * np.abs(least)), "no likelier than a factor"
    # d/da = (e^-a + e^(-a-b)) / (e^-a + e^-b + e^(-a-b)), in float64.
    a, b = np.float64(a), np.float64(b)
    terms = np.stack([-a, -b, -a - b])
    shares = np.exp(terms - terms.max(0))
    shares /= shares.sum(0)
    np.testing.assert_allclose(da, shares[0] + shares[2], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(db, shares[1] + shares[2], rtol=1e-3, atol=1e-6)


def test_steps_are_found_again():
    steps = {"view": np.array([-9.0, 0.0, 4.0]), "click": np.array([3.0, -7.0, 1.0])}
    steps["buy"] = np.array([-2.0, 2.0, -30.0])
    joint, outputs = None, {}
    for t in CHAIN:
        step = jnp.asarray(steps[t], jnp.float32)
        joint = step if joint is None else joint_logit(joint, step)
        outputs[t] = joint
    found = models.conditional_logits(outputs, CHAIN)
    for t in CHAIN:
        np.testing.assert_allclose(found[t], steps[t], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("net", [models.ESMM, models.AITM])
def test_a_step_has_one_logit(net):
    towers = {"a": nn.Dense(1), "b": nn.Dense(2)}
    with pytest.raises(ValueError, match=r"head of task 'b' gives .* \(8, 2\)"):
        jax.eval_shape(net(trunk(), towers).init, jax.random.key(0), X)


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"tower_features": ()}, r"at least one layer.*tower_features=\(\)"),
        ({"calibration": -1.0}, "calibration=-1.0"),
    ],
)
def test_settings_out_of_range(fields, text):
    net = models.AITM(trunk(), heads(), **fields)
    with pytest.raises(ValueError, match=text):
        jax.eval_shape(net.init, jax.random.key(0), X)


def test_logits_are_multiplied_in_float32():
    _, model, variables = start("esmm")
    narrow = in_dtype(model, "bfloat16")
    wide, _ = jax.jit(model.apply)(*variables, X)
    found, _ = jax.jit(narrow.apply)(*variables, X)
    for t in CHAIN:
        np.testing.assert_allclose(found[t], wide[t], rtol=0.05, atol=0.05)
    # A sum of logits that bfloat16 cannot hold apart.
    assert np.all(np.float32(jnp.bfloat16(found["buy"])) != found["buy"])


def test_order_of_the_heads_is_that_of_the_chain():
    backwards = dict(reversed(heads().items()))
    names = models.ESMM(trunk(), backwards).shared_names
    assert names == ("trunk", "heads_buy", "heads_click")
    assert models.AITM(None, heads()).shared_names == (
        *("towers_view", "heads_view"),
        *("towers_click", "transfers_click", "heads_click"),
    )
    assert models.AITM(None, heads(), calibration=0.0).shared_names == (
        *("towers_view", "towers_click", "transfers_click"),
    )


def test_the_losses_do_not_depend_on_the_order_of_the_tasks():
    _, model, variables = start("aitm")
    params = variables.shared, variables.specific
    one = jax.jit(bound(model, variables))(*params)
    other = jax.jit(bound(model, variables, task_list=TASKS[::-1]))(*params)
    np.testing.assert_allclose(one.sums, other.sums[::-1], rtol=1e-6)

"""Convolutions in loops and branches are written in the order that XLA:CPU knows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine.test_gramian_routes import Problem, by_gramian
from engine.trunks import TRUNKS
from jax.extend.core import Jaxpr

from mtl_jax import engine, weighting
from mtl_jax.engine.convolutions import fast_in_loops

SETTINGS = {
    # name: (input, weight, arguments)
    "strides": ((2, 8, 8, 3), (3, 3, 3, 4), {"window_strides": (2, 2)}),
    "groups": ((2, 8, 8, 4), (3, 3, 2, 4), {"feature_group_count": 2}),
    "dilated": ((2, 8, 8, 3), (2, 3, 3, 4), {"rhs_dilation": (1, 2)}),
    "transposed": ((2, 4, 4, 3), (3, 3, 3, 4), {"lhs_dilation": (2, 2)}),
    "one dimension": ((2, 9, 3), (3, 3, 4), {}),
    "three dimensions": ((2, 4, 5, 4, 3), (2, 3, 2, 3, 4), {}),
}


def numbers(rank):
    letters = "DHW"[3 - (rank - 2) :]
    return (f"N{letters}C", f"{letters}IO", f"N{letters}C")


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_values(name):
    shape, weights, arguments = SETTINGS[name]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    w = jnp.asarray(rng.normal(size=weights), jnp.float32)
    rank = len(shape)
    arguments = {"window_strides": (1,) * (rank - 2), **arguments}

    def function(x, w):
        def conv(x, w):
            return jax.lax.conv_general_dilated(
                x,
                w,
                padding=((1, 1),) * (rank - 2),
                dimension_numbers=numbers(rank),
                **arguments,
            )

        out, vjp = jax.vjp(conv, x, w)
        return out, vjp(jnp.cos(out))

    plain = jax.jit(function)(x, w)
    rewritten = jax.jit(fast_in_loops(function))(x, w)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(rewritten), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def orders(jaxpr, inside=False):
    """The dimension numbers of all convolutions in loops and branches."""
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "conv_general_dilated" and inside:
            yield eqn.params["dimension_numbers"]
        for value in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda v: isinstance(v, Jaxpr)
        ):
            inner = getattr(value, "jaxpr", value)
            if isinstance(inner, Jaxpr):
                yield from orders(inner, inside or name in ("scan", "while", "cond"))


@pytest.mark.parametrize("how", ["chunks", "jacobian_free", "held", "aggregator"])
def test_what_the_engine_loops_over_is_rewritten(how):
    problem = Problem(TRUNKS["convolutions"], "float32")
    method = by_gramian()
    arguments = {"task_chunk": 2}
    if how == "held":
        method, arguments = weighting.every_k(method, 2), {}
    elif how == "aggregator":
        method = weighting.as_aggregator(method)
    elif how == "jacobian_free":
        arguments["gramian"] = how

    def step(shared):
        return engine.gradients(
            method,
            problem.split,
            shared,
            problem.specific,
            method.init(4, shared),
            **arguments,
        ).shared

    found = list(orders(jax.make_jaxpr(step)(problem.shared).jaxpr))
    assert len(found) > 5
    assert {(d.lhs_spec, d.rhs_spec, d.out_spec) for d in found} == {
        ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    }

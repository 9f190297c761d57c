"""float64 inside float32 programs, in every nesting of transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.solvers import precision


@precision.in_float64
def solve(a, b):
    """Loses all its digits in float32."""
    tiny = jnp.einsum("ij,j->i", a, b) + 1e-12
    out = jax.lax.fori_loop(0, 3, lambda i, x: x + a @ (b * 0), tiny)
    return {"x": (out - jnp.einsum("ij,j->i", a, b)) * 1e12, "n": jnp.int32(3)}


NESTINGS = {
    "eager": lambda f: lambda a, b: np.stack([f(x, b) for x in a]),
    "jit": lambda f: lambda a, b: np.stack([jax.jit(f)(x, b) for x in a]),
    "vmap": lambda f: jax.vmap(f, (0, None)),
    "jit vmap": lambda f: jax.jit(jax.vmap(f, (0, None))),
    "vmap jit": lambda f: jax.vmap(jax.jit(f), (0, None)),
    "vmap jit vmap": lambda f: (
        lambda a, b: jax.vmap(jax.jit(jax.vmap(f, (0, None))), (0, None))(a[None], b)[0]
    ),
    "scan": lambda f: lambda a, b: jax.lax.scan(lambda c, x: (c, f(x, b)), 0, a)[1],
    "vmap scan": lambda f: (
        lambda a, b: jax.vmap(
            lambda a: jax.lax.scan(lambda c, x: (c, f(x, b)), 0, a)[1]
        )(a[None])[0]
    ),
    "vmap cond": lambda f: jax.vmap(
        lambda x, b: jax.lax.cond(x[0, 0] < 9, lambda: f(x, b), lambda: b), (0, None)
    ),
    "pmap": lambda f: jax.pmap(f, in_axes=(0, None)),
}


@pytest.mark.parametrize("name", NESTINGS)
def test_keeps_float64_in(name):
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.uniform(size=(4, 3, 3)), jnp.float32)
    b = jnp.asarray(rng.uniform(size=3), jnp.float32)
    out = NESTINGS[name](lambda a, b: solve(a, b)["x"])(a, b)
    assert out.dtype == jnp.float32
    # 1e-12 survives beside numbers of order 1 in float64 alone (eps 2e-16).
    np.testing.assert_allclose(out, 1.0, atol=2e-3)


def test_integers_and_none_pass_through():
    double = precision.in_float64(lambda a, n, nothing: (2 * a, n, nothing))
    a, n, nothing = double(jnp.float32(1), jnp.int32(3), None)
    assert (a.dtype, n.dtype, nothing) == (jnp.float32, jnp.int32, None)
    assert not jax.config.jax_enable_x64


def test_in_the_dtype_of_the_program_nothing_is_widened():
    def dtype_in(run):
        seen = []

        @precision.in_float64
        def look(x):
            seen.append(str(x.dtype))
            return x

        run(look)
        return seen[0]

    one = jnp.ones(2, jnp.float32)
    ways = (
        lambda look: look(one),
        lambda look: jax.jit(look)(one),
        lambda look: jax.vmap(look)(one[None]),
    )
    for way in ways:
        assert dtype_in(way) == "float64"
        with precision.in_the_dtype_of_the_program():
            assert dtype_in(way) == "float32"

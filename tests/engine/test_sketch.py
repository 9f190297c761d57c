"""The estimated Gramian: unbiased, with the error that its docstring states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from engine.test_gramian_routes import Problem, by_gramian
from engine.trunks import TRUNKS

from mtl_jax import engine, weighting


@pytest.fixture(scope="module")
def problem():
    return Problem(TRUNKS["shared"], "float32")


@pytest.fixture(scope="module")
def jacobian(problem):
    return problem.jacobian()


def estimates(problem, method, count):
    """`count` independent Gramians of one step, `[count, T, T]`."""

    @jax.jit
    def run(keys):
        def one(key):
            out = engine.gradients(
                method,
                problem.split,
                problem.shared,
                problem.specific,
                method.init(len(problem.specific)),
                key=key,
            )
            return out.gramian

        return jax.lax.map(one, keys)

    return np.asarray(run(jax.random.split(jax.random.key(5), count)), np.float64)


def test_unbiased_and_as_noisy_as_stated(problem, jacobian):
    k, count = 4, 400
    found = estimates(problem, weighting.sketch(by_gramian(), k), count)
    exact = jacobian @ jacobian.T
    norms = np.diag(exact)
    fourth = (jacobian**2) @ (jacobian**2).T
    variance = (np.outer(norms, norms) + exact**2 - 2 * fourth) / k
    error = np.abs(found.mean(0) - exact) / np.sqrt(variance / count)
    assert error.max() < 4.5  # standard errors of the mean, over 10 entries
    np.testing.assert_allclose(found.var(0), variance, rtol=0.5)
    one = np.linalg.eigvalsh(found[0])
    assert one.min() > -1e-4 * one.max()


def test_a_part_of_the_parameters(problem):
    names = "Dense_0|Embed_1"
    method = weighting.sketch(weighting.restrict(by_gramian(), names), 64, 0.0)
    found = estimates(problem, method, 64).mean(0)
    exact = np.asarray(
        jax.jit(
            lambda shared: (
                engine.gradients(
                    weighting.restrict(by_gramian(), names),
                    problem.split,
                    shared,
                    problem.specific,
                    (),
                ).gramian
            )
        )(problem.shared)
    )
    norms = np.sqrt(np.diag(exact))
    # 4096 vectors: a standard error of √(2 / 4096) = 0.022
    assert np.max(np.abs(found - exact) / np.outer(norms, norms)) < 0.1


def test_the_method_sees_the_average_of_the_estimates():
    method = weighting.sketch(weighting.mgda(), 8, 0.5)
    assert (method.sketch, method.num_samples, method.where) == (8, 1, None)
    state = method.init(2)
    for second in (1.0, 7.0):  # the average is (1 + 2 · 7) / 3 = 5
        weights, state = method.update(jnp.diag(jnp.array([1.0, second])), state)
    np.testing.assert_allclose(weights, [5 / 6, 1 / 6], rtol=1e-5)


def test_every_k_and_chain_keep_the_estimate():
    method = weighting.sketch(by_gramian(), 8)
    assert weighting.every_k(method, 3).sketch == 8
    assert weighting.chain(weighting.equal(), method).sketch == 8
    with pytest.raises(ValueError, match=r"estimate that of the chain as a whole"):
        weighting.chain(method, weighting.mgda())


def test_what_it_needs(problem):
    method = weighting.sketch(by_gramian(), 2)
    args = (problem.split, problem.shared, problem.specific, method.init(4))
    with pytest.raises(ValueError, match=r"draws random vectors: give .*key"):
        engine.gradients(method, *args)
    with pytest.raises(ValueError, match="estimates the Gramian of the parameters"):
        engine.gradients(method, *args, key=jax.random.key(0), at="representation")
    with pytest.raises(ValueError, match="k"):
        weighting.sketch(by_gramian(), 0)

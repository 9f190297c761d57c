"""`aggregate`: a method on a plain matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax import weighting


def test_it_takes_integers_and_lists():
    out = weighting.aggregate(weighting.mgda(), [[3, 0], [0, 3]])
    np.testing.assert_allclose(out.direction, 1.5, rtol=1e-6)


def test_it_prints_readable_weights_and_how_the_solver_fared():
    out = weighting.aggregate(weighting.mgda(), jnp.diag(jnp.array([1.0, 2.0])))
    weights, direction, solver = str(out).splitlines()
    assert weights == "weights 0.8  0.2  (sum 1)"
    assert direction == "direction of length 0.8944"
    assert solver.startswith("solver: converged, ")
    plain = str(weighting.aggregate(weighting.equal(), jnp.eye(2)))
    assert plain.splitlines() == [
        "weights 1  1  (sum 2)",
        "direction of length 1.414",
    ]
    assert "weights" not in str(weighting.aggregate(weighting.graddrop(), jnp.eye(2)))


def test_it_says_which_rows_are_not_finite():
    jacobian = jnp.ones((4, 3)).at[1, 2].set(jnp.nan).at[3, 0].set(jnp.inf)
    with pytest.raises(ValueError, match=r"gradients of tasks \[1, 3\]"):
        weighting.aggregate(weighting.mgda(), jacobian)
    # Under jit the values are not known, and NaN goes in and comes out.
    out = jax.jit(lambda j: weighting.aggregate(weighting.mgda(), j).direction)
    assert np.all(np.isnan(out(jacobian)))


@pytest.mark.parametrize(
    ("jacobian", "losses", "text"),
    [
        (jnp.ones(3), None, r"shape \[T, P\]; found \(3,\)"),
        (jnp.ones((2, 2, 2)), None, r"shape \[T, P\]; found \(2, 2, 2\)"),
        (jnp.eye(3), jnp.ones(2), r"3 tasks and losses of shape \(2,\)"),
    ],
)
def test_shapes_that_do_not_fit(jacobian, losses, text):
    with pytest.raises(ValueError, match=text):
        weighting.aggregate(weighting.mgda(), jacobian, losses=losses)


def test_what_is_not_a_method():
    with pytest.raises(TypeError, match="is not a weighting method"):
        weighting.aggregate("mgda", jnp.eye(2))  # type: ignore[arg-type]


def product(samples):
    """Shows the matrix it is given, as weights."""

    def update(gramian, state, **extra):
        del extra
        return gramian[0], state

    return weighting.GramianWeighting(
        lambda num_tasks, params=None: weighting.EmptyState(),
        update,
        num_samples=samples,
    )


def test_a_method_of_several_samples_sees_the_product_of_the_first_two():
    rng = np.random.default_rng(0)
    j = rng.normal(size=(3, 2, 5)).astype(np.float32)
    out = weighting.aggregate(product(3), j)
    np.testing.assert_allclose(out.weights, (j[0] @ j[1].T)[0], rtol=1e-5)
    np.testing.assert_allclose(out.direction, j[2].T @ out.weights, rtol=1e-4)
    out = weighting.aggregate(product(2), j[:2])
    np.testing.assert_allclose(out.direction, j[1].T @ out.weights, rtol=1e-4)
    same = weighting.aggregate(product(3), j[0])
    np.testing.assert_allclose(same.weights, (j[0] @ j[0].T)[0], rtol=1e-5)
    with pytest.raises(ValueError, match="takes 3 samples and was given the Jac"):
        weighting.aggregate(product(3), j[:2])

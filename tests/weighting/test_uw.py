"""Uncertainty weighting beyond its golden values."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import weighting


def test_it_follows_any_optimizer():
    method = weighting.uw(optimizer=optax.adam(0.1))
    weights, state = method.update(jnp.array([1.0, 8.0]), method.init(2))
    assert weights.tolist() == [0.5, 0.5]
    # Adam's first step has the length of the learning rate, against the gradient.
    np.testing.assert_allclose(state.log_variance, [0.0, 0.1], atol=1e-6)


def test_it_survives_a_loss_of_any_size():
    """A step along 1e4 would throw s to 100 and the task would be lost."""
    for scale in (1e-6, 1e-3, 1e3, 1e6):
        for variant in ("regression", "classification"):
            method = weighting.uw(variant, sgd_lr=0.1)
            state = method.init(1)
            for _ in range(300):
                weights, state = method.update(jnp.array([scale]), state)
            # At the optimum the weight is 1 / (2 L).
            if scale >= 1e-3:
                assert float(weights[0]) == pytest.approx(0.5 / scale, rel=1e-2)
            assert float(weights[0]) > 0

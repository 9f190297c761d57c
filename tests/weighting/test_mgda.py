"""MGDA beyond its golden values."""

import jax.numpy as jnp
import pytest

from mtl_jax import weighting


@pytest.mark.parametrize("normalize", ["loss", "loss+"])
def test_a_loss_normaliser_refuses_losses_that_are_not_positive(normalize):
    out = weighting.aggregate(
        weighting.mgda(normalize), jnp.eye(3), losses=jnp.array([1.0, -0.5, 2.0])
    )
    assert bool(jnp.any(jnp.isnan(out.weights)))

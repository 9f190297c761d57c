"""Widths of models with equally many parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from mtl_jax import models

X = jnp.ones((1, 10))


def shared_bottom(width):
    """10 w + w of the trunk, w + 1 a head."""
    return models.HardSharing(
        models.MLP((width,)), {"a": nn.Dense(1), "b": nn.Dense(1)}
    )


@pytest.mark.parametrize("target", [1, 15, 21, 22, 41, 100, 1301, 1302, 131_071])
def test_the_nearest_of_all_widths(target):
    counts = {width: 13 * width + 2 for width in range(1, 12_000)}
    width = min(counts, key=lambda w: (abs(counts[w] - target), w))
    found = models.match_params(shared_bottom, target, X)
    assert found == (width, counts[width])


def test_the_equal_comparison_of_the_mmoe_paper():
    """100 inputs, 8 experts of 16 units, towers of 8: the paper's shared bottom."""
    x = jax.ShapeDtypeStruct((1, 100), jnp.float32)

    def heads():
        return {n: nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(1)]) for n in "ab"}

    target = models.count_params(models.MMoE(None, heads(), 8, (16,)), x)
    experts, gates = 8 * (100 * 16 + 16), 2 * 100 * 8
    assert target == experts + gates + 2 * (16 * 8 + 8 + 8 + 1)

    def build(width):
        return models.HardSharing(models.MLP((width,)), heads())

    width, count = models.match_params(build, target, x)
    bottom = {w: 101 * w + 2 * (8 * w + 8 + 9) for w in range(200)}
    assert count == bottom[width]
    assert abs(count - target) == min(abs(c - target) for c in bottom.values())


def test_models_are_counted_too():
    def build(width):
        return models.from_linen(shared_bottom(width))

    assert models.count_params(build(3), X) == 41
    assert models.match_params(build, 41, X) == (3, 41)


def test_models_that_do_not_grow():
    with pytest.raises(ValueError, match="41 at width 1 and 41 at width 2"):
        models.match_params(lambda _: shared_bottom(3), 100, X)

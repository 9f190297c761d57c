"""The part of a model that is a task's own."""

from collections.abc import Mapping, Sequence
from typing import Literal

import flax.linen as nn

from mtl_jax.errors import unknown_name
from mtl_jax.typing import Array, PyTree


class Head(nn.Module):
    """Dense layers on the last axis of a representation.

    So the same head gives outputs of a vector `[B, D]`, of every pixel `[B, H, W, D]`
    and of every word `[B, L, D]`.

    Attributes:
        num_outputs: width of the outputs.
        features: widths of the hidden layers, each followed by a rectifier.
        reads: which part of a representation that has several: "pooled" (one vector an
            example) or "tokens" (one a word). `None`: the representation is one array.

    Raises:
        ValueError: `reads` that does not fit the representation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> z = {"tokens": jnp.ones((2, 7, 4)), "pooled": jnp.ones((2, 4))}
        >>> Head(3, reads="tokens").init_with_output(jax.random.key(0), z)[0].shape
        (2, 7, 3)
    """

    num_outputs: int
    features: Sequence[int] = ()
    reads: Literal["pooled", "tokens"] | None = None

    @nn.compact
    def __call__(self, representation: PyTree) -> Array:
        """`[..., D] -> [..., num_outputs]`."""
        x = self._read(representation)
        for width in self.features:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_outputs)(x)

    def _read(self, representation: PyTree) -> Array:
        if not isinstance(representation, Mapping):
            if self.reads is None:
                return representation
            raise ValueError(
                f"this head reads the part {self.reads!r} of a representation; found "
                f"one array of shape {tuple(representation.shape)}. Take reads away, "
                "or use a trunk of text"
            )
        if self.reads is None:
            parts = sorted(representation)
            choices = " or ".join(f"reads={part!r}" for part in parts)
            raise ValueError(
                f"this representation has the parts {', '.join(parts)}; give the head "
                f"{choices}"
            )
        if self.reads not in representation:
            raise unknown_name("part of the representation", self.reads, representation)
        return representation[self.reads]

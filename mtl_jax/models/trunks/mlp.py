"""Multi-layer perceptron."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.typing import Array


class MLP(nn.Module):
    """Dense layers, each followed by a nonlinearity; inputs are flattened.

    Attributes:
        features: widths of the layers; the last one is D.
        activation: nonlinearity after every layer, the last one included.
        batch_norm: normalise every layer over the batch, before the nonlinearity.
        dropout: rate of dropout after every layer, in training.
        input_scale: inputs are multiplied by it, so that `1 / 255` takes raw images.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters and inputs, see `models.in_dtype`.

    Example:
        >>> import jax
        >>> images = jnp.ones((2, 8, 8))
        >>> out, _ = MLP((16, 4)).init_with_output(jax.random.key(0), images)
        >>> out.shape
        (2, 4)
    """

    features: Sequence[int]
    activation: Callable[[Array], Array] = nn.relu
    batch_norm: bool = False
    dropout: float = 0.0
    input_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """`[B, ...] -> [B, D]`."""
        x = inputs.reshape(inputs.shape[0], -1)
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        x = x.astype(self.dtype or (x.dtype if floating else jnp.float32))
        if self.input_scale != 1:
            x = x * jnp.asarray(self.input_scale, x.dtype)
        for width in self.features:
            x = nn.Dense(width, dtype=self.dtype)(x)
            if self.batch_norm:
                x = nn.BatchNorm(use_running_average=not train, dtype=self.dtype)(x)
            x = self.activation(x)
            if self.dropout > 0:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x

    def in_stages(self) -> tuple[nn.Module, ...]:
        """One a layer; see `models.stages`."""
        plain = self.clone(parent=None, name=None)
        layers = [
            plain.clone(features=(width,), input_scale=1.0 if i else self.input_scale)
            for i, width in enumerate(self.features)
        ]
        return tuple(layers) or (plain,)

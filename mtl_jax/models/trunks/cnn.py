"""Convolutional network."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn

from mtl_jax.errors import unknown_name
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.typing import Array


class CNN(nn.Module):
    """Convolutions, each followed by a nonlinearity and 2x2 max pooling; dense layers.

    Attributes:
        features: channels of the 3x3 convolutions; each halves the image.
        dense: widths of the dense layers that follow; without any, the pooled channels
            are the representation.
        pooling: how the last image becomes a vector: "flatten", or "mean" over places.
        activation: nonlinearity after every layer, the last one included.
        batch_norm: normalise every layer over the batch, before the nonlinearity.
        dropout: rate of dropout after every dense layer, in training.
        input_scale: images are multiplied by it, so that `1 / 255` takes raw ones.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters and inputs, see `models.in_dtype`.

    Raises:
        ValueError: inputs that are no images, or too small to be halved so often.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> images = jnp.ones((2, 28, 28, 1), jnp.uint8)
        >>> net = CNN((8, 16), dense=(32,), input_scale=1 / 255)
        >>> net.init_with_output(jax.random.key(0), images)[0].shape
        (2, 32)

    References:
        LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc.
        IEEE 1998. Differs: the rectifiers and maxima of later practice.
    """

    features: Sequence[int] = (32, 64, 128)
    dense: Sequence[int] = (128,)
    pooling: Literal["flatten", "mean"] = "flatten"
    activation: Callable[[Array], Array] = nn.relu
    batch_norm: bool = False
    dropout: float = 0.0
    input_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """`[B, H, W, C] -> [B, D]`."""
        if self.pooling not in ("flatten", "mean"):
            raise unknown_name("pooling of CNN", self.pooling, ("flatten", "mean"))
        x = accepted.images(inputs, "CNN", self.input_scale, self.dtype)
        least = 2 ** len(self.features)
        if min(x.shape[1:3]) < least:
            raise ValueError(
                f"CNN with features={tuple(self.features)} halves the image "
                f"{len(self.features)} times and needs {least}x{least} pixels or more; "
                f"found images {tuple(x.shape)}. Give fewer features."
            )
        for width in self.features:
            x = nn.Conv(width, (3, 3), dtype=self.dtype)(x)
            x = self.activation(self._normalised(x, train))
            x = nn.max_pool(x, (2, 2), (2, 2))
        mean = self.pooling == "mean"
        x = x.mean((1, 2)) if mean else x.reshape(x.shape[0], -1)
        for width in self.dense:
            x = nn.Dense(width, dtype=self.dtype)(x)
            x = self.activation(self._normalised(x, train))
            if self.dropout > 0:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x

    def _normalised(self, x: Array, train: bool) -> Array:
        if not self.batch_norm:
            return x
        norm = nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype)
        return norm(x)

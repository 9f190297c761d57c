"""Dilated convolutions, for a representation of every pixel."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.typing import Array


class DilatedCNN(nn.Module):
    """Convolutions that see ever further and keep the resolution.

    With the default dilations every pixel sees a window of 67x67, at no loss of
    resolution and with nine weights a channel and layer.

    Attributes:
        features: D, channels of every layer.
        dilations: of the 3x3 convolutions, one a layer.
        activation: nonlinearity after every layer, the last one included.
        batch_norm: normalise every layer over the batch, before the nonlinearity.
        dropout: rate of dropout of whole channels after the last layer, in training.
        input_scale: images are multiplied by it, so that `1 / 255` takes raw ones.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters and inputs, see `models.in_dtype`.

    Raises:
        ValueError: inputs that are no images.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> images = jnp.ones((2, 16, 24, 3))
        >>> DilatedCNN(8).init_with_output(jax.random.key(0), images)[0].shape
        (2, 16, 24, 8)

    References:
        Yu and Koltun, Multi-Scale Context Aggregation by Dilated Convolutions, ICLR
        2016, Table 1. Differs: it reads images, not the maps of another network; random
        (He) and not identity weights to begin with; the 1x1 layer is the task's head.
    """

    features: int = 64
    dilations: Sequence[int] = (1, 1, 2, 4, 8, 16, 1)
    activation: Callable[[Array], Array] = nn.relu
    batch_norm: bool = False
    dropout: float = 0.0
    input_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """`[B, H, W, C] -> [B, H, W, D]`."""
        x = accepted.images(inputs, "DilatedCNN", self.input_scale, self.dtype)
        for dilation in self.dilations:
            x = nn.Conv(
                self.features,
                (3, 3),
                kernel_dilation=dilation,
                kernel_init=nn.initializers.he_normal(),
                dtype=self.dtype,
            )(x)
            if self.batch_norm:
                x = nn.BatchNorm(not train, momentum=0.9, dtype=self.dtype)(x)
            x = self.activation(x)
        if self.dropout > 0:
            channels = nn.Dropout(self.dropout, (1, 2), deterministic=not train)
            x = channels(x)
        return x

    def in_stages(self) -> tuple[nn.Module, ...]:
        """One a layer; see `models.stages`."""
        plain, last = self.clone(parent=None, name=None), len(self.dilations) - 1
        layers = [
            plain.clone(
                dilations=(dilation,),
                dropout=self.dropout if i == last else 0.0,
                input_scale=1.0 if i else self.input_scale,
            )
            for i, dilation in enumerate(self.dilations)
        ]
        return tuple(layers) or (plain,)

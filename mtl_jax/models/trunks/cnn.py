"""Convolutional network."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn

from mtl_jax.errors import unknown_name
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
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
        result: Array = in_turn(self, sum(_cut(self), ()), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """One a convolution or dense layer; see `models.stages`."""
        return tuple(Stage(layers, parent=None) for layers in _cut(self))


def _cut(cnn: CNN) -> list[tuple[Layers, ...]]:
    """The layers, stage by stage: the convolutions give images."""
    images: list[Layers] = [functools.partial(_convolved, cnn, n) for n in cnn.features]
    dense: list[Layers] = [functools.partial(_connected, cnn, n) for n in cnn.dense]
    begin, pool = functools.partial(_images, cnn), functools.partial(_pooled, cnn)
    found: list[tuple[Layers, ...]] = [(layer,) for layer in images + dense] or [()]
    found[0] = (begin, *found[0])
    if not dense:
        found[-1] = (*found[-1], pool)
    elif not images:
        found[0] = (begin, pool, dense[0])
    else:
        found[len(images)] = (pool, dense[0])
    return found


def _images(cnn: CNN, _: nn.Module, inputs: Array, train: bool) -> Array:
    if cnn.pooling not in ("flatten", "mean"):
        raise unknown_name("pooling of CNN", cnn.pooling, ("flatten", "mean"))
    x = accepted.images(inputs, "CNN", cnn.input_scale, cnn.dtype)
    least = 2 ** len(cnn.features)
    if min(x.shape[1:3]) < least:
        raise ValueError(
            f"CNN with features={tuple(cnn.features)} halves the image "
            f"{len(cnn.features)} times and needs {least}x{least} pixels or more; "
            f"found images {tuple(x.shape)}. Give fewer features."
        )
    return x


def _convolved(cnn: CNN, width: int, _: nn.Module, x: Array, train: bool) -> Array:
    x = nn.Conv(width, (3, 3), dtype=cnn.dtype)(x)
    x = cnn.activation(_normalised(cnn, x, train))
    return nn.max_pool(x, (2, 2), (2, 2))


def _pooled(cnn: CNN, _: nn.Module, x: Array, train: bool) -> Array:
    return x.mean((1, 2)) if cnn.pooling == "mean" else x.reshape(x.shape[0], -1)


def _connected(cnn: CNN, width: int, _: nn.Module, x: Array, train: bool) -> Array:
    x = nn.Dense(width, dtype=cnn.dtype)(x)
    x = cnn.activation(_normalised(cnn, x, train))
    if cnn.dropout > 0:
        x = nn.Dropout(cnn.dropout, deterministic=not train)(x)
    return x


def _normalised(cnn: CNN, x: Array, train: bool) -> Array:
    if not cnn.batch_norm:
        return x
    norm = nn.BatchNorm(not train, momentum=0.9, dtype=cnn.dtype)
    return norm(x)

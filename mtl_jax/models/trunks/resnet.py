"""Residual networks."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn

from mtl_jax.errors import unknown_name
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
from mtl_jax.typing import Array

Norm = Literal["batch", "group"]
Stem = Literal["imagenet", "small"]

_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ResNet(nn.Module):
    """Residual blocks in stages of half the resolution and twice the width each.

    `resnet18`, `resnet34` and `resnet50` are the published ones.

    Attributes:
        stages: blocks a stage.
        block: "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1, and four
            times the width at its end).
        width: of the first stage.
        norm: "batch", or "group": groups of channels of each example alone, 32 of them
            where the width allows it, of two channels or more; for small batches.
        stem: "imagenet": a 7x7 convolution of stride 2 and 3x3 max pooling, for images
            of some 200 pixels; "small": one 3x3 convolution, for images of some 32.
        input_scale: images are multiplied by it, so that `1 / 255` takes raw ones.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters and inputs, see `models.in_dtype`.

    Raises:
        ValueError: inputs that are no images; an unknown block, norm or stem.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> images = jnp.ones((2, 16, 16, 3))
        >>> net = ResNet((1, 1), width=8, stem="small")
        >>> net.init_with_output(jax.random.key(0), images)[0].shape
        (2, 16)

    References:
        He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016.
        Wu and He, Group Normalization, ECCV 2018. Differs: a bottleneck halves the
        resolution in its 3x3 convolution, as all implementations have come to do; the
        classifier is the task's head.
    """

    stages: Sequence[int] = (2, 2, 2, 2)
    block: Literal["basic", "bottleneck"] = "basic"
    width: int = 64
    norm: Norm = "batch"
    stem: Stem = "imagenet"
    input_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """`[B, H, W, C] -> [B, D]`."""
        result: Array = in_turn(self, sum(_cut(self), ()), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """As in `stages`, the stem with the first; see `models.stages`."""
        return tuple(Stage(layers, parent=None) for layers in _cut(self))


def _cut(net: ResNet) -> list[tuple[Layers, ...]]:
    """The layers, stage by stage."""
    found: list[tuple[Layers, ...]] = [
        (functools.partial(_blocks, net, stage),) for stage in range(len(net.stages))
    ]
    found = found or [()]
    found[0] = (functools.partial(_stem, net), *found[0])
    return [*found[:-1], (*found[-1], _mean)]


def _stem(net: ResNet, _: nn.Module, inputs: Array, train: bool) -> Array:
    for name, known in _CHOICES.items():
        if getattr(net, name) not in known:
            raise unknown_name(f"{name} of ResNet", getattr(net, name), known)
    x = accepted.images(inputs, "ResNet", net.input_scale, net.dtype)
    layers = _Layers(net.norm, train, net.dtype)
    if net.stem == "imagenet":
        x = nn.relu(layers.norm(layers.conv(x, net.width, 7, 2)))
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    return nn.relu(layers.norm(layers.conv(x, net.width, 3)))


def _blocks(net: ResNet, stage: int, _: nn.Module, x: Array, train: bool) -> Array:
    block, width = _CHOICES["block"][net.block], net.width * 2**stage
    for i in range(net.stages[stage]):
        stride = 2 if stage > 0 and i == 0 else 1
        name = f"stage{stage}_block{i}"
        x = block(width, stride, net.norm, net.dtype, name=name)(x, train)
    return x


def _mean(_: nn.Module, x: Array, train: bool) -> Array:
    return x.mean((1, 2))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the way around them."""

    width: int
    stride: int
    norm: Norm
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`[B, H, W, C] -> [B, H / stride, W / stride, width]`."""
        layers = _Layers(self.norm, train, self.dtype)
        y = nn.relu(layers.norm(layers.conv(x, self.width, 3, self.stride)))
        y = layers.norm(layers.conv(y, self.width, 3))
        return nn.relu(y + layers.around(x, self.width, self.stride))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, and the way around them."""

    width: int
    stride: int
    norm: Norm
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`[B, H, W, C] -> [B, H / stride, W / stride, 4 width]`."""
        layers = _Layers(self.norm, train, self.dtype)
        y = nn.relu(layers.norm(layers.conv(x, self.width, 1)))
        y = nn.relu(layers.norm(layers.conv(y, self.width, 3, self.stride)))
        y = layers.norm(layers.conv(y, 4 * self.width, 1))
        return nn.relu(y + layers.around(x, 4 * self.width, self.stride))


_CHOICES: dict[str, dict[str, Any]] = {
    "block": {"basic": BasicBlock, "bottleneck": Bottleneck},
    "norm": dict.fromkeys(("batch", "group")),
    "stem": dict.fromkeys(("imagenet", "small")),
}


class _Layers:
    """The layers of the module in whose `__call__` they are used."""

    def __init__(self, norm: Norm, train: bool, dtype: Any):
        self.kind, self.train, self.dtype = norm, train, dtype

    def conv(self, x: Array, width: int, size: int, stride: int = 1) -> Array:
        """A convolution; padded alike on both sides, as "SAME" is not with strides."""
        return nn.Conv(
            width,
            (size, size),
            strides=stride,
            padding=size // 2,
            use_bias=False,
            kernel_init=_INIT,
            dtype=self.dtype,
        )(x)

    def norm(self, x: Array) -> Array:
        """The normalisation of that kind."""
        if self.kind == "batch":
            return nn.BatchNorm(not self.train, momentum=0.9, dtype=self.dtype)(x)
        # A group of one channel and one place would be normalised to zero.
        channels = x.shape[-1]
        groups = math.gcd(32, channels)
        groups = groups // 2 if groups == channels > 1 else groups
        return nn.GroupNorm(groups, epsilon=1e-5, dtype=self.dtype)(x)

    def around(self, x: Array, width: int, stride: int) -> Array:
        """The identity where shapes allow it, else a 1x1 convolution."""
        if stride == 1 and x.shape[-1] == width:
            return x
        return self.norm(self.conv(x, width, 1, stride))


def resnet18(
    norm: Norm = "batch",
    stem: Stem = "imagenet",
    input_scale: float = 1.0,
    dtype: Any = None,
) -> ResNet:
    """ResNet-18, D = 512; 11,689,512 parameters with a head of 1000 classes.

    Args:
        norm: as in `ResNet`.
        stem: as in `ResNet`.
        input_scale: as in `ResNet`.
        dtype: as in `ResNet`.

    Example:
        >>> resnet18(stem="small").stages
        (2, 2, 2, 2)
    """
    return ResNet((2, 2, 2, 2), "basic", 64, norm, stem, input_scale, dtype)


def resnet34(
    norm: Norm = "batch",
    stem: Stem = "imagenet",
    input_scale: float = 1.0,
    dtype: Any = None,
) -> ResNet:
    """ResNet-34, D = 512; 21,797,672 parameters with a head of 1000 classes.

    Args:
        norm: as in `ResNet`.
        stem: as in `ResNet`.
        input_scale: as in `ResNet`.
        dtype: as in `ResNet`.

    Example:
        >>> resnet34().stages
        (3, 4, 6, 3)
    """
    return ResNet((3, 4, 6, 3), "basic", 64, norm, stem, input_scale, dtype)


def resnet50(
    norm: Norm = "batch",
    stem: Stem = "imagenet",
    input_scale: float = 1.0,
    dtype: Any = None,
) -> ResNet:
    """ResNet-50, D = 2048; 25,557,032 parameters with a head of 1000 classes.

    Args:
        norm: as in `ResNet`.
        stem: as in `ResNet`.
        input_scale: as in `ResNet`.
        dtype: as in `ResNet`.

    Example:
        >>> resnet50().block
        'bottleneck'
    """
    return ResNet((3, 4, 6, 3), "bottleneck", 64, norm, stem, input_scale, dtype)

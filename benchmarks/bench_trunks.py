"""Trunks in Flax Linen, as a user would write them: nothing of the library in them."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class MLP(nn.Module):
    """Dense layers with relu: 768 inputs, then 512 and 256."""

    features: Sequence[int] = (512, 256)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, D] -> [B, 256]`."""
        for width in self.features:
            x = nn.relu(nn.Dense(width, dtype=self.dtype)(x))
        return x


class CNN(nn.Module):
    """Four convolutions of stride 2, then a dense layer: 64 × 64 × 3 inputs."""

    features: Sequence[int] = (32, 64, 128, 256)
    dense: int = 256
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, H, W, C] -> [B, 256]`."""
        for width in self.features:
            # Padding (1, 1) is PyTorch's; "SAME" pads other sides at stride 2.
            conv = nn.Conv(width, (3, 3), (2, 2), padding=(1, 1), dtype=self.dtype)
            x = nn.relu(conv(x))
        x = x.reshape(x.shape[0], -1)
        return nn.relu(nn.Dense(self.dense, dtype=self.dtype)(x))


class _Convolution(nn.Module):
    """A convolution without bias, and BatchNorm."""

    features: int
    kernel: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            self.stride,
            padding=(self.kernel - 1) // 2,
            use_bias=False,
            dtype=self.dtype,
        )(x)
        return nn.BatchNorm(
            use_running_average=not train, momentum=0.9, dtype=self.dtype
        )(x)


class _Block(nn.Module):
    """A residual block: two 3 × 3 convolutions, or 1 × 1, 3 × 3, 1 × 1."""

    features: int
    stride: int
    bottleneck: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        wide = 4 * self.features if self.bottleneck else self.features
        if self.bottleneck:
            shapes = [(self.features, 1, 1), (self.features, 3, self.stride)]
            last = (wide, 1, 1)
        else:
            shapes, last = [(self.features, 3, self.stride)], (wide, 3, 1)
        y = x
        for features, kernel, stride in shapes:
            y = nn.relu(_Convolution(features, kernel, stride, self.dtype)(y, train))
        y = _Convolution(*last, self.dtype)(y, train)
        if x.shape != y.shape:
            x = _Convolution(wide, 1, self.stride, self.dtype)(x, train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """ResNet-18 (blocks 2, 2, 2, 2) or, with bottlenecks, ResNet-50 (3, 4, 6, 3)."""

    blocks: Sequence[int] = (2, 2, 2, 2)
    width: int = 64
    bottleneck: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """`[B, H, W, 3] -> [B, D]`."""
        x = nn.relu(_Convolution(self.width, 7, 2, self.dtype)(x, train))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for stage, blocks in enumerate(self.blocks):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                features = self.width * 2**stage
                x = _Block(features, stride, self.bottleneck, self.dtype)(x, train)
        return x.mean((1, 2))


class _Attention(nn.Module):
    """Self-attention of four dense layers."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        b, length, width = x.shape
        cut = (b, length, self.heads, width // self.heads)
        q, k, v = (
            nn.Dense(width, dtype=self.dtype, name=name)(x).reshape(cut)
            for name in ("query", "key", "value")
        )
        x = nn.dot_product_attention(q, k, v).reshape(b, length, width)
        return nn.Dense(width, dtype=self.dtype, name="out")(x)


class _Layer(nn.Module):
    """Attention and an MLP, each behind a LayerNorm and with a skip."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        width = x.shape[-1]
        norm = nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name="norm_attention")
        x = x + _Attention(self.heads, self.dtype, name="attention")(norm(x))
        y = nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name="norm_mlp")(x)
        y = nn.Dense(4 * width, dtype=self.dtype, name="wide")(y)
        y = nn.Dense(width, dtype=self.dtype, name="narrow")(nn.gelu(y))
        return x + y


class Transformer(nn.Module):
    """A transformer over tokens, or over the patches of an image (ViT)."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    vocabulary: int = 1000
    patch: int = 0  # side of a patch; 0: the inputs are tokens
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[B, L]` integers, or `[B, H, W, 3]` with patches, `-> [B, D]`."""
        if self.patch:
            side = (self.patch, self.patch)
            x = nn.Conv(self.width, side, side, padding="VALID", dtype=self.dtype)(x)
            x = x.reshape(x.shape[0], -1, self.width)
        else:
            embed = nn.Embed(self.vocabulary, self.width, dtype=self.dtype)
            x = embed(x.astype(jnp.int32))
        normal = nn.initializers.normal(0.02)
        x = x + self.param("position", normal, x.shape[1:]).astype(self.dtype)
        for n in range(self.layers):
            x = _Layer(self.heads, self.dtype, name=f"layer_{n}")(x)
        return nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name="norm")(x).mean(1)

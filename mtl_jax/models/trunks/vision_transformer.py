"""Vision transformer."""

import functools
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.models.trunks.encoder_block import EncoderBlock
from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
from mtl_jax.typing import Array


class VisionTransformer(nn.Module):
    """Patches of an image as the words of a transformer.

    Attributes:
        patch: side of the square patches, in pixels; it divides height and width.
        width: D.
        layers: how many blocks.
        heads: of the attention; they divide the width.
        hidden: width of the dense layer in a block; default: 4 D.
        pooling: "class": a token of its own that looks at the patches; or "mean" over
            the patches.
        dropout: rate of dropout, of patches and in the blocks, in training.
        input_scale: images are multiplied by it, so that `1 / 255` takes raw ones.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters and inputs, see `models.in_dtype`.

    Raises:
        ValueError: inputs that are no images or cannot be cut into patches; images of
            another size than those the positions were learned for.

    Example:
        >>> import jax
        >>> images = jnp.ones((2, 28, 28, 1))
        >>> net = VisionTransformer(patch=7, width=16, layers=1, heads=2)
        >>> net.init_with_output(jax.random.key(0), images)[0].shape
        (2, 16)

    References:
        Dosovitskiy et al., An Image Is Worth 16x16 Words, ICLR 2021.
    """

    patch: int = 4
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int | None = None
    pooling: Literal["class", "mean"] = "class"
    dropout: float = 0.0
    input_scale: float = 1.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: Array, train: bool = False) -> Array:
        """`[B, H, W, C] -> [B, D]`."""
        result: Array = in_turn(self, sum(_cut(self), ()), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """The patches in their places, then one a block; see `models.stages`."""
        return tuple(Stage(layers, parent=None) for layers in _cut(self))


def _cut(net: VisionTransformer) -> list[tuple[Layers, ...]]:
    """The layers, stage by stage."""
    found: list[tuple[Layers, ...]] = [(functools.partial(_patches, net),)]
    found += [(functools.partial(_block, net, layer),) for layer in range(net.layers)]
    return [*found[:-1], (*found[-1], functools.partial(_pooled, net))]


def _patches(
    net: VisionTransformer, module: nn.Module, inputs: Array, train: bool
) -> Array:
    if net.pooling not in ("class", "mean"):
        known = ("class", "mean")
        raise unknown_name("pooling of VisionTransformer", net.pooling, known)
    x = accepted.images(inputs, "VisionTransformer", net.input_scale, net.dtype)
    if x.shape[1] % net.patch or x.shape[2] % net.patch:
        raise ValueError(
            f"VisionTransformer cuts images into patches of patch={net.patch} "
            f"pixels; found images {tuple(x.shape)}. Give a patch that divides "
            "height and width, or pad the images"
        )
    size = (net.patch, net.patch)
    x = nn.Conv(net.width, size, size, "VALID", dtype=net.dtype, name="patches")(x)
    x = x.reshape(x.shape[0], -1, net.width)
    if net.pooling == "class":
        token = module.param("class", nn.initializers.zeros, (1, 1, net.width))
        token = jnp.broadcast_to(token, (x.shape[0], 1, net.width))
        x = jnp.concatenate([token.astype(x.dtype), x], axis=1)
    x = x + _places(net, module, x.shape[1]).astype(x.dtype)
    if net.dropout > 0:
        x = nn.Dropout(net.dropout, deterministic=not train)(x)
    return x


def _block(
    net: VisionTransformer, layer: int, _: nn.Module, x: Array, train: bool
) -> Array:
    hidden = net.hidden or 4 * net.width
    block = EncoderBlock(
        net.heads, hidden, net.dropout, net.dtype, name=f"block{layer}"
    )
    return block(x, None, train)


def _pooled(net: VisionTransformer, _: nn.Module, x: Array, train: bool) -> Array:
    x = nn.LayerNorm(dtype=net.dtype)(x)
    return x[:, 0] if net.pooling == "class" else x.mean(1)


def _places(net: VisionTransformer, module: nn.Module, count: int) -> Array:
    """What each place adds, `[1, N, D]`."""
    if module.has_variable("params", "positions"):
        known: int = module.get_variable("params", "positions").shape[1]
        if known != count:
            raise ValueError(
                f"VisionTransformer has learned positions for {known} patches; "
                f"found images of {count}. Give images of one size"
            )
    shape = (1, count, net.width)
    return module.param("positions", nn.initializers.normal(0.02), shape)

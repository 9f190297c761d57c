"""Vision transformer."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.errors import unknown_name
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.models.trunks.encoder_block import EncoderBlock
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
        if self.pooling not in ("class", "mean"):
            known = ("class", "mean")
            raise unknown_name("pooling of VisionTransformer", self.pooling, known)
        x = accepted.images(inputs, "VisionTransformer", self.input_scale, self.dtype)
        if x.shape[1] % self.patch or x.shape[2] % self.patch:
            raise ValueError(
                f"VisionTransformer cuts images into patches of patch={self.patch} "
                f"pixels; found images {tuple(x.shape)}. Give a patch that divides "
                "height and width, or pad the images"
            )
        size = (self.patch, self.patch)
        x = nn.Conv(self.width, size, size, "VALID", dtype=self.dtype, name="patches")(
            x
        )
        x = x.reshape(x.shape[0], -1, self.width)
        if self.pooling == "class":
            token = self.param("class", nn.initializers.zeros, (1, 1, self.width))
            token = jnp.broadcast_to(token, (x.shape[0], 1, self.width))
            x = jnp.concatenate([token.astype(x.dtype), x], axis=1)
        x = x + self._places(x.shape[1]).astype(x.dtype)
        if self.dropout > 0:
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        for layer in range(self.layers):
            hidden = self.hidden or 4 * self.width
            x = EncoderBlock(
                self.heads, hidden, self.dropout, self.dtype, name=f"block{layer}"
            )(x, None, train)
        x = nn.LayerNorm(dtype=self.dtype)(x)
        return x[:, 0] if self.pooling == "class" else x.mean(1)

    def _places(self, count: int) -> Array:
        """What each place adds, `[1, N, D]`."""
        if self.has_variable("params", "positions"):
            known: int = self.get_variable("params", "positions").shape[1]
            if known != count:
                raise ValueError(
                    f"VisionTransformer has learned positions for {known} patches; "
                    f"found images of {count}. Give images of one size"
                )
        shape = (1, count, self.width)
        return self.param("positions", nn.initializers.normal(0.02), shape)

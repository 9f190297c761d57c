"""The block that transformers of text and of images are made of."""

from typing import Any

import flax.linen as nn

from mtl_jax.typing import Array


class EncoderBlock(nn.Module):
    """Self-attention, then a dense layer and back, each normalised before and added.

    Attributes:
        heads: of the attention; they divide the width.
        hidden: width of the dense layer between.
        dropout: rate of dropout, of the attention and before each addition.
        dtype: of the computation.

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017. Xiong et al., On Layer
        Normalization in the Transformer Architecture, ICML 2020 (pre-norm).
    """

    heads: int
    hidden: int
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, mask: Array | None, train: bool) -> Array:
        """`[B, L, D] -> [B, L, D]`; `mask [B, 1, 1, L]` is true where to look."""
        width = x.shape[-1]
        if width % self.heads:
            raise ValueError(
                f"a transformer of width={width} has no heads={self.heads} of equal "
                "width; give a number of heads that divides the width"
            )
        y = nn.LayerNorm(dtype=self.dtype)(x)
        y = nn.MultiHeadDotProductAttention(
            self.heads, dtype=self.dtype, dropout_rate=self.dropout
        )(y, mask=mask, deterministic=not train)
        x = x + self._dropped(y, train)
        y = nn.LayerNorm(dtype=self.dtype)(x)
        y = nn.gelu(nn.Dense(self.hidden, dtype=self.dtype)(y))
        y = nn.Dense(width, dtype=self.dtype)(self._dropped(y, train))
        return x + self._dropped(y, train)

    def _dropped(self, x: Array, train: bool) -> Array:
        if self.dropout == 0:
            return x
        layer = nn.Dropout(self.dropout, deterministic=not train)
        return layer(x)

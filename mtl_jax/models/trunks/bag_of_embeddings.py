"""The mean of the words of a text."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from mtl_jax.models.trunks.words import WordEmbedding, mean_of_present
from mtl_jax.typing import Array, PyTree


class BagOfEmbeddings(nn.Module):
    """Words as vectors, and their mean as the text; their order plays no part.

    Attributes:
        vocabulary: V, ids are below it; 0 is padding, 1 an unknown word.
        width: of the vectors.
        features: widths of dense layers on the mean; the last one is D of "pooled".
        vectors: pretrained vectors `[V, E]`, see `WordEmbedding`.
        freeze: keep `vectors` as they are.
        activation: nonlinearity after every dense layer.
        dropout: rate of dropout of the mean and after every dense layer, in training.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters, see `models.in_dtype`.

    Raises:
        ValueError: inputs without tokens `[B, L]`; a trunk that has no parameters.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> text = {"tokens": jnp.array([[2, 3, 4, 0], [5, 0, 0, 0]])}
        >>> net = BagOfEmbeddings(vocabulary=6, width=8)
        >>> out, _ = net.init_with_output(jax.random.key(0), text)
        >>> out["tokens"].shape, out["pooled"].shape
        ((2, 4, 8), (2, 8))

    References:
        Iyyer et al., Deep Unordered Composition Rivals Syntactic Methods for Text
        Classification, ACL 2015. Differs: no dropout of whole words.
    """

    vocabulary: int
    width: int = 128
    features: Sequence[int] = ()
    vectors: Any = None
    freeze: bool = False
    activation: Callable[[Array], Array] = nn.relu
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Array]:
        """`{"tokens": [B, L]} -> {"tokens": [B, L, width], "pooled": [B, D]}`."""
        words = WordEmbedding(
            self.vocabulary,
            self.width,
            self.vectors,
            self.freeze,
            trunk="BagOfEmbeddings",
            dtype=self.dtype,
            name="words",
        )
        x, present = words(inputs)
        if not self.features and not words.variables.get("params"):
            raise ValueError(
                "BagOfEmbeddings has no parameters: its vectors are frozen, and no "
                "layer follows. Give features=(D,), or freeze=False"
            )
        pooled = self._dropped(mean_of_present(x, present), train)
        for width in self.features:
            pooled = nn.Dense(width, dtype=self.dtype)(pooled)
            pooled = self._dropped(self.activation(pooled), train)
        return {"tokens": x, "pooled": pooled}

    def _dropped(self, x: Array, train: bool) -> Array:
        if self.dropout == 0:
            return x
        layer = nn.Dropout(self.dropout, deterministic=not train)
        return layer(x)

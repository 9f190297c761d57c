"""The mean of the words of a text."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
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
        result: dict[str, Array] = in_turn(self, self._layers(), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """The words, then one a dense layer; see `models.stages`."""
        return tuple(Stage((layer,), parent=None) for layer in self._layers())

    def _layers(self) -> tuple[Layers, ...]:
        dense = [functools.partial(_connected, self, width) for width in self.features]
        return (functools.partial(_words, self), *dense)


def _words(
    bag: BagOfEmbeddings, _: nn.Module, inputs: PyTree, train: bool
) -> dict[str, Array]:
    words = WordEmbedding(
        bag.vocabulary,
        bag.width,
        bag.vectors,
        bag.freeze,
        trunk="BagOfEmbeddings",
        dtype=bag.dtype,
        name="words",
    )
    x, present = words(inputs)
    if not bag.features and not words.variables.get("params"):
        raise ValueError(
            "BagOfEmbeddings has no parameters: its vectors are frozen, and no "
            "layer follows. Give features=(D,), or freeze=False"
        )
    pooled = _dropped(bag, mean_of_present(x, present), train)
    return {"tokens": x, "pooled": pooled}


def _connected(
    bag: BagOfEmbeddings, width: int, _: nn.Module, x: dict[str, Array], train: bool
) -> dict[str, Array]:
    pooled = nn.Dense(width, dtype=bag.dtype)(x["pooled"])
    return {**x, "pooled": _dropped(bag, bag.activation(pooled), train)}


def _dropped(bag: BagOfEmbeddings, x: Array, train: bool) -> Array:
    if bag.dropout == 0:
        return x
    layer = nn.Dropout(bag.dropout, deterministic=not train)
    return layer(x)

"""Transformer encoder of text."""

import functools
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mtl_jax.errors import unknown_name
from mtl_jax.models.trunks.encoder_block import EncoderBlock
from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
from mtl_jax.models.trunks.words import WordEmbedding, mean_of_present
from mtl_jax.typing import Array, PyTree


class Transformer(nn.Module):
    """Words and their places, blocks of self-attention, a last normalisation.

    No word looks at padding: it changes nothing.

    Attributes:
        vocabulary: V, ids are below it; 0 is padding, 1 an unknown word.
        width: D.
        layers: how many blocks.
        heads: of the attention; they divide the width.
        hidden: width of the dense layer in a block; default: 4 D.
        positions: "sinusoidal", which has no parameters and knows texts of any length,
            or "learned".
        max_length: of a text, where positions are learned.
        vectors: pretrained vectors `[V, E]`, see `WordEmbedding`.
        freeze: keep `vectors` as they are.
        dropout: rate of dropout, of words and in the blocks, in training.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters, see `models.in_dtype`.

    Raises:
        ValueError: inputs without tokens `[B, L]`, a text that is longer than learned
            positions, or heads that do not divide the width.

    Example:
        >>> import jax
        >>> text = {"tokens": jnp.array([[2, 3, 4, 0], [5, 0, 0, 0]])}
        >>> net = Transformer(vocabulary=6, width=8, layers=1, heads=2)
        >>> out, _ = net.init_with_output(jax.random.key(0), text)
        >>> out["tokens"].shape, out["pooled"].shape
        ((2, 4, 8), (2, 8))

    References:
        Vaswani et al., Attention Is All You Need, NeurIPS 2017. Differs: pre-norm
        blocks (Xiong et al., ICML 2020) with GELU; pretrained vectors are not
        multiplied by √D, other words are; "pooled" is the mean over the words.
    """

    vocabulary: int
    width: int = 128
    layers: int = 2
    heads: int = 4
    hidden: int | None = None
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    max_length: int = 512
    vectors: Any = None
    freeze: bool = False
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Array]:
        """`{"tokens": [B, L]} -> {"tokens": [B, L, D], "pooled": [B, D]}`."""
        result: dict[str, Array] = in_turn(self, sum(_cut(self), ()), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """The words in their places, then one a block; see `models.stages`."""
        return tuple(Stage(layers, parent=None) for layers in _cut(self))


def _cut(net: Transformer) -> list[tuple[Layers, ...]]:
    """The layers, stage by stage."""
    found: list[tuple[Layers, ...]] = [(functools.partial(_words, net),)]
    found += [(functools.partial(_block, net, layer),) for layer in range(net.layers)]
    return [*found[:-1], (*found[-1], functools.partial(_pooled, net))]


def _words(
    net: Transformer, module: nn.Module, inputs: PyTree, train: bool
) -> dict[str, Array]:
    x, present = WordEmbedding(
        net.vocabulary,
        net.width,
        net.vectors,
        net.freeze,
        trunk="Transformer",
        dtype=net.dtype,
        name="words",
    )(inputs)
    if net.vectors is None:
        x = x * jnp.asarray(net.width**0.5, x.dtype)
    x = x + _places(net, module, x.shape[1]).astype(x.dtype)
    if net.dropout > 0:
        x = nn.Dropout(net.dropout, deterministic=not train)(x)
    return {"tokens": x, "present": present}


def _block(
    net: Transformer, layer: int, _: nn.Module, text: dict[str, Array], train: bool
) -> dict[str, Array]:
    hidden = net.hidden or 4 * net.width
    block = EncoderBlock(
        net.heads, hidden, net.dropout, net.dtype, name=f"block{layer}"
    )
    mask = text["present"][:, None, None, :]
    return {**text, "tokens": block(text["tokens"], mask, train)}


def _pooled(
    net: Transformer, _: nn.Module, text: dict[str, Array], train: bool
) -> dict[str, Array]:
    x, present = nn.LayerNorm(dtype=net.dtype)(text["tokens"]), text["present"]
    tokens = jnp.where(present[..., None], x, 0)
    return {"tokens": tokens, "pooled": mean_of_present(tokens, present)}


def _places(net: Transformer, module: nn.Module, length: int) -> Array:
    """What each place adds, `[L, D]`."""
    if net.positions == "sinusoidal":
        return jnp.asarray(sinusoids(length, net.width))
    if net.positions != "learned":
        known = ("learned", "sinusoidal")
        raise unknown_name("positions of Transformer", net.positions, known)
    if length > net.max_length:
        raise ValueError(
            f"Transformer has learned positions for max_length={net.max_length} "
            f"words; found texts of {length}. Give a larger max_length, shorter "
            "texts, or positions='sinusoidal'"
        )
    shape = (net.max_length, net.width)
    init = nn.initializers.normal(0.02)
    return module.param("positions", init, shape, jnp.float32)[:length]


def sinusoids(length: int, width: int) -> np.ndarray:
    """Sines and cosines of the places, `[L, D]`: sines first, then cosines.

    Example:
        >>> sinusoids(2, 4).round(2).tolist()
        [[0.0, 0.0, 1.0, 1.0], [0.84, 0.01, 0.54, 1.0]]
    """
    half = -(-width // 2)
    rates = 10_000.0 ** (-np.arange(half) / half)
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width]

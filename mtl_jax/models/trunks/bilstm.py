"""Long short-term memory that reads a text in both directions."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
from mtl_jax.models.trunks.words import WordEmbedding
from mtl_jax.typing import Array, PyTree


class BiLSTM(nn.Module):
    """Two LSTMs a layer, one from the first word on and one from the last.

    A text is read up to its last word that is not padding: padding changes nothing,
    the direction that begins at the end included.

    Attributes:
        vocabulary: V, ids are below it; 0 is padding, 1 an unknown word.
        width: of the vectors of the words.
        hidden: of each direction; D is twice that.
        layers: how many layers are stacked.
        vectors: pretrained vectors `[V, E]`, see `WordEmbedding`.
        freeze: keep `vectors` as they are.
        dropout: rate of dropout of the words, between layers and of the outcome, in
            training.
        dtype: of the computation; parameters, and the state of the cells, are float32.
            Default: that of the parameters, see `models.in_dtype`.

    Raises:
        ValueError: inputs without tokens `[B, L]`.

    Example:
        >>> import jax
        >>> text = {"tokens": jnp.array([[2, 3, 4, 0], [5, 0, 0, 0]])}
        >>> net = BiLSTM(vocabulary=6, width=8, hidden=3)
        >>> out, _ = net.init_with_output(jax.random.key(0), text)
        >>> out["tokens"].shape, out["pooled"].shape
        ((2, 4, 6), (2, 6))

    References:
        Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 1997.
        Graves and Schmidhuber, Framewise Phoneme Classification with Bidirectional LSTM
        and Other Neural Network Architectures, Neural Networks 2005. Differs: cells
        have forget gates and no peepholes.
    """

    vocabulary: int
    width: int = 128
    hidden: int = 128
    layers: int = 1
    vectors: Any = None
    freeze: bool = False
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> dict[str, Array]:
        """`{"tokens": [B, L]} -> {"tokens": [B, L, D], "pooled": [B, D]}`.

        "pooled" is what each direction says after its last word, the one of the end of
        the text and the other of its beginning.
        """
        result: dict[str, Array] = in_turn(self, sum(_cut(self), ()), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """The words, then one a layer; see `models.stages`."""
        return tuple(Stage(layers, parent=None) for layers in _cut(self))


def _cut(lstm: BiLSTM) -> list[tuple[Layers, ...]]:
    """The layers, stage by stage."""
    found: list[tuple[Layers, ...]] = [(functools.partial(_words, lstm),)]
    found += [
        (functools.partial(_both_directions, lstm, layer),)
        for layer in range(lstm.layers)
    ]
    return [*found[:-1], (*found[-1], functools.partial(_pooled, lstm))]


def _words(lstm: BiLSTM, _: nn.Module, inputs: PyTree, train: bool) -> dict[str, Array]:
    x, present = WordEmbedding(
        lstm.vocabulary,
        lstm.width,
        lstm.vectors,
        lstm.freeze,
        trunk="BiLSTM",
        dtype=lstm.dtype,
        name="words",
    )(inputs)
    return {"tokens": _dropped(lstm, x, train), "present": present}


def _both_directions(
    lstm: BiLSTM, layer: int, _: nn.Module, text: dict[str, Array], train: bool
) -> dict[str, Array]:
    x, lengths = text["tokens"], _lengths(text["present"])
    directions = [
        _read(lstm, x, lengths, reverse, f"{name}{layer}")
        for reverse, name in ((False, "forward"), (True, "backward"))
    ]
    inside = (jnp.arange(1, x.shape[1] + 1) <= lengths[:, None])[..., None]
    x = jnp.concatenate(directions, axis=-1).astype(lstm.dtype or x.dtype)
    return {**text, "tokens": _dropped(lstm, jnp.where(inside, x, 0), train)}


def _pooled(
    lstm: BiLSTM, _: nn.Module, text: dict[str, Array], train: bool
) -> dict[str, Array]:
    x, present = text["tokens"], text["present"]
    last = jnp.maximum(_lengths(present) - 1, 0)[:, None, None]
    end = jnp.take_along_axis(x[..., : lstm.hidden], last, axis=1)[:, 0]
    pooled = jnp.concatenate([end, x[:, 0, lstm.hidden :]], axis=-1)
    return {"tokens": jnp.where(present[..., None], x, 0), "pooled": pooled}


def _lengths(present: Array) -> Array:
    """The place of the last word, from 1 on, `[B]`."""
    places = jnp.arange(1, present.shape[1] + 1)
    return jnp.max(jnp.where(present, places, 0), axis=1, initial=0)


def _read(lstm: BiLSTM, x: Array, lengths: Array, reverse: bool, name: str) -> Array:
    """The outputs of one direction `[B, L, hidden]`, in the order of the text."""
    cell = nn.OptimizedLSTMCell(lstm.hidden, dtype=lstm.dtype, name=name)
    zeros = jnp.zeros(
        (x.shape[0], lstm.hidden), jnp.promote_types(x.dtype, jnp.float32)
    )
    rnn = nn.RNN(cell, reverse=reverse, keep_order=True)
    outputs: Any = rnn(x, initial_carry=(zeros, zeros), seq_lengths=lengths)
    return outputs


def _dropped(lstm: BiLSTM, x: Array, train: bool) -> Array:
    if lstm.dropout == 0:
        return x
    layer = nn.Dropout(lstm.dropout, deterministic=not train)
    return layer(x)

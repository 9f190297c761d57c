"""Words as vectors: the first layer of every trunk of text."""

import hashlib
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mtl_jax.models.base import FROZEN
from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.typing import Array, PyTree


class Vectors:
    """A table of pretrained vectors that a module can hold: equal and hashed by value.

    Args:
        table: `[V, E]`, one row an id.

    Raises:
        ValueError: no matrix.

    Example:
        >>> Vectors(np.zeros((5, 2))) == Vectors(np.zeros((5, 2)))
        True
        >>> Vectors(np.zeros((5, 2)))
        Vectors [5, 2]
    """

    def __init__(self, table: Any):
        self._table = np.array(table, np.float32)
        if self._table.ndim != 2:
            raise ValueError(
                f"vectors are a table [V, E], one row an id; found an array of shape "
                f"{self._table.shape}"
            )
        self._table.setflags(write=False)
        self._digest = hashlib.sha256(self._table.tobytes()).digest()

    @property
    def shape(self) -> tuple[int, int]:
        """`(V, E)`."""
        return self._table.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        table = np.asarray(self._table, dtype)
        return table.copy() if copy else table

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Vectors) and self.shape == other.shape
        return same and self._digest == other._digest  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((self.shape, self._digest))

    def __repr__(self) -> str:
        return f"Vectors {list(self.shape)}"


class WordEmbedding(nn.Module):
    """Ids of words as vectors; padding is 0.

    Ids are not checked in a compiled program: those of V and above become NaN, which
    the training step reports, and negative ones are taken for padding.

    Attributes:
        vocabulary: V, ids are below it; 0 is padding, 1 an unknown word.
        width: E, of the vectors.
        vectors: pretrained values `[V, E']`, a `Vectors` or any array (which a module
            can hold, though `nn.jit` and `nn.remat` cannot hash it). Where E' is not E,
            a dense layer takes the one to the other.
        freeze: keep `vectors` as they are: they are no parameters then, but a
            collection "frozen", so that neither a method nor the decay of an optimizer
            gets to see them.
        trunk: name of the trunk, for errors.
        dtype: of the result.

    Raises:
        ValueError: inputs without tokens `[B, L]`, a table with another number of rows,
            or `freeze` without a table.
    """

    vocabulary: int
    width: int
    vectors: Any = None
    freeze: bool = False
    trunk: str = "WordEmbedding"
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: PyTree) -> tuple[Array, Array]:
        """`{"tokens": [B, L]}` to vectors `[B, L, E]`, present words `[B, L]` bool."""
        tokens = accepted.entry(inputs, "tokens", self.trunk, integer=True)
        present = tokens > 0
        table = self._table()
        x = jnp.take(table, tokens, axis=0)
        if self.dtype is not None:
            x = x.astype(self.dtype)
        if x.shape[-1] != self.width:
            x = nn.Dense(self.width, use_bias=False, dtype=self.dtype)(x)
        return jnp.where(present[..., None], x, 0), present

    def _table(self) -> Array:
        if self.vectors is None:
            if self.freeze:
                raise ValueError(
                    f"{self.trunk} was given freeze=True and no vectors; give vectors= "
                    "a table [V, E], or train the embedding with freeze=False"
                )
            shape = (self.vocabulary, self.width)
            return self.param("embedding", _INIT, shape, jnp.float32)
        shape = np.shape(self.vectors)
        if len(shape) != 2 or shape[0] != self.vocabulary:
            raise ValueError(
                f"{self.trunk} was given vectors of shape {shape}; give one row for "
                f"each of the vocabulary={self.vocabulary} ids, those of padding (0) "
                "and of unknown words (1) included"
            )

        def given(*_: Any) -> Array:
            return jnp.asarray(np.asarray(self.vectors), jnp.float32)

        if self.freeze:
            return self.variable(FROZEN, "embedding", given).value
        return self.param("embedding", given)


_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)


def mean_of_present(x: Array, present: Array) -> Array:
    """The mean over the present words, `[B, L, D]` to `[B, D]`; 0 where there is none.

    Example:
        >>> x = jnp.array([[[2.0], [4.0], [9.0]]])
        >>> mean_of_present(x, jnp.array([[True, True, False]])).tolist()
        [[3.0]]
    """
    weights = present.astype(x.dtype)[..., None]
    return jnp.sum(x * weights, 1) / jnp.maximum(jnp.sum(weights, 1), 1)

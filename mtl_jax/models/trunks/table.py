"""Rows of tables: numbers and categories."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mtl_jax.models.trunks import inputs as accepted
from mtl_jax.models.trunks.in_turn import Layers, Stage, in_turn
from mtl_jax.typing import Array, PyTree


class TabularEmbedding(nn.Module):
    """A vector a category, beside the numbers, and dense layers.

    Ids are not checked in a compiled program: those of a column's cardinality and above
    become NaN, which the training step reports, and negative ones count from the end.

    Attributes:
        cardinalities: of the columns of categories, id 0 ("missing or unknown")
            included; `()` where there is none.
        features: widths of the dense layers; the last one is D.
        embedding: width of the vectors of a category; not more than its cardinality.
        mean: of the columns of numbers, subtracted; default: nothing.
        std: standard deviations of the columns, divided by; default: nothing.
        activation: nonlinearity after every dense layer, the last one included.
        batch_norm: normalise every layer over the batch, before the nonlinearity.
        dropout: rate of dropout after every dense layer, in training.
        dtype: of the computation; parameters are float32. Default: that of the
            parameters and inputs, see `models.in_dtype`.

    Raises:
        ValueError: no columns, a missing entry, or another number of columns.

    Example:
        >>> import jax
        >>> numeric, categories = jnp.ones((2, 3)), jnp.array([[1, 0], [2, 4]])
        >>> rows = {"numeric": numeric, "categories": categories}
        >>> net = TabularEmbedding(cardinalities=(3, 5), features=(16,))
        >>> net.init_with_output(jax.random.key(0), rows)[0].shape
        (2, 16)

    References:
        Guo and Berkhahn, Entity Embeddings of Categorical Variables, 2016.
    """

    cardinalities: Sequence[int] = ()
    features: Sequence[int] = (128, 64)
    embedding: int = 8
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    activation: Callable[[Array], Array] = nn.relu
    batch_norm: bool = False
    dropout: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, inputs: PyTree, train: bool = False) -> Array:
        """`{"numeric": [B, n], "categories": [B, m]} -> [B, D]`, or one of the two."""
        result: Array = in_turn(self, self._layers(), inputs, train)
        return result

    def in_stages(self) -> tuple[nn.Module, ...]:
        """One a dense layer, the columns with the first; see `models.stages`."""
        layers = self._layers()
        cut = [layers[:2], *((layer,) for layer in layers[2:])]
        return tuple(Stage(stage, parent=None) for stage in cut)

    def _layers(self) -> tuple[Layers, ...]:
        dense = [functools.partial(_connected, self, width) for width in self.features]
        return (functools.partial(_columns, self), *dense)


def _columns(
    table: TabularEmbedding, _: nn.Module, inputs: PyTree, train: bool
) -> Array:
    columns = _numbers(table, inputs) + _categories(table, inputs)
    if not columns:
        raise ValueError(
            "TabularEmbedding reads a dict with 'numeric' [B, n], 'categories' "
            f"[B, m], or both; found {accepted.found(inputs)}"
        )
    return jnp.concatenate(columns, axis=-1)


def _connected(
    table: TabularEmbedding, width: int, _: nn.Module, x: Array, train: bool
) -> Array:
    x = nn.Dense(width, dtype=table.dtype)(x)
    if table.batch_norm:
        x = nn.BatchNorm(not train, momentum=0.9, dtype=table.dtype)(x)
    x = table.activation(x)
    if table.dropout > 0:
        x = nn.Dropout(table.dropout, deterministic=not train)(x)
    return x


def _numbers(table: TabularEmbedding, inputs: PyTree) -> list[Array]:
    given = {"mean": table.mean, "std": table.std}
    asked = any(row is not None for row in given.values())
    if not asked and (not isinstance(inputs, Mapping) or "numeric" not in inputs):
        return []
    x = accepted.entry(inputs, "numeric", "TabularEmbedding", integer=False)
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    x = x.astype(x.dtype if floating else jnp.float32)
    for name, row in given.items():
        if row is not None and len(row) != x.shape[1]:
            raise ValueError(
                f"TabularEmbedding was given {name} of {len(row)} columns; found "
                f"'numeric' with {x.shape[1]}: {accepted.found(inputs)}. Give one "
                "number a column"
            )
    if table.mean is not None:
        x = x - jnp.asarray(table.mean, x.dtype)
    if table.std is not None:
        if not np.all(np.asarray(table.std) > 0):
            raise ValueError(
                f"TabularEmbedding divides by std={tuple(table.std)}; give positive "
                "numbers, 1 for a column that is constant"
            )
        x = x / jnp.asarray(table.std, x.dtype)
    # Not before: a column of large numbers loses what sets its rows apart.
    return [x if table.dtype is None else x.astype(table.dtype)]


def _categories(table: TabularEmbedding, inputs: PyTree) -> list[Array]:
    absent = not isinstance(inputs, Mapping) or "categories" not in inputs
    if absent and not table.cardinalities:
        return []
    ids = accepted.entry(inputs, "categories", "TabularEmbedding", integer=True)
    if ids.shape[1] != len(table.cardinalities):
        raise ValueError(
            f"TabularEmbedding was given {len(table.cardinalities)} cardinalities; "
            f"found 'categories' with {ids.shape[1]} columns: "
            f"{accepted.found(inputs)}. Give one cardinality a column, id 0 counted"
        )
    return [
        nn.Embed(n, min(table.embedding, n), dtype=table.dtype, name=f"column{i}")(
            ids[:, i]
        )
        for i, n in enumerate(table.cardinalities)
    ]

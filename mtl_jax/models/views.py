"""A model of which some tasks see other inputs than the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax.models.base import Model
from mtl_jax.typing import Array, PyTree

_Key = tuple[str | None, int]
_CLEAN: _Key = (None, 0)


def apply_to_views(
    model: Model,
    variables: tuple[PyTree, PyTree, PyTree],
    inputs: PyTree,
    views: Mapping[str, Sequence[PyTree]],
    names: Sequence[str],
    *,
    train: bool = False,
    key: Array | None = None,
    axis_name: str | None = None,
) -> tuple[dict[str, tuple[Any, ...]], PyTree]:
    """The outputs of each task, of its own views or else of the inputs.

    In training the inputs and all views pass through the trunk as one batch, in one
    call: BatchNorm normalises over all of them, and the program is no longer. In
    evaluation each passes alone, so that what nobody asks for is not computed. Where
    the model has a representation, each head reads the rows of its task alone.

    Args:
        model: any.
        variables: `(shared, specific, collections)`.
        inputs: `[B, ...]`, or several by name.
        views: for some of the tasks, inputs of the same shapes.
        names: of all tasks.
        train: passed on.
        key: passed on.
        axis_name: passed on.

    Returns:
        `{task: outputs [B, ...] of each view}`, and the collections.

    Example:
        >>> import flax.linen as nn
        >>> from mtl_jax.models import MLP, HardSharing, from_linen
        >>> model = from_linen(HardSharing(MLP((2,)), {"a": nn.Dense(1),
        ...                                            "b": nn.Dense(1)}))
        >>> x = jnp.ones((4, 3))
        >>> variables = model.init(jax.random.key(0), x)
        >>> found, _ = apply_to_views(model, variables, x, {"b": [-x, 2 * x]}, "ab")
        >>> {name: [out.shape for out in outputs] for name, outputs in found.items()}
        {'a': [(4, 1)], 'b': [(4, 1), (4, 1)]}
    """
    places: dict[str, list[_Key]] = {
        name: [(name, i) for i in range(len(views.get(name, ())))] or [_CLEAN]
        for name in names
    }
    parts: dict[_Key, PyTree] = {
        at: inputs if at == _CLEAN else views[str(at[0])][at[1]]
        for name in names
        for at in places[name]
    }
    keywords: Any = {"train": train, "key": key, "axis_name": axis_name}
    if not train:
        apart: dict[_Key, Mapping[str, Any]] = {}
        for at, part in parts.items():
            here = [name for name in names if at in places[name]]
            cut = {at: slice(None)}
            apart[at], _ = _apply(model, variables, part, {n: [at] for n in here}, cut)
        found = {n: tuple(apart[at][n][0] for at in places[n]) for n in names}
        return found, variables[2]
    size = jax.tree.leaves(inputs)[0].shape[0]
    rows = {at: slice(i * size, (i + 1) * size) for i, at in enumerate(parts)}
    together = jax.tree.map(_joined, *parts.values())
    return _apply(model, variables, together, places, rows, **keywords)


def _apply(
    model: Model,
    variables: tuple[PyTree, PyTree, PyTree],
    inputs: PyTree,
    places: Mapping[str, Sequence[_Key]],
    rows: Mapping[_Key, slice],
    **keywords: Any,
) -> tuple[dict[str, tuple[Any, ...]], PyTree]:
    """The outputs of each task at its rows of one batch."""
    shared, specific, collections = variables

    def cut(tree: PyTree, at: _Key) -> PyTree:
        return jax.tree.map(lambda a: a[rows[at]], tree)

    if model.encode is None or model.decode is None:
        outputs, collections = model.apply(
            shared, specific, collections, inputs, **keywords
        )
        return {
            name: tuple(cut(outputs[name], at) for at in own)
            for name, own in places.items()
        }, collections
    trunk, heads = collections or ((), ())
    z, trunk = model.encode(shared, trunk, inputs, **keywords)
    key = keywords.get("key")
    if key is not None:
        keywords["key"] = jax.random.fold_in(key, 1)
    # A head sees all views of its task at once.
    several = {
        name: jax.tree.map(_stacked, *(cut(z, at) for at in own))
        for name, own in places.items()
    }
    outputs, heads = model.decode(specific, heads, several, **keywords)
    found = {n: _parts(outputs[n], len(own)) for n, own in places.items()}
    return found, (trunk, heads)


def _parts(tree: PyTree, count: int) -> tuple[PyTree, ...]:
    """Equal parts, along the leading axis."""
    if count == 1:
        return (tree,)
    cut = jax.tree.map(lambda a: jnp.split(a, count), tree)
    return tuple(jax.tree.map(lambda _, c, i=i: c[i], tree, cut) for i in range(count))


def _stacked(*rows: Array) -> Array:
    return rows[0] if len(rows) == 1 else jnp.concatenate(rows)


def _joined(*parts: Array) -> Array:
    """One behind the other; corrupted bytes are floating numbers."""
    dtype = jnp.result_type(*parts)
    return _stacked(*(part.astype(dtype) for part in parts))

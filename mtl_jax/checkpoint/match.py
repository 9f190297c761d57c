"""From saved leaves to those of a model: do they match, and where do they go."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import stacked
from mtl_jax.checkpoint.leaves import Form, form_of
from mtl_jax.checkpoint.record import CheckpointError, LeafRecord

_KINDS = {
    "python bool": np.bool_,
    "python int": np.integer,
    "python float": np.floating,
    "python complex": np.complexfloating,
}
_MAX_LINES = 12


def _same_form(saved: LeafRecord, wanted: Form) -> bool:
    if (saved.shape, saved.dtype) == (wanted.shape, wanted.dtype):
        return True
    # `step: int = 0` of a fresh state stands for the array it became in training
    kind = _KINDS.get(wanted.dtype)
    if kind is None or saved.shape or saved.impl or saved.dtype in _KINDS:
        return False
    return bool(jax.dtypes.issubdtype(np.dtype(saved.data_dtype), kind))


def differences(saved: Mapping[str, LeafRecord], like: Mapping[str, Any]) -> str:
    """How the leaves of a checkpoint differ from those of a model.

    Args:
        saved: the leaves in the checkpoint.
        like: the leaves of the state to restore into.

    Returns:
        Lines of text; empty where nothing differs.

    Example:
        >>> saved = {"w": LeafRecord((2,), "float32", (2,), "float32", None, 0)}
        >>> print(differences(saved, {"w": np.zeros(3), "b": 0}))
        only in the model (1):
          b python int[]
        another shape or dtype (1):
          w: checkpoint float32[2], model float64[3]
    """
    forms = {name: form_of(leaf) for name, leaf in like.items()}
    groups = {
        "only in the checkpoint": [
            f"{name} {Form(x.shape, x.dtype)}"
            for name, x in saved.items()
            if name not in forms
        ],
        "only in the model": [f"{n} {f}" for n, f in forms.items() if n not in saved],
        "another shape or dtype": [
            f"{name}: checkpoint {Form(x.shape, x.dtype)}, model {forms[name]}"
            for name, x in saved.items()
            if name in forms and not _same_form(x, forms[name])
        ],
    }
    lines = []
    for title, found in groups.items():
        if found:
            lines.append(f"{title} ({len(found)}):")
            lines += [f"  {x}" for x in found[:_MAX_LINES]]
        if len(found) > _MAX_LINES:
            lines.append(f"  ... and {len(found) - _MAX_LINES} more")
    return "\n".join(lines)


def row_form(leaf: Any, row: int, axis: int) -> jax.ShapeDtypeStruct:
    """What is saved of a stacked leaf: its rows, each under a name of its own."""
    form = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return stacked.take_row(form, row, axis)


@dataclasses.dataclass(frozen=True)
class _Saved:
    """A saved leaf; no pytree, but what stands in one for the leaf."""

    name: str
    record: LeafRecord
    data: np.ndarray


def _stack(rows: list[_Saved]) -> _Saved:
    return dataclasses.replace(rows[0], data=np.stack([row.data for row in rows]))


def together(
    records: Mapping[str, LeafRecord],
    arrays: Mapping[str, np.ndarray],
    wanted: Mapping[str, Any],
    treedef: Any,
    like: Any,
) -> Any:
    """The state that was saved leaf by leaf.

    Args:
        records: how each leaf was saved.
        arrays: its values.
        wanted: the leaves of `like` by name, each row of a stack for itself.
        treedef: the tree of `wanted`.
        like: the state to restore into; leaves are put where its leaves are.

    Raises:
        CheckpointError: as `place`.
    """
    saved = treedef.unflatten(
        [_Saved(name, records[name], arrays[name]) for name in wanted]
    )
    found = stacked.stack_like(saved, like, _stack)
    return jax.tree.map(
        lambda leaf, x: place(x.name, x.record, x.data, leaf), like, found
    )


def place(name: str, record: LeafRecord, data: np.ndarray, like: Any) -> Any:
    """Makes a leaf of host data, of the kind and on the devices of another leaf.

    Args:
        name: the leaf's name, for errors.
        record: how the leaf was saved.
        data: its values.
        like: a leaf that shows kind and sharding: array, number, `ShapeDtypeStruct`.

    Returns:
        A Python number or numpy array where `like` is one, else a `jax.Array`: with
        the sharding of `like` where that is committed to devices, else on the
        default device.

    Raises:
        CheckpointError: jax would change the dtype (64 bit without `jax_enable_x64`).
    """
    if record.dtype in _KINDS:
        return data.item()
    if isinstance(like, np.generic):
        return data[()]
    if isinstance(like, np.ndarray):
        return data
    sharding = getattr(like, "sharding", None)
    if isinstance(like, jax.Array) and not getattr(like, "committed", True):
        sharding = None
    keyed = record.impl is not None
    if sharding is None or keyed:
        array = jax.device_put(data, may_alias=False)
    elif sharding.is_fully_addressable:
        array = jax.device_put(data, sharding, may_alias=False)
    else:
        array = jax.make_array_from_callback(data.shape, sharding, data.__getitem__)
    if array.dtype != data.dtype:
        raise CheckpointError(
            f"the leaf {name} was saved as {data.dtype.name}, which jax turns into "
            f"{array.dtype.name} here. Set jax_enable_x64."
        )
    if keyed:
        array = jax.random.wrap_key_data(array, impl=record.impl)
        if sharding is None:
            return array
        if sharding.is_fully_addressable:
            return jax.device_put(array, sharding)
        return jax.jit(lambda x: x, out_shardings=sharding)(array)
    if getattr(like, "weak_type", False):
        return _weak(array, sharding)
    return array


def _weak(array: jax.Array, sharding: Any) -> jax.Array:
    """The array with jax's weak type, so that a resumed step promotes the same way."""
    kind = {"i": int, "f": float, "c": complex}.get(array.dtype.kind)
    if kind is None or not (sharding is None or sharding.is_fully_addressable):
        return array
    weak = jnp.full(array.shape, kind(0)).at[...].set(array)
    if not weak.weak_type or weak.dtype != array.dtype:
        return array
    return weak if sharding is None else jax.device_put(weak, sharding)

"""One pure step, wrapped for one device or for several.

The step is written once, `step(state, batch, axis_name=None)`; the wrappers here only
place arrays and name the data-parallel axis.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mtl_jax.errors import unknown_name
from mtl_jax.typing import PyTree

AXIS = "data"
"""The name of the data-parallel axis."""


def resolve(parallel: str = "auto", devices: Sequence[Any] | None = None) -> list[Any]:
    """The devices that a way of running uses.

    Args:
        parallel: "pmap": data parallelism over `devices`; "jit": one device, the
            first; "auto": "pmap" where there are several local devices, else "jit".
        devices: default: all local ones.

    Returns:
        One device for plain `jit`, several for `pmap`.

    Raises:
        ValueError: unknown way of running.

    Example:
        >>> len(resolve("jit"))
        1
    """
    ways = ("auto", "jit", "pmap")
    if parallel not in ways:
        raise unknown_name("way to run (parallel)", parallel, ways)
    local = list(jax.local_devices() if devices is None else devices)
    return local[:1] if parallel == "jit" else local


def place(state: PyTree, devices: Sequence[Any]) -> PyTree:
    """A copy of a state on one device, or replicated on several.

    The arrays are new: donating them leaves the originals alive. (`device_put` alone
    may share a buffer with its argument, which a donation then deletes.)
    """
    sharding = _replicated(devices)
    copies = jax.tree.map(lambda leaf: jax.numpy.array(leaf, copy=True), state)
    return jax.device_put(copies, sharding)


def replicate(values: PyTree, devices: Sequence[Any]) -> PyTree:
    """Values on one device, or the same on each of several."""
    return jax.device_put(values, _replicated(devices))


def place_parts(parts: PyTree, devices: Sequence[Any]) -> PyTree:
    """The batches `[k, B, ...]` of several steps on one device, or divided.

    Returns:
        `[k, B, ...]` on one device; `[N, k, B / N, ...]` on several.

    Raises:
        ValueError: the batches do not divide by the number of devices.
    """
    if len(devices) == 1:
        return jax.device_put(parts, devices[0])

    def split(leaf: Any) -> Any:
        steps, size, *rest = np.shape(leaf)
        check_divisible(size, len(devices))
        divided = (steps, len(devices), size // len(devices), *rest)
        return np.ascontiguousarray(np.moveaxis(np.reshape(leaf, divided), 1, 0))

    return jax.device_put(
        jax.tree.map(split, parts),
        NamedSharding(_mesh(devices), PartitionSpec(AXIS)),
    )


def maker(function: Callable[[], PyTree], devices: Sequence[Any]) -> Callable[[], Any]:
    """Compile a function without arguments; its outcome is placed as a state is."""
    return jax.jit(function, out_shardings=_replicated(devices))


def check_divisible(batch_size: int, num_devices: int) -> None:
    """Raise `ValueError` where a batch cannot be divided over the devices."""
    if batch_size % num_devices:
        near = max(round(batch_size / num_devices), 1) * num_devices
        raise ValueError(
            f"a batch of {batch_size} examples cannot be divided over {num_devices} "
            f"devices; use a batch size that is a multiple of {num_devices} (e.g. "
            f"{near}), fewer devices, or parallel='jit'"
        )


def split_batch(batch: PyTree, num_devices: int) -> PyTree:
    """`[B, ...]` leaves as `[N, B / N, ...]`.

    Raises:
        ValueError: the batch does not divide by the number of devices.
    """
    for leaf in jax.tree.leaves(batch):
        check_divisible(np.shape(leaf)[0], num_devices)
    return jax.tree.map(
        lambda leaf: np.reshape(
            leaf, (num_devices, leaf.shape[0] // num_devices, *leaf.shape[1:])
        ),
        batch,
    )


def wrap_step(step: Callable[..., Any], devices: Sequence[Any]) -> Callable[..., Any]:
    """Compile `step(state, batch, axis_name) -> (state, out)`; the state is donated.

    Args:
        step: pure; with `axis_name` it must return the same state and output on all
            devices.
        devices: one for `jit`, several for `pmap`.

    Returns:
        `(state, batch) -> (state, out)`, with whole batches `[B, ...]`.
    """
    if len(devices) == 1:
        compiled = jax.jit(lambda s, b: step(s, b, None), donate_argnums=0)
        return lambda state, batch: compiled(state, _on(devices[0], batch))
    mapped = jax.pmap(
        lambda s, b: step(s, b, AXIS),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        devices=list(devices),
        donate_argnums=0,
    )
    return lambda state, batch: mapped(state, _place_batch(batch, devices))


def _on(device: Any, batch: PyTree) -> PyTree:
    """A batch on a device; one that is there is not touched, which takes long."""
    for leaf in jax.tree.leaves(batch):
        if not isinstance(leaf, jax.Array) or leaf.devices() != {device}:
            return jax.device_put(batch, device)
    return batch


def wrap_call(call: Callable[..., Any], devices: Sequence[Any]) -> Callable[..., Any]:
    """Compile `call(state, resident, parts, count, axis_name) -> (state, out)`.

    Args:
        call: pure; several steps. With `axis_name` it must return the same state and
            output on all devices.
        devices: one for `jit`, several for `pmap`.

    Returns:
        `(state, resident, parts, count) -> (state, out)`; the state is donated, what is
        resident comes from `replicate`, the parts from `place_parts`.
    """
    if len(devices) == 1:
        return jax.jit(lambda *given: call(*given, None), donate_argnums=0)
    return jax.pmap(
        lambda *given: call(*given, AXIS),
        axis_name=AXIS,
        in_axes=(None, None, 0, None),
        out_axes=(None, None),
        devices=list(devices),
        donate_argnums=0,
    )


def wrap_evaluation(
    evaluate: Callable[..., Any], devices: Sequence[Any]
) -> Callable[..., Any]:
    """Compile `evaluate(variables, batch) -> out`.

    Returns:
        `(variables, batch) -> out [N, ...]` with one output a device, in order.
    """
    if len(devices) == 1:
        compiled = jax.jit(lambda v, b: jax.tree.map(lambda a: a[None], evaluate(v, b)))
        return lambda variables, batch: compiled(
            variables, jax.device_put(batch, devices[0])
        )
    mapped = jax.pmap(evaluate, in_axes=(None, 0), devices=list(devices))
    return lambda variables, batch: mapped(variables, _place_batch(batch, devices))


def _mesh(devices: Sequence[Any]) -> Mesh:
    return Mesh(np.array(devices), (AXIS,))


def _replicated(devices: Sequence[Any]) -> NamedSharding:
    return NamedSharding(_mesh(devices), PartitionSpec())


def _place_batch(batch: PyTree, devices: Sequence[Any]) -> PyTree:
    return jax.device_put(
        split_batch(batch, len(devices)),
        NamedSharding(_mesh(devices), PartitionSpec(AXIS)),
    )

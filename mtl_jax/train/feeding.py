"""How batches reach the devices: their set lies there, or they are sent ahead."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from mtl_jax import data as data_module
from mtl_jax import objective
from mtl_jax import parallel as data_parallel
from mtl_jax.errors import unknown_name
from mtl_jax.train.many_steps import Calls
from mtl_jax.typing import Batch, PyTree

FEEDS = ("auto", "device", "host")
LIMIT = 2**30
"""Bytes of the largest set that lies on each device without being asked to."""
SHARE = 8
"""And it takes no more than this part of the memory of an accelerator."""


class Stream(NamedTuple):
    """Examples, the order they come in, and their place in the batch."""

    source: Any  # a data.Source
    order: data_module.Order
    key: str | None = None  # None: the batch itself


class Feed(Protocol):
    """What the calls of a run are given.

    Attributes:
        resident: what lies on the devices throughout.
    """

    resident: PyTree

    def pick(self, resident: PyTree, part: PyTree) -> Batch:
        """The batch of one step, within the program."""

    def take(self, step: int) -> tuple[int, PyTree]:
        """How many steps the call after `step` has, and its parts `[k, …]`.

        The parts lie on the devices. Every call is asked for once, in order.
        """

    def __enter__(self) -> "Feed": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def choose(
    asked: str,
    streams: Sequence[Stream],
    labels: Sequence[str],
    limit: int,
    devices: Sequence[Any],
) -> str:
    """The way that batches take: "device" or "host".

    Args:
        asked: "auto", "device" or "host".
        streams: of the run.
        labels: those that a task reads.
        limit: bytes of the largest set that "auto" puts on each device.
        devices: of the run.

    Raises:
        ValueError: an unknown way, or "device" for data that are no arrays.
    """
    if asked not in FEEDS:
        raise unknown_name("way to feed (feed)", asked, FEEDS)
    arrays = all(isinstance(s.source, data_module.ArraySource) for s in streams)
    if asked == "device" and not arrays:
        raise ValueError(
            "feed='device' was asked for, but the data are no arrays in memory; load "
            "them with mtl_jax.data.load, or use feed='host' (or 'auto')"
        )
    if asked != "auto" or not arrays:
        return "host" if asked == "auto" else asked
    stats = devices[0].memory_stats() if devices[0].platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        limit = min(limit, stats["bytes_limit"] // SHARE)
    # Devices of the CPU share its memory.
    copies = len(devices) if devices[0].platform == "cpu" else 1
    leaves = jax.tree.leaves([_arrays(s.source, labels) for s in streams])
    return "device" if copies * sum(a.nbytes for a in leaves) <= limit else "host"


def bytes_of_step(way: str, streams: Sequence[Stream]) -> int:
    """How much a feed sends for a step, labels apart."""
    if way == "device":
        return sum(4 * s.order.batch_size for s in streams)
    examples = [s.source.take(np.zeros(1, np.int64))["inputs"] for s in streams]
    sizes = [s.order.batch_size for s in streams]
    return sum(
        n * sum(np.asarray(a).nbytes for a in jax.tree.leaves(e))
        for e, n in zip(examples, sizes, strict=True)
    )


def make(
    way: str,
    streams: Sequence[Stream],
    labels: Sequence[str],
    calls: Calls,
    devices: Sequence[Any],
    step: int,
) -> Feed:
    """The feed of a run that goes on after `step`; see the classes."""
    if way == "device":
        return DeviceFeed(streams, labels, calls, devices)
    return HostFeed(streams, labels, calls, devices, step)


class DeviceFeed:
    """The set lies on the devices; a call is sent the numbers of its examples.

    Args:
        streams: of the run; their sources are `ArraySource`s.
        labels: those that a task reads; others are left out.
        calls: of the run.
        devices: each gets the whole set, and takes its part of a batch.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        labels: Sequence[str],
        calls: Calls,
        devices: Sequence[Any],
    ):
        self._streams, self._calls, self._devices = streams, calls, devices
        arrays = [_arrays(s.source, labels) for s in streams]
        self.resident: PyTree = data_parallel.replicate(arrays, devices)

    def pick(self, resident: PyTree, part: PyTree) -> Batch:
        """The rows of the arrays."""

        def rows(arrays: PyTree, numbers: Any) -> PyTree:
            return jax.tree.map(
                lambda a: a.at[numbers].get(mode="promise_in_bounds"), arrays
            )

        return _merged(self._streams, list(map(rows, resident, part)))

    def take(self, step: int) -> tuple[int, PyTree]:
        """The numbers of the examples, int32 `[k, B]` for each stream."""
        count = self._calls.length(step)
        numbers = [_numbers(s, step, count, self._calls.most) for s in self._streams]
        return count, data_parallel.place_parts(numbers, self._devices)

    def __enter__(self) -> "DeviceFeed":
        return self

    def __exit__(self, *_: object) -> None:
        self.resident = ()


class HostFeed:
    """A thread takes the next batches and sends them while the devices compute.

    Args:
        streams: of the run.
        labels: those that a task reads; others are left out.
        calls: of the run.
        devices: each gets its part of every batch.
        step: the first call begins after it.
    """

    resident: PyTree = ()

    def __init__(
        self,
        streams: Sequence[Stream],
        labels: Sequence[str],
        calls: Calls,
        devices: Sequence[Any],
        step: int,
    ):
        self._streams, self._labels, self._devices = streams, labels, devices
        self._calls = calls
        self._ahead = data_module.ReadAhead(self._parts(step))

    def _parts(self, step: int) -> Iterator[tuple[int, PyTree]]:
        while count := self._calls.length(step):
            batches = [self._batches(stream, step, count) for stream in self._streams]
            batch = _merged(self._streams, batches)
            yield count, data_parallel.place_parts(batch, self._devices)
            step += count

    def _batches(self, stream: Stream, step: int, count: int) -> Batch:
        """The batches of a call, one behind the other: `[k, B, …]`."""
        numbers = _numbers(stream, step, count, self._calls.most)
        batch = dict(stream.source.take(numbers.reshape(-1).astype(np.int64)))
        for part in ("labels", "masks"):
            if part in batch:
                batch[part] = _read(batch[part], self._labels)
        shape = numbers.shape
        return jax.tree.map(
            lambda a: np.reshape(a, (*shape, *np.shape(a)[1:])), objective.pack(batch)
        )

    def pick(self, resident: PyTree, part: PyTree) -> Batch:
        """The batch as it was sent."""
        return part

    def take(self, step: int) -> tuple[int, PyTree]:
        """The batches of the call."""
        return next(self._ahead)

    def __enter__(self) -> "HostFeed":
        self._ahead.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ahead.__exit__(*error)


def _numbers(stream: Stream, step: int, count: int, most: int) -> np.ndarray:
    """The examples of a call, int32 `[most, B]`; the last step's stand for the rest."""
    rows = [stream.order.indices(step + i) for i in range(count)]
    return np.stack(rows + rows[-1:] * (most - count)).astype(np.int32)


def _arrays(source: data_module.ArraySource, labels: Sequence[str]) -> Batch:
    """What tasks read of a source, as a batch of all examples."""
    batch = {"inputs": source.inputs, "labels": _read(source.labels, labels)}
    if source.masks:
        batch["masks"] = _read(source.masks, labels)
    return objective.pack(batch)


def _read(table: Any, labels: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name in labels}


def _merged(streams: Sequence[Stream], batches: Sequence[Batch]) -> Batch:
    """One batch of all streams, each in its place."""
    merged: dict[str, Any] = {}
    for stream, batch in zip(streams, batches, strict=True):
        merged |= batch if stream.key is None else {stream.key: batch}
    return merged

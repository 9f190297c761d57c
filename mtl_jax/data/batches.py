"""The order of the examples: a pure function of the seed and the step."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mtl_jax.data import hosts
from mtl_jax.data import source as source_lib
from mtl_jax.data.positions import Positions

IDENTITY = ("seed", "batch_size", "num_examples", "shuffle")
"""What has to be equal for a saved position to mean the same batch."""


class Batches:
    """Which examples make up the batch of a step.

    Each epoch is a permutation of its own; its last partial batch is left out, so
    every batch has the same shape. There is no state: a run that resumes at step
    `s` asks for `indices(s)`.

    Args:
        num_examples: of the training split.
        batch_size: examples of one step, over all devices.
        seed: a non-negative integer.
        shuffle: False: every epoch in the order of the data.

    Raises:
        ValueError: a batch larger than the set, or a negative seed.

    Example:
        >>> batches = Batches(10, 4, seed=0)
        >>> batches.steps_per_epoch
        2
        >>> batches.indices(7).tolist() == Batches(10, 4, seed=0).indices(7).tolist()
        True
    """

    def __init__(
        self, num_examples: int, batch_size: int, *, seed: int, shuffle: bool = True
    ) -> None:
        _check_batch_size(batch_size)
        if batch_size > num_examples:
            raise ValueError(
                f"a batch of {batch_size} is larger than the set of {num_examples} "
                f"examples. Set batch_size to at most {num_examples}."
            )
        if seed < 0:
            raise ValueError(f"seed {seed} is negative. Give an integer from 0 on.")
        self.num_examples = int(num_examples)
        self.batch_size = int(batch_size)
        self.seed = int(seed)
        self.shuffle = bool(shuffle)
        self.steps_per_epoch = self.num_examples // self.batch_size
        self._positions = Positions(
            self.steps_per_epoch, {field: getattr(self, field) for field in IDENTITY}
        )
        self._cached: tuple[int, np.ndarray] | None = None

    def indices(self, step: int) -> np.ndarray:
        """The examples of a step, int64 `[B]`; steps count from 0 over all epochs."""
        epoch, batch = self._positions.locate(step)
        start = batch * self.batch_size
        return self._order(epoch)[start : start + self.batch_size]

    def position(self, step: int) -> dict[str, Any]:
        """Where `step` stands, as plain numbers that go into a checkpoint's JSON."""
        return self._positions.at(step)

    def check_position(self, saved: dict[str, Any]) -> None:
        """Refuse a position that was saved for another order of the data.

        Args:
            saved: what `position` returned in the run that is resumed.

        Raises:
            ValueError: names every field that differs, saved and present.

        Example:
            >>> saved = Batches(10, 4, seed=0).position(3)
            >>> Batches(10, 5, seed=0).check_position(saved)
            Traceback (most recent call last):
            ValueError: cannot resume: batch_size was 4, is 5. ...
        """
        self._positions.check(saved)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            epoch = 0  # one order for all epochs
        cached = self._cached  # one read: a prefetching thread may replace it
        if cached is not None and cached[0] == epoch:
            return cached[1]
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(
                self.num_examples
            )
        else:
            order = np.arange(self.num_examples)
        order = order.astype(np.int64, copy=False)
        order.flags.writeable = False
        self._cached = (epoch, order)
        return order


def evaluation_batches(
    source: source_lib.Source, batch_size: int, *, host: int = 0, num_hosts: int = 1
) -> Iterator[dict[str, Any]]:
    """Every example once, in order, in batches of one shape.

    The last batch is filled up with example 0; `valid` is False there.

    Args:
        source: a split; anything with `len(source)` and `source.take(indices)`.
        batch_size: examples of a batch, of all hosts; may exceed the split.
        host: of those that evaluate together; see `data.host_part`.
        num_hosts: how many they are.

    Yields:
        Batches with `"valid"`, bool `[B]`, beside inputs, labels and masks.

    Example:
        >>> source = source_lib.ArraySource(np.eye(3), {"digit": np.arange(3)})
        >>> [batch["valid"].tolist() for batch in evaluation_batches(source, 2)]
        [[True, True], [True, False]]
    """
    _check_batch_size(batch_size)
    hosts.host_part(np.arange(batch_size), host, num_hosts)  # refuses what cannot be
    return _evaluation_batches(source, batch_size, host, num_hosts)


def _evaluation_batches(
    source: source_lib.Source, batch_size: int, host: int, num_hosts: int
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(source), batch_size):
        rows = hosts.host_part(np.arange(start, start + batch_size), host, num_hosts)
        valid = rows < len(source)
        yield {**source.take(np.where(valid, rows, 0)), "valid": valid}


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size}: a batch holds at least 1 example.")

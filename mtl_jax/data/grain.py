"""Batches through grain, for data that does not fit in memory.

Grain over single examples manages some 40,000 examples a second; over a source
whose items are whole batches it manages millions, so a batch is one item here.
Where the data does fit, `Batches` and `ArraySource.take` are faster still.
"""

from collections.abc import Iterator
from typing import Any

from mtl_jax.data import batches as batches_lib
from mtl_jax.data import source as source_lib


class GrainBatches:
    """Training batches read ahead by grain's threads, in the order of `Batches`.

    The position is the step alone: `iterate(step)` goes on exactly where a run
    stopped, whatever the number of threads, and gives what `Batches` gives.

    Args:
        source: anything with `len(source)` and `source.take(indices)`.
        batch_size: examples of one step.
        seed: a non-negative integer.
        shuffle: False: every epoch in the order of the data.
        threads: that read.
        prefetch: batches kept ready. Grain's own default is 500.

    Raises:
        ImportError: grain is not installed.
        ValueError: a batch larger than the set, or a negative seed.

    Example:
        >>> import numpy as np
        >>> from mtl_jax.data import source
        >>> data = source.ArraySource(np.eye(8), {"digit": np.arange(8)})
        >>> stream = GrainBatches(data, 4, seed=0)  # doctest: +SKIP
        >>> next(stream.iterate(start_step=5))["inputs"].shape  # doctest: +SKIP
        (4, 8)
    """

    def __init__(
        self,
        source: source_lib.Source,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        threads: int = 2,
        prefetch: int = 4,
    ) -> None:
        _import_grain()
        if threads < 1 or prefetch < 1:
            raise ValueError(
                f"threads={threads}, prefetch={prefetch}: both have to be at least 1."
            )
        self.source, self.threads, self.prefetch = source, threads, prefetch
        self.batches = batches_lib.Batches(
            len(source), batch_size, seed=seed, shuffle=shuffle
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch; the last partial one is left out."""
        return self.batches.steps_per_epoch

    def position(self, step: int) -> dict[str, Any]:
        """Where `step` stands, for a checkpoint; see `Batches.position`."""
        return self.batches.position(step)

    def check_position(self, saved: dict[str, Any]) -> None:
        """Refuse a position of another run; see `Batches.check_position`."""
        self.batches.check_position(saved)

    def __getitem__(self, step: int) -> dict[str, Any]:
        """The batch of a step, read now."""
        return self.source.take(self.batches.indices(step))

    def iterate(
        self, start_step: int = 0, end_step: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """The batches from `start_step` on, read ahead.

        Args:
            start_step: the first step.
            end_step: one behind the last step; None: without end.

        Returns:
            An iterator of batches.
        """
        grain = _import_grain()
        self.batches.position(start_step)  # refuses a negative step
        window = _Window(self, start_step, 2**31 if end_step is None else end_step)
        options = grain.ReadOptions(
            num_threads=self.threads, prefetch_buffer_size=self.prefetch
        )
        return iter(grain.MapDataset.source(window).to_iter_dataset(options))


class _Window:
    """Steps `start` to `end` as a random-access source whose items are batches."""

    def __init__(self, stream: GrainBatches, start: int, end: int) -> None:
        self.stream, self.start, self.end = stream, start, end

    def __len__(self) -> int:
        return max(self.end - self.start, 0)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.stream[self.start + int(index)]


def _import_grain() -> Any:
    try:
        import grain
    except ImportError as error:
        raise ImportError(
            "GrainBatches needs grain: pip install 'mtl-jax[grain]'. Data that fits in "
            "memory needs no grain: mtl_jax.data.load(...) and Batches."
        ) from error
    return grain

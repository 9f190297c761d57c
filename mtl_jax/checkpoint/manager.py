"""Saves and restores steps: Orbax writes, this package verifies and recovers."""

import gc
import math
import operator
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import jax
import numpy as np
from jax.experimental import multihost_utils

from mtl_jax import stacked
from mtl_jax.checkpoint.directory import StepDirectory, brief
from mtl_jax.checkpoint.leaves import named_leaves, to_host
from mtl_jax.checkpoint.match import differences, row_form, together
from mtl_jax.checkpoint.record import (
    CheckpointError,
    CheckpointWarning,
    Damaged,
    Record,
)
from mtl_jax.typing import PyTree


class Restored(NamedTuple):
    """A restored state, what was saved beside it, and its step."""

    state: PyTree
    meta: dict[str, Any]
    step: int


def _agree(good: bool) -> bool:
    """True if all processes say so."""
    if jax.process_count() == 1:
        return good
    return bool(np.all(multihost_utils.process_allgather(np.array(good))))


class Checkpoints:
    """The checkpoints of one run: the newest few and the best one.

    A save copies the state to the host and returns; writing goes on behind. Every leaf
    has a checksum, and a restore that meets damage uses the step before, with a
    `CheckpointWarning`; the damaged step is moved to `<step>.damaged`. A step appears
    by one rename, so that a process killed at any moment leaves whole steps only. One
    process (or one set of `jax.distributed` processes) writes to a directory; others
    may read it with `read_only=True`.

    Close it, or use it as a context manager: what is not yet written is lost at exit.

    Args:
        directory: where the steps are; made where it is missing.
        keep_last: how many of the newest steps are kept.
        best_metric: also keep the step with the best value of this metric.
        best_mode: whether the best value is the largest or the smallest.
        read_only: change nothing on disk, and refuse to save.

    Raises:
        CheckpointError: the directory cannot be made, read or written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Checkpoints(folder.name, best_metric="acc") as checkpoints:
        ...     for step, acc in enumerate([0.7, 0.9, 0.8, 0.8]):
        ...         state = {"w": np.full(3, step)}
        ...         checkpoints.save(step, state, meta={}, metrics={"acc": acc})
        ...     checkpoints.steps(), checkpoints.best_step()
        ...     checkpoints.restore(like={"w": np.zeros(3, int)}).state
        ([1, 2, 3], 1)
        {'w': array([3, 3, 3])}
        >>> folder.cleanup()
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        keep_last: int = 2,
        best_metric: str | None = None,
        best_mode: Literal["max", "min"] = "max",
        read_only: bool = False,
    ) -> None:
        if keep_last < 1:
            raise ValueError(f"keep_last is {keep_last}; at least 1 step must be kept.")
        if best_mode not in ("max", "min"):
            raise ValueError(f"best_mode is {best_mode!r}; use 'max' or 'min'.")
        if "://" in str(directory):
            raise CheckpointError(
                f"the checkpoint directory {directory} is an address; use a local or "
                "mounted directory."
            )
        self.directory = Path(directory).expanduser().absolute()
        self._keep_last = keep_last
        self._best_metric = best_metric
        self._sign = 1 if best_mode == "max" else -1
        self._disk = StepDirectory(self.directory, self._kept, read_only)

    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
            CheckpointError: it failed.
        """
        self._disk.ready()

    def close(self) -> None:
        """Waits until the last save is on disk, and ends the threads behind it.

        Raises:
            CheckpointError: the last save failed.
        """
        self._disk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except CheckpointError as failed:
            if kind is None:
                raise
            warnings.warn(str(failed), CheckpointWarning, stacklevel=2)

    def steps(self) -> list[int]:
        """The steps on disk, ascending; waits for the one being written."""
        return self._disk.steps()

    def latest_step(self) -> int | None:
        """The newest step."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """The step with the best metric; None where no step has a finite one."""
        if self._best_metric is None:
            raise ValueError(
                "there is no best step: give Checkpoints(best_metric=...) the name of "
                "a metric."
            )
        return self._best(self.steps())

    def path(self, step: int) -> Path:
        """Where a step is, or would be."""
        return self.directory / str(step)

    def _best(self, steps: Sequence[int]) -> int | None:
        """The earliest step with the best finite metric."""
        values = {}
        if self._best_metric is not None:
            for step in sorted(steps):
                record = self._disk.known_record(step)
                value = record.metrics.get(self._best_metric) if record else None
                if value is not None and math.isfinite(value):
                    values[step] = self._sign * value
        return max(values, key=values.__getitem__, default=None)

    def _kept(self, steps: Sequence[int]) -> set[int | None]:
        return {*sorted(steps)[-self._keep_last :], self._best(steps)}

    def save(
        self,
        step: int,
        state: PyTree,
        *,
        meta: dict[str, Any],
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Copies the state to the host, and writes it while the caller goes on.

        Saving a step again changes nothing where all is the same, and else replaces
        it; its metrics are kept. A save still being written is waited for first.

        Args:
            step: number of the step; not below that of the newest checkpoint.
            state: any pytree of arrays, PRNG keys and Python numbers. It may be
                donated as soon as this returns.
            meta: anything else, as JSON.
            metrics: numbers by name.

        Raises:
            CheckpointError: this save is impossible, or the one before it failed.
        """
        step = operator.index(step)
        where = f"step {step} cannot be saved to {self.directory}"
        if self._disk.read_only:
            raise CheckpointError(f"{where}: it was opened with read_only=True.")
        if step < 0:
            raise CheckpointError(f"{where}: it is negative.")
        known = self.steps()
        if step not in known and step < max(known, default=0):
            raise CheckpointError(
                f"{where}: step {known[-1]} is there already, and a restart would "
                "continue from that. Use another directory, or move the newer steps "
                "elsewhere."
            )
        leaves = to_host(state)
        records = {name: leaf.record for name, leaf in leaves.items()}
        values = {name: float(value) for name, value in (metrics or {}).items()}
        old = self._disk.known_record(step) if step in known else None
        if old is not None:
            values = {**old.metrics, **values}
        record = Record(step, records, values, meta)
        if old is not None and old.dump() == record.dump():
            return
        self._best(known)  # reads the records before Orbax is in the middle of a save
        self._disk.write(record, leaves)

    def _load(self, step: int, like: PyTree) -> Restored:
        """One step; raises `Damaged`."""
        wanted, treedef = named_leaves(stacked.named(like, row_form))
        try:
            record = self._disk.record(step)
            if lines := differences(record.leaves, wanted):
                raise CheckpointError(
                    f"the checkpoint {self.path(step)} is of another model:\n{lines}\n"
                    "Build the model it was saved from, or use another directory."
                )
            arrays = self._disk.arrays(record)
        except Damaged:
            _agree(False)
            raise
        if not _agree(True):
            raise Damaged("another process found it damaged")
        state = together(record.leaves, arrays, wanted, treedef, like)
        return Restored(state, record.meta, step)

    def restore(self, like: PyTree) -> Restored | None:
        """The newest good checkpoint.

        Args:
            like: a state of the same structure, shapes and dtypes, which may hold
                `jax.ShapeDtypeStruct` leaves. Leaves are put where its leaves are.

        Returns:
            State, meta and step; None where there is no checkpoint.

        Raises:
            CheckpointError: the checkpoint is of another model, or all are damaged.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                restored = self._load(step, like)
            except Damaged as error:
                damaged[step] = str(error)
                continue
            if damaged:
                self._fall_back(damaged, step)
            return restored
        if not damaged:
            return None
        found = "; ".join(f"{self.path(s)}: {why}" for s, why in damaged.items())
        raise CheckpointError(
            f"all {len(damaged)} checkpoints in {self.directory} are damaged: {found}. "
            "Restore them from a backup, or use another directory to start anew."
        )

    def _fall_back(self, damaged: dict[int, str], step: int) -> None:
        """Warns, and moves the damaged steps out of the way of later saves."""
        gc.collect()  # what asyncio says of further errors comes now, and is dropped
        told = []
        for bad, why in damaged.items():
            where = ""
            if not self._disk.read_only:
                try:
                    where = f"; moved to {self._disk.set_aside(bad, 'damaged').name}"
                except OSError as error:
                    where = f"; it could not be moved aside ({brief(error)})"
            told.append(f"step {bad} ({self.path(bad)}) is damaged: {why}{where}")
        warnings.warn(
            f"checkpoint {'. Checkpoint '.join(told)}. Using step {step} "
            f"({self.path(step)}) instead.",
            CheckpointWarning,
            stacklevel=3,
        )

    def restore_step(self, step: int, like: PyTree) -> Restored:
        """The checkpoint of one step, and no other.

        Args:
            step: which one.
            like: as for `restore`.

        Returns:
            State, meta and step.

        Raises:
            CheckpointError: it is not there, is damaged, or is of another model.
        """
        known = self.steps()
        if step not in known:
            raise CheckpointError(
                f"there is no checkpoint of step {step} in {self.directory}. Steps "
                f"there: {', '.join(map(str, known)) or '(none)'}."
            )
        try:
            return self._load(step, like)
        except Damaged as error:
            raise CheckpointError(
                f"the checkpoint {self.path(step)} is damaged: {error}. Steps there: "
                f"{', '.join(map(str, known))}; restore() uses the newest good one."
            ) from error

    def restore_best(self, like: PyTree) -> Restored:
        """The checkpoint with the best metric.

        Args:
            like: as for `restore`.

        Returns:
            State, meta and step.

        Raises:
            CheckpointError: no checkpoint has the metric, the best one is damaged, or
                it is of another model.
        """
        best = self.best_step()
        if best is None:
            raise CheckpointError(
                f"no checkpoint in {self.directory} has a finite value of the metric "
                f"{self._best_metric!r}. Steps there: "
                f"{', '.join(map(str, self.steps())) or '(none)'}."
            )
        return self.restore_step(best, like)

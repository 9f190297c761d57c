"""A directory of steps, written by Orbax: opening, failing, recovering."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from mtl_jax.checkpoint.leaves import HostLeaf
from mtl_jax.checkpoint.quiet import quiet_orbax
from mtl_jax.checkpoint.record import CheckpointError, Damaged, Record
from mtl_jax.checkpoint.storage import blank, stored, verified

_LATE = 0.05
"""Seconds for the other leaves to end, after the error of one."""


class _Keep:
    """Preserves the steps that a function of all steps names."""

    def __init__(self, kept: Callable[[Sequence[int]], Collection[int | None]]) -> None:
        self._kept = kept

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: Any
    ) -> Sequence[bool]:
        """One bool a checkpoint."""
        steps = [info.step for info in checkpoints]
        kept = self._kept(steps)
        return [step in kept for step in steps]


def brief(error: BaseException, limit: int = 300) -> str:
    """Type and text of an error on one line.

    Example:
        >>> brief(OSError("no\\n space"))
        'OSError: no space'
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:limit]}{'...' * (len(text) > limit)}"


def _sync(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"mtl_jax.checkpoint.{name}")


@contextlib.contextmanager
def _damage(directory: Path) -> Iterator[None]:
    """Whatever goes wrong in reading is damage, but for a few causes."""
    try:
        yield
    except (Damaged, CheckpointError, MemoryError):
        raise
    except PermissionError as error:
        raise CheckpointError(
            f"the checkpoints in {directory} cannot be read: {brief(error)}. Correct "
            "the permissions."
        ) from error
    except Exception as error:
        time.sleep(_LATE)
        raise Damaged(brief(error)) from error


class StepDirectory:
    """The steps on disk.

    Args:
        path: absolute; made where it is missing.
        kept: of the steps there are, those to keep when another one is saved.
        read_only: change nothing on disk.

    Raises:
        CheckpointError: the directory cannot be made, read or written.
    """

    def __init__(
        self,
        path: Path,
        kept: Callable[[Sequence[int]], Collection[int | None]],
        read_only: bool,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._kept = kept
        self._manager: ocp.CheckpointManager | None = None
        self._records: dict[int, Record | None] = {}
        self._pending: int | None = None  # the step being written
        self._interrupted = False
        self._closed = False
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet_orbax())
        try:
            self._open()
        except BaseException:
            self._quiet.close()
            raise

    def _open(self) -> ocp.CheckpointManager:
        """Opens the directory, again after an error: the disk is what counts."""
        old, self._manager = self._manager, None
        if old is not None:
            with contextlib.suppress(Exception):  # raised before
                old.wait_until_finished()
            with contextlib.suppress(Exception):
                old.close()
        self._records = {}
        self._pending, self._interrupted = None, False
        self._usable()
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_Keep(self._kept),
            cleanup_tmp_directories=not self.read_only,
            create=not self.read_only,
            read_only=self.read_only,
            lightweight_initialize=True,  # else a damaged metrics file ends it here
        )
        try:
            if not self.read_only:
                self._recover()
            self._manager = ocp.CheckpointManager(self.path, options=options)
        except Exception as error:
            advice = "Move what is damaged elsewhere, or use another one."
            if isinstance(error, PermissionError):
                advice = "Give a directory that can be read and written."
            raise CheckpointError(
                f"the checkpoint directory {self.path} cannot be opened: "
                f"{brief(error)}. {advice}"
            ) from error
        return self._manager

    def _usable(self) -> None:
        """Raises where the directory cannot be used."""
        mode, use = os.R_OK | os.X_OK, "read"
        if not self.read_only:
            mode, use = mode | os.W_OK, "written"
        try:
            if self.path.exists() and not self.path.is_dir():
                raise NotADirectoryError("it is a file")
            if not self.read_only:
                self.path.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not os.access(self.path, mode):
                raise PermissionError("no permission")
        except OSError as error:
            also = "" if self.read_only else " (read_only=True only reads)"
            raise CheckpointError(
                f"the checkpoint directory {self.path} cannot be {use}: "
                f"{brief(error)}. Give a directory that can be {use}{also}."
            ) from error

    def _recover(self) -> None:
        """Ends what saving a step again, or a kill within a save, has left."""
        if jax.process_index() == 0:
            for unfinished in self.path.glob("[0-9]*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished, ignore_errors=True)
            for aside in self.path.glob("[0-9]*.replaced"):
                if aside.with_suffix("").exists():
                    shutil.rmtree(aside)
                else:
                    aside.rename(aside.with_suffix(""))
        _sync("recover")

    def ready(self) -> ocp.CheckpointManager:
        """Waits for the step being written.

        Returns:
            The manager, idle.

        Raises:
            CheckpointError: that step could not be written, or all is closed.
        """
        if self._closed:
            raise CheckpointError(f"the checkpoints of {self.path} are closed.")
        if self._interrupted or self._manager is None:
            self._open()
        assert self._manager is not None
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failed(error) from error
        except BaseException:
            self._interrupted = True  # Orbax now forgets the step it is writing
            raise
        if self._pending is not None:
            self._pending = None
            self._recover()
        return self._manager

    def _failed(self, error: Exception) -> CheckpointError:
        """The error for a save that failed; what was saved before stays usable."""
        step = self._pending
        time.sleep(_LATE)
        try:
            left = str(sorted(self._open().all_steps()))
        except CheckpointError as second:
            left = f"unknown ({second})"
        full = "RESOURCE_EXHAUSTED" in str(error) or "No space left" in str(error)
        return CheckpointError(
            f"the checkpoint of step {step} was not saved to {self.path}: "
            f"{brief(error)}. Steps still there: {left}. "
            f"{'The disk is full: free some space' if full else 'Remove the cause'} "
            "and save again."
        )

    def close(self) -> None:
        """Waits for the step being written, and ends the threads behind it."""
        if self._closed:
            return
        try:
            self.ready()
        finally:
            if not self._interrupted:
                self._closed = True
                if self._manager is not None:
                    self._manager.close()
                self._quiet.close()

    def steps(self) -> list[int]:
        """All steps, ascending."""
        return sorted(self.ready().all_steps())

    def write(self, record: Record, leaves: dict[str, HostLeaf]) -> None:
        """Starts to write a step, in place of the one of that number."""
        manager, saved = self.ready(), record.dump()
        if record.step in manager.all_steps():
            self.set_aside(record.step, "replaced")
        self._pending = record.step
        self._records[record.step] = record
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(stored(leaves)),
            meta=ocp.args.JsonSave(saved),
        )
        try:
            manager.save(record.step, args=args, force=True)
        except Exception as error:
            raise self._failed(error) from error
        except BaseException:
            self._interrupted = True
            raise

    def set_aside(self, step: int, suffix: str) -> Path:
        """Renames a step's directory, so that it is a step no more."""
        path = self.path / str(step)
        aside = path.with_suffix(f".{suffix}")
        count = 1
        while aside.exists():
            count += 1
            aside = path.with_suffix(f".{suffix}{count}")
        _sync("look")
        if jax.process_index() == 0:
            path.rename(aside)
        _sync("aside")
        assert self._manager is not None
        self._manager.reload()
        self._records.pop(step, None)
        return aside

    def known_record(self, step: int) -> Record | None:
        """The record of a step, read once; None where it is damaged."""
        if step not in self._records:
            self._records[step] = None
            with contextlib.suppress(Damaged, CheckpointError):
                self._records[step] = self.record(step)
        return self._records[step]

    def record(self, step: int) -> Record:
        """The record of a step; raises `Damaged`."""
        assert self._manager is not None
        with _damage(self.path):
            args = ocp.args.Composite(meta=ocp.args.JsonRestore())
            return Record.load(self._manager.restore(step, args=args).meta, step)

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """The leaves of a step, each verified; raises `Damaged`."""
        assert self._manager is not None
        with _damage(self.path):
            state = ocp.args.StandardRestore(blank(record.leaves))
            args = ocp.args.Composite(state=state)
            return verified(
                self._manager.restore(record.step, args=args).state, record.leaves
            )

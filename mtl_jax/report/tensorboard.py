"""Metrics rows as TensorBoard scalars."""

import itertools
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from mtl_jax.report import reading

_numbers = itertools.count()


class EventWriter:
    """Writes every number of a row as one scalar, tagged `split/task/metric`.

    What is written survives the process.

    Args:
        directory: the folder to point TensorBoard at; made if it is not there.
        resume_from: None for a new run; or the step of the checkpoint that the run
            goes on from: TensorBoard then hides what earlier processes wrote for
            greater steps.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with EventWriter(folder, resume_from=None) as writer:
        ...     writer.write({"step": 1, "split": "train", "digit/loss": 0.5})
        >>> len(list(folder.glob("events.out.tfevents.*")))
        1
    """

    def __init__(self, directory: str | os.PathLike[str], *, resume_from: int | None):
        # Not `SummaryWriter`: it hands events to a thread, and its `flush` does not
        # wait for that thread, so a killed run would miss rows that its checkpoint has.
        from tensorboardX import event_file_writer
        from tensorboardX.proto import event_pb2

        self._event = event_pb2.Event
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._writer: Any = event_file_writer.EventsWriter(
            str(self.directory / "events"),
            # The library names files by the second and opens them for writing: without
            # this, a run resumed within a second would wipe its predecessor's file.
            f".{os.getpid()}.{next(_numbers)}",
        )
        if resume_from is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._add(step=resume_from + 1, session_log=start)
        self._writer.flush()

    def write(self, row: reading.Row) -> None:
        """Write the numbers of one row; missing and non-finite ones are left out."""
        from tensorboardX.summary import scalar

        step = int(reading.number(row, "step") or 0)
        split = row.get("split")
        for key in row:
            value = None if key in reading.RESERVED else reading.number(row, key)
            if value is not None:
                tag = f"{split}/{key}" if split else key
                self._add(step=step, summary=scalar(tag, value))
        self._writer.flush()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add(self, **content: Any) -> None:
        self._writer.write_event(self._event(wall_time=time.time(), **content))

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

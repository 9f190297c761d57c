"""What a run says in the terminal."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from mtl_jax import errors
from mtl_jax.report import bar, reading, tables

LEVELS = ("debug", "info", "warning", "error")
_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}


class Console:
    """A live progress bar, a table that grows by an epoch, and the last word.

    ======================  ==================  ======================
    shown                   where               from level
    ======================  ==================  ======================
    progress bar            stdout, a terminal  info, and not quiet
    lines of each epoch     stdout              info
    messages                stderr              the message's own
    test table and paths    stdout              warning
    ======================  ==================  ======================

    Into a file or a pipe goes plain text without control characters, and by default
    no more than warnings, the test table and the paths. Use it as a context manager,
    so that the bar leaves the terminal as it was, also on Ctrl-C.

    Args:
        tasks: the tasks' names, in the order of their lines.
        main: the names of the main tasks, to tell them from auxiliary ones.
        quiet: no bar, and the default level is "warning" and not "info". None: quiet
            where stdout is not a terminal.
        level: the least level that is shown; one of `LEVELS`. Given, it counts also
            for a quiet console: "info" prints the lines of each epoch into a pipe.
        stdout: where to print; None for the process's own.
        stderr: where messages go; None for the process's own.

    Raises:
        ValueError: a level, or a main task, that there is not.

    Example:
        >>> with Console(["digit"], level="info") as console:
        ...     console.start(epochs=1, steps_per_epoch=1)
        ...     console.write({"step": 1, "epoch": 1, "split": "train",
        ...                    "digit/loss": 0.5, "digit/weight": 1.0})
        ...     console.finish([{"step": 1, "split": "test", "digit/accuracy": 0.9}])
        epoch  task   train loss     weight
          1/1  digit      0.5000     1.0000
        <BLANKLINE>
        Test, step 1
        task    accuracy
        digit     0.9000
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        main: Collection[str] = (),
        quiet: bool | None = None,
        level: str | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ):
        for name in main:
            if name not in tasks:
                raise errors.unknown_name("main task", name, tasks)
        terminal = _is_terminal(stdout or sys.stdout)
        quiet = not terminal if quiet is None else quiet
        self._severity = _severity(level or ("warning" if quiet else "info"))
        self._tasks = list(tasks)
        self._out = _printer(stdout, terminal)
        # Messages must go round a live bar, which only its own printer can do.
        both = terminal and _is_terminal(stderr or sys.stderr)
        self._err = self._out if both else _printer(stderr or sys.stderr, False)
        self._has_bar = (
            terminal
            and not quiet
            and not self._out.is_dumb_terminal
            and self._shows("info")
        )
        self._table = tables.EpochTable(
            tasks, main=main, width=self._out.width if terminal else 10_000
        )
        self._epochs: int | None = None
        self._pending: list[reading.Row] = []  # training rows not yet in a line
        self._before: float = 0  # the step before them
        self._bar: bar.Bar | None = None

    def start(self, *, epochs: int, steps_per_epoch: int, step: int = 0) -> None:
        """Show the bar.

        Args:
            epochs: how many the whole run has; rows count them from 1.
            steps_per_epoch: optimizer steps of one epoch.
            step: the steps that are already done, on resuming.
        """
        self._epochs, self._before = epochs, step
        if not self._has_bar or self._bar is not None:
            return
        self._bar = bar.Bar(
            self._out,
            self._tasks,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            step=step,
        )

    def advance(self, step: int) -> None:
        """Move the bar to `step`, between the rows; does nothing without a bar."""
        if self._bar is not None:
            self._bar.advance(step)

    def write(self, row: reading.Row) -> None:
        """Take a metrics row: training moves the bar, evaluation ends the epoch.

        An epoch without validation gets its lines when the next one begins.
        """
        split = row.get("split")
        if split == "train":
            if self._pending and self._pending[-1].get("epoch") != row.get("epoch"):
                self._end_epoch(None)
            self._pending.append(row)
            if self._bar is not None:
                self._bar.write(row)
        elif split == "validation" or (split == "test" and self._pending):
            self._end_epoch(row)

    def message(self, level: str, text: str) -> None:
        """Say something beside the numbers: a skipped step, where a run goes on.

        Args:
            level: one of `LEVELS`.
            text: one line.

        Raises:
            ValueError: a level that there is not.
        """
        from rich.text import Text

        if _severity(level) >= self._severity:
            self._print(self._err, Text(f"{level}: {text}", style=_STYLES[level]))

    def finish(
        self, rows: Iterable[reading.Row], paths: Mapping[str, Path] | None = None
    ) -> None:
        """Remove the bar; print the test table and where everything lies.

        Args:
            rows: metrics rows; the last test rows count, and where there are none the
                last validation rows.
            paths: what lies where: `{"metrics": Path(...), ...}`.
        """
        from rich.text import Text

        if self._pending:
            self._end_epoch(None)
        self.stop()
        if not self._shows("warning"):
            return
        split, row = reading.last_evaluation(rows)
        if row:
            step = row.get("step")
            title = split.capitalize() + ("" if step is None else f", step {step}")
            self._print(self._out, Text(""))
            self._print(self._out, Text(title, style="bold"))
            lines = self._table.final(row)
            self._print_table(lines, lines[0])
        if paths:
            width = max(len(name) for name in paths)
            self._print(self._out, Text(""))
            for name, path in paths.items():
                self._print(self._out, Text(f"{name:<{width}}  {path}"))

    def stop(self) -> None:
        """Remove the bar; the terminal is as it was. A second call does nothing."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _shows(self, level: str) -> bool:
        return _severity(level) >= self._severity

    def _end_epoch(self, validation: reading.Row | None) -> None:
        rows, self._pending = self._pending, []
        if self._shows("info"):
            epoch = (validation or rows[-1]).get("epoch", "")
            label = f"{epoch}/{self._epochs}" if self._epochs else str(epoch)
            lines = self._table.lines(label, rows, validation, self._before)
            self._print_table(lines, self._table.head)
        if rows:
            self._before = reading.number(rows[-1], "step") or self._before

    def _print_table(self, lines: Sequence[str], head: str) -> None:
        from rich.text import Text

        for line in lines:
            self._print(self._out, Text(line, style="bold" if line == head else ""))

    def _print(self, printer: Any, text: Any) -> None:
        printer.print(text, soft_wrap=True)

    def __enter__(self) -> "Console":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _severity(level: str) -> int:
    if level not in LEVELS:
        raise errors.unknown_name("level", level, LEVELS)
    return LEVELS.index(level)


def _is_terminal(stream: Any) -> bool:
    """Whether a person reads the stream; a closed or missing one is no terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _printer(stream: TextIO | None, terminal: bool) -> Any:
    """rich's console; to anything but a terminal plain text, whatever the environment
    variables ask for."""
    from rich.console import Console as Printer

    usual: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    if terminal:
        return Printer(file=stream, **usual)
    return Printer(
        file=stream,
        force_terminal=False,
        force_jupyter=False,
        color_system=None,
        width=10_000,
        **usual,
    )

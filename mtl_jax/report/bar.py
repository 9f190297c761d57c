"""The live progress bar of a run, with the newest losses and weights below it."""

from collections.abc import Sequence
from typing import Any

from mtl_jax.report import reading, tables


class Bar:
    """Shows itself when made and leaves nothing behind when stopped.

    Args:
        printer: rich's console of a terminal.
        tasks: the tasks' names.
        epochs: how many the whole run has.
        steps_per_epoch: optimizer steps of one epoch.
        step: the steps that are already done.
    """

    def __init__(
        self,
        printer: Any,
        tasks: Sequence[str],
        *,
        epochs: int,
        steps_per_epoch: int,
        step: int,
    ):
        from rich import console, live, progress, text

        self._tasks = tasks
        self._status = ""
        columns = [
            progress.TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TextColumn("ETA"),
            progress.TimeRemainingColumn(compact=True),
        ]
        self._progress = progress.Progress(*columns, console=printer, expand=True)
        self._row = self._progress.add_task(
            "",
            total=epochs * steps_per_epoch,
            completed=step,
            epoch=min(epochs, step // max(1, steps_per_epoch) + 1),
            rate="",
        )
        self._live = live.Live(
            get_renderable=lambda: console.Group(
                self._progress, text.Text(self._status, style="dim")
            ),
            console=printer,
            transient=True,
            refresh_per_second=4,
        )
        self._live.start()

    def advance(self, step: int) -> None:
        """Move the bar to `step`."""
        self._progress.update(self._row, completed=step)

    def write(self, row: reading.Row) -> None:
        """Take step, epoch, speed, losses and weights from a training row."""
        rate = reading.number(row, "examples_per_second")
        self._progress.update(
            self._row,
            completed=reading.number(row, "step") or 0,
            epoch=row.get("epoch"),
            rate="" if rate is None else f"{rate:,.0f} examples/s",
        )
        self._status = status(row, self._tasks)

    def stop(self) -> None:
        """Remove the bar; the terminal is as it was."""
        self._live.stop()


def status(row: reading.Row, tasks: Sequence[str]) -> str:
    """The losses and weights of a training row, a task a line; of many a summary.

    Args:
        row: a training row.
        tasks: the tasks' names.

    Returns:
        Lines of text.

    Example:
        >>> status({"digit/loss": 0.5, "digit/weight": 1.0}, ["digit"])
        'digit  loss 0.5000  weight 1.0000'
        >>> row = {f"{task}/loss": float(task) for task in "12345"}
        >>> status(row, list("12345"))
        '5 tasks: mean loss 3.0000  weights -'
    """
    if len(tasks) > tables.MANY:
        loss = tables.mean(tables.numbers(row, tasks, "loss"))
        weights = tables.spread(tables.numbers(row, tasks, "weight"))
        text = f"{len(tasks)} tasks: mean loss {tables.cell(loss)}  weights {weights}"
    else:
        width = max((len(task) for task in tasks), default=0)
        text = "\n".join(
            f"{task:<{width}}  loss {tables.cell(reading.number(row, f'{task}/loss'))}"
            f"  weight {tables.cell(reading.number(row, f'{task}/weight'))}"
            for task in tasks
        )
    skipped = reading.number(row, "skipped_steps")
    return f"{text}\nskipped steps: {skipped:.0f}" if skipped else text

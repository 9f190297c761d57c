"""Metrics rows as aligned lines of text, one a task."""

from collections.abc import Collection, Mapping, Sequence

from mtl_jax.report import reading

MANY = 4  # tasks from which, this number excluded, an epoch is summed up
_NUMBER = 9  # letters of a number's column
_WIDE = 12  # letters of a span of weights
_EPOCH = "epoch"
_GAP = "  "


def cell(value: float | None) -> str:
    """A number in at most ten letters.

    Args:
        value: a number, or None where there is none.

    Returns:
        Four decimals, or the exponent form for the very small and the very large.

    Example:
        >>> cell(0.98765), cell(1.5e-6), cell(None)
        ('0.9877', '1.500e-06', '-')
    """
    if value is None:
        return "-"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.3e}"
    return f"{value:.4f}"


def spread(values: Collection[float]) -> str:
    """The least and the greatest of many values: `0.02..1.3`; "-" of none."""
    return f"{min(values):.3g}..{max(values):.3g}" if values else "-"


def mean(values: Collection[float]) -> float | None:
    """The mean, None of none."""
    return sum(values) / len(values) if values else None


def numbers(row: reading.Row, tasks: Sequence[str], metric: str) -> list[float]:
    """The values of `metric` of those tasks that have one."""
    values = (reading.number(row, f"{task}/{metric}") for task in tasks)
    return [value for value in values if value is not None]


class EpochTable:
    """A table that grows by a few lines an epoch and has its head only once.

    Up to `MANY` tasks have a line each. More are summed up in one line (mean over the
    tasks, span of the weights) behind the lines of the main tasks, if those are few.

    Args:
        tasks: the tasks' names.
        main: the names of the main tasks; if some tasks are and some are not, each
            name is followed by "(main)" or "(aux)".
        width: the letters of a line. Where the metrics do not fit as columns, each
            line names its own.

    Example:
        >>> table = EpochTable(["digit"], main=(), width=80)
        >>> train = [{"digit/loss": 0.5, "digit/weight": 1.0}]
        >>> row = {"digit/loss": 0.4, "digit/accuracy": 0.9}
        >>> print(*table.lines("1/10", train, row), sep="\\n")
        epoch  task   train loss     weight   val loss  val accuracy
         1/10  digit      0.5000     1.0000     0.4000        0.9000
        >>> print(*table.lines("2/10", train, row), sep="\\n")
         2/10  digit      0.5000     1.0000     0.4000        0.9000
    """

    def __init__(self, tasks: Sequence[str], *, main: Collection[str], width: int):
        self._tasks = list(tasks)
        self._main = set(main)
        self._width = width
        self.head = ""
        main_tasks = [task for task in tasks if task in self._main]
        self._shown = self._tasks
        if len(self._tasks) > MANY:
            self._shown = main_tasks if len(main_tasks) <= MANY else []
        self._summary = f"mean of {len(tasks)}" if len(tasks) > MANY else None

    def name(self, task: str) -> str:
        """The task's name and what it is."""
        if not self._main or self._main.issuperset(self._tasks):
            return task
        return f"{task} ({'main' if task in self._main else 'aux'})"

    def lines(
        self,
        epoch: str,
        train: Sequence[reading.Row],
        validation: reading.Row | None,
        start: float = 0,
    ) -> list[str]:
        """The lines of one epoch, led by the head where the last one does not fit.

        Args:
            epoch: what the first column says.
            train: the training rows of the epoch: losses are averaged over their
                steps, weights are the last one's.
            validation: the row of the epoch's evaluation, if there was one.
            start: the step before the first training row.

        Returns:
            Lines of text without a newline.
        """
        losses = {
            task: reading.mean_over_steps(train, f"{task}/loss", start)
            for task in self._tasks
        }
        last = train[-1] if train else {}
        columns = metric_names(self._tasks, validation or {})
        values = validation or {}
        rows = [
            [
                self.name(task),
                cell(losses[task]),
                cell(reading.number(last, f"{task}/weight")),
                *(cell(reading.number(values, f"{task}/{name}")) for name in columns),
            ]
            for task in self._shown
        ]
        if self._summary is not None:
            known = [loss for loss in losses.values() if loss is not None]
            rows.append(
                [
                    self._summary,
                    cell(mean(known)),
                    spread(numbers(last, self._tasks, "weight")),
                    *(cell(mean(numbers(values, self._tasks, c))) for c in columns),
                ]
            )
        short = "test" if values.get("split") == "test" else "val"
        names = [f"{short} {name}" for name in columns]
        head = ["task", "train loss", "weight", *names]
        widths = [self._names_width(), _WIDE if self._summary else _NUMBER]
        grid = _grid(head, rows, widths, fixed=3, width=self._width - len(_EPOCH) - 2)
        labels = [_EPOCH, epoch, *[""] * len(rows)]
        lines = [
            f"{label:>{len(_EPOCH)}}{_GAP}{line}"
            for label, line in zip(labels, grid, strict=False)
        ]
        if lines[0] == self.head:
            return lines[1:]
        self.head = lines[0]
        return lines

    def final(self, row: reading.Row) -> list[str]:
        """The table of one evaluation: every task, and of many also the mean."""
        columns = metric_names(self._tasks, row)
        rows = [
            [
                self.name(task),
                *(cell(reading.number(row, f"{task}/{name}")) for name in columns),
            ]
            for task in self._tasks
        ]
        if self._summary is not None:
            means = [cell(mean(numbers(row, self._tasks, c))) for c in columns]
            rows.append([self._summary, *means])
        widths = [max(len(row[0]) for row in rows), _NUMBER]
        return _grid(["task", *columns], rows, widths, fixed=1, width=self._width)

    def _names_width(self) -> int:
        names = [self.name(task) for task in self._shown]
        return max(len(name) for name in ["task", self._summary or "", *names])


def metric_names(tasks: Sequence[str], row: Mapping[str, object]) -> list[str]:
    """The metrics of a row over all tasks, the loss first."""
    names: dict[str, None] = {}
    if any(f"{task}/loss" in row for task in tasks):
        names["loss"] = None
    for task in tasks:
        names.update(dict.fromkeys(reading.metrics([row], task)))
    return list(names)


def _grid(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    least: Sequence[int],
    *,
    fixed: int,
    width: int,
) -> list[str]:
    """Head and rows in columns; where they are too wide, all but the first `fixed`
    as names and values. `least` has the width of the names and of the numbers."""
    widths = [max(least[i > 0], len(title)) for i, title in enumerate(head)]
    too_wide = sum(widths) + len(_GAP) * (len(widths) - 1) > width
    if too_wide and len(head) > fixed:
        texts = [
            _GAP.join(
                f"{title.removeprefix('val ').removeprefix('test ')} {value}"
                for title, value in zip(head[fixed:], row[fixed:], strict=True)
                if value != "-"
            )
            for row in rows
        ]
        rows = [[*row[:fixed], text] for row, text in zip(rows, texts, strict=True)]
        named = {"val": "validation", "test": "test"}
        title = named.get(head[fixed].partition(" ")[0], "metrics")
        head, widths = [*head[:fixed], title], [*widths[:fixed], 0]
    lines = []
    for cells in [head, *rows]:
        parts = [f"{c:>{w}}" for c, w in zip(cells[1:], widths[1:], strict=True)]
        lines.append(_GAP.join([f"{cells[0]:<{widths[0]}}", *parts]).rstrip())
    return lines

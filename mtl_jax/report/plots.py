"""The curves of a run as pictures: losses, metrics, task weights."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mtl_jax.report import drawing, reading

_TOGETHER = 4  # tasks up to which all curves share one pair of axes
_MOST_PANELS = 100
_DASHES = {"train": "-", "validation": "--", "test": "--"}


def draw(
    rows: Iterable[reading.Row],
    directory: str | os.PathLike[str],
    tasks: Sequence[str],
) -> list[Path]:
    """Draw a run's curves over its steps into PNG files.

    `losses.png` holds each task's training and validation loss, `metrics.png` one panel
    for every validation metric of every task (test metrics where nothing was
    validated), and `task_weights.png` the weights. A few
    tasks share one pair of axes; many get a small panel each. A task has the same
    colour in all three. The process's matplotlib backend and settings stay as they are.

    Args:
        rows: metrics rows in any order; missing keys and None are skipped.
        directory: the folder to write to; made if it is not there.
        tasks: the tasks' names; their order gives the colours.

    Returns:
        The files that were written. A picture that would be empty is not.

    Raises:
        OSError: where the folder cannot be written.

    Example:
        >>> rows = [{"step": 1, "split": "train", "digit/loss": 0.5}]
        >>> [path.name for path in draw(rows, getfixture("tmp_path"), ["digit"])]
        ['losses.png']
    """
    rows, directory = list(rows), Path(directory)
    drawers = {
        "losses.png": _losses,
        "metrics.png": _metrics,
        "task_weights.png": _weights,
    }
    written = []
    with drawing.style():
        for name, drawer in drawers.items():
            figure = drawer(rows, tasks)
            if figure is not None:
                written.append(drawing.save(figure, directory / name))
    return written


def _losses(rows: Sequence[reading.Row], tasks: Sequence[str]) -> Any:
    """The figure of losses, or None where no row has one."""
    curves = {
        (index, split): reading.series(rows, split, f"{task}/loss")
        for index, task in enumerate(tasks)
        for split in ("train", _watched(rows))
    }
    curves = {
        (index, split): reading.evened(*curve) if split == "train" else curve
        for (index, split), curve in curves.items()
        if curve[0]
    }
    if not curves:
        return None
    if len(tasks) <= _TOGETHER:
        figure, axes = drawing.panels(1, "Loss", columns=1, size=(7.2, 3.8))
        axes[0].set_ylabel("loss")
        axes = axes * len(tasks)
        entries = [
            (
                f"{drawing.label(tasks[index])}, {split}",
                drawing.colour(index),
                _DASHES[split],
            )
            for index, split in curves
        ]
    else:
        figure, axes = _small_panels("Loss", tasks)
        entries = [
            (split, "#333333", _DASHES[split]) for split in ("train", _watched(rows))
        ]
    for (index, split), (steps, losses) in curves.items():
        if index < len(axes):
            drawing.curve(
                axes[index],
                steps,
                losses,
                drawing.colour(index),
                dashed=split != "train",
                smooth=split == "train",
            )
    drawing.fit_scale(axes, [loss for _, losses in curves.values() for loss in losses])
    drawing.key(figure, entries)
    return figure


def _watched(rows: Sequence[reading.Row]) -> str:
    """The split that each epoch was measured on."""
    splits = {row.get("split") for row in rows}
    return "test" if "test" in splits and "validation" not in splits else "validation"


def _metrics(rows: Sequence[reading.Row], tasks: Sequence[str]) -> Any:
    """The figure of validation (else test) metrics, or None where no row has one."""
    found = []
    split = _watched(rows)
    rows = [row for row in rows if row.get("split") == split]
    for index, task in enumerate(tasks):
        for metric in reading.metrics(rows, task):
            curve = reading.series(rows, split, f"{task}/{metric}")
            if curve[0]:
                found.append((index, metric, *curve))
    if not found:
        return None
    shown = found[:_MOST_PANELS]
    title = f"{split.capitalize()} metrics"
    if len(shown) < len(found):
        title += f" (the first {len(shown)} of {len(found)})"
    few = len(shown) <= _TOGETHER
    figure, axes = drawing.panels(
        len(shown),
        title,
        columns=2 if few else drawing.columns(len(shown)),
        size=(3.6, 2.6) if few else drawing.SMALL,
    )
    for axis, (index, metric, steps, values) in zip(axes, shown, strict=True):
        drawing.curve(axis, steps, values, drawing.colour(index), markers=True)
        drawing.headline(axis, tasks[index], f"{values[-1]:.4g}")
        axis.set_ylabel(drawing.label(metric))
    return figure


def _weights(rows: Sequence[reading.Row], tasks: Sequence[str]) -> Any:
    """The figure of task weights, or None where no row has one."""
    curves = [
        reading.evened(*reading.series(rows, "train", f"{task}/weight"))
        for task in tasks
    ]
    everything = [weight for _, weights in curves for weight in weights]
    if not everything:
        return None
    if len(tasks) <= _TOGETHER:
        figure, axes = drawing.panels(1, "Task weights", columns=1, size=(7.2, 3.4))
        axes[0].set_ylabel("weight")
        axes = axes * len(tasks)
        drawing.key(
            figure,
            [
                (drawing.label(task), drawing.colour(index), "-")
                for index, task in enumerate(tasks)
            ],
        )
    else:
        figure, axes = _small_panels("Task weights (one scale for all)", tasks)
    for index, axis in enumerate(axes):
        # Equal weights would hide each other: the lower ones are drawn wider.
        above = curves[index + 1 :] if len(tasks) <= _TOGETHER else []
        drawing.curve(
            axis,
            *curves[index],
            drawing.colour(index),
            smooth=True,
            width=1.5 + 2.5 * above.count(curves[index]),
        )
    drawing.same_range(axes, everything)
    drawing.fit_scale(axes, everything)
    return figure


def _small_panels(title: str, tasks: Sequence[str]) -> tuple[Any, list[Any]]:
    """A panel for each task, as far as one picture can hold them."""
    count = min(len(tasks), _MOST_PANELS)
    if count < len(tasks):
        title += f" (the first {count} of {len(tasks)} tasks)"
    figure, axes = drawing.panels(
        count, title, columns=drawing.columns(count), size=drawing.SMALL
    )
    for axis, task in zip(axes, tasks, strict=False):
        drawing.headline(axis, task)
    return figure, axes

"""The rows of metrics: flat dictionaries with keys `task/metric`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mtl_jax import diagnostics, tasks
from mtl_jax.train.compiled import StepOutput
from mtl_jax.train.state import Totals

Row = dict[str, Any]


def training_row(
    totals: Totals,
    output: StepOutput,
    step: int,
    epoch: int,
    task_list: Sequence[tasks.Task],
) -> Row:
    """Means since the last row; losses and weights without the tasks' own weights."""
    totals = jax.device_get(totals)
    losses, weights, steps = totals.losses, totals.weights, totals.steps
    row: Row = {"step": step, "epoch": epoch, "split": "train"}
    for t, task in enumerate(task_list):
        if steps[t]:
            row[f"{task.name}/loss"] = float(losses[t] / steps[t] / task.weight)
            row[f"{task.name}/weight"] = float(weights[t] / steps[t] * task.weight)
    if output.gramian is not None:
        gramian, present = jax.device_get((output.gramian, output.present))
        row.update(diagnostics.summary(gramian, present))
    if output.solver is not None and totals.solver_calls:
        row["solver_iterations"] = float(totals.solver_iterations / totals.solver_calls)
        row["solver_failures"] = int(totals.solver_failures)
    row["skipped_steps"] = int(output.skipped)
    return row


def evaluation_row(scores: Mapping[str, float], task_list: Sequence[tasks.Task]) -> Row:
    """The scores and `mean_loss`, the mean loss of the main tasks."""
    main = [scores[f"{t.name}/loss"] for t in tasks.main_tasks(task_list)]
    known = [loss for loss in main if not math.isnan(loss)]
    mean = sum(known) / len(known) if known else float("nan")
    return {**scores, "mean_loss": mean}


def is_sound(
    scores: Mapping[str, Any], counts: Mapping[str, float], main: Sequence[tasks.Task]
) -> bool:
    """Whether an evaluation does not speak against saving its state.

    A mean loss that is not finite does. (The loss of a task is also NaN where no label
    was seen, but it is not part of the mean; the mean itself is NaN where no main task
    had any, which says nothing.)

    Args:
        scores: the row; empty where nothing was evaluated.
        counts: of the labels that each task had.
        main: the tasks whose losses are the mean.
    """
    seen = any(counts.get(task.name) for task in main)
    return not seen or math.isfinite(scores["mean_loss"])

"""A task: a name, a loss, metrics, and what the labels must look like."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtl_jax.errors import unknown_name
from mtl_jax.losses import Loss
from mtl_jax.metrics import Metric
from mtl_jax.tasks.distillation import Distillation
from mtl_jax.tasks.pretext import Pretext


@dataclass(frozen=True)
class Task:
    """One task of a multi-task problem.

    Attributes:
        name: of the task, in logs, outputs and errors.
        loss: its loss function.
        metrics: what is measured at evaluation.
        weight: positive factor of the loss, applied before any method sees it.
        mask: function of the labels `[B, ...]` that is true where there is a label
            `[B]`, e.g. `lambda y: y >= 0`; default: every label counts.
        main: whether the task is what the model is for; where no task says so, all
            are. The other tasks are auxiliary: they help to train.
        label: name of the labels in the data; default: the task's name.
        num_outputs: width of the head's output, where it is known.
        members: M, where the task has several heads whose outputs stand one behind the
            other in training, `[B, ..., M C]`; see `losses.of_members`.
        units: `(mean, deviation)` of labels that are standardised, as
            `(value - mean) / deviation`. The loss is of those; metrics and predictions
            are of the values.
        distillation: what the task learns from the outputs of another model.
        pretext: how a self-supervised task makes its labels of the inputs.
    """

    name: str
    loss: Loss
    metrics: tuple[Metric, ...] = ()
    weight: float = 1.0
    mask: Callable[[Any], Any] | None = None
    main: bool = False
    label: str | None = None
    num_outputs: int | None = None
    members: int = 1
    units: tuple[float, float] | None = None
    distillation: Distillation | None = None
    pretext: Pretext | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss):
            raise TypeError(
                f"task {self.name!r} was given the loss {self.loss!r}; give one of "
                "mtl_jax.losses, e.g. losses.mse(), or losses.make('mse')"
            )
        for metric in self.metrics:
            if not isinstance(metric, Metric):
                raise TypeError(
                    f"task {self.name!r} was given the metric {metric!r}; give one of "
                    "mtl_jax.metrics, e.g. metrics.accuracy()"
                )
        if not 0 < self.weight < float("inf"):
            raise ValueError(
                f"task {self.name!r} was given weight {self.weight}; weights are "
                "positive (to leave a task out, take it out of the tasks)"
            )
        if self.units is not None:
            object.__setattr__(self, "units", _checked_units(self.name, self.units))
        if "/" in self.name or not self.name:
            raise ValueError(
                f"{self.name!r} cannot name a task: names are not empty and have no '/'"
            )

    @property
    def label_name(self) -> str:
        """The name of the labels in the data."""
        return self.label or self.name

    @property
    def label_names(self) -> tuple[str, ...]:
        """All that the task reads of the labels in the data, in training."""
        if self.pretext is not None:
            return ()
        more = () if self.distillation is None else (self.distillation.label,)
        return (self.label_name, *more)


def _checked_units(name: str, units: Any) -> tuple[float, float]:
    found = np.asarray(units, np.float64)
    if found.shape != (2,) or not np.all(np.isfinite(found)) or not found[1] > 0:
        raise ValueError(
            f"task {name!r} was given units={units!r}; units are (mean, deviation) of "
            "the labels before they were standardised, two numbers of which the second "
            "is positive"
        )
    return float(found[0]), float(found[1])


def in_units_of(task: Task, other: Task, outputs: np.ndarray) -> np.ndarray:
    """Outputs for a task that standardised its numbers differently, as this one's.

    Args:
        task: in whose units they are wanted.
        other: that they are of.
        outputs: `[N, ...]` of its head.

    Returns:
        `[N, ...]`; a task without units has its numbers as they are.

    Example:
        >>> from mtl_jax.tasks import regression
        >>> metres = regression("size", units=(2.0, 1.0))
        >>> other = regression("size", units=(4.0, 2.0))
        >>> in_units_of(metres, other, np.array([[0.5]], np.float32)).tolist()
        [[3.0]]
    """
    if task.units == other.units:
        return outputs
    mean, deviation = task.units or (0.0, 1.0)
    other_mean, other_deviation = other.units or (0.0, 1.0)
    values = outputs * other_deviation + other_mean
    return ((values - mean) / deviation).astype(np.float32)


def main_tasks(tasks: Sequence[Task]) -> list[Task]:
    """The tasks marked as main, or all where none is."""
    return [t for t in tasks if t.main] or list(tasks)


def check_names(tasks: Sequence[Task]) -> None:
    """Raise `ValueError` where there is no task, or two of one name.

    So it is where a self-supervised task makes labels of a name that another one reads.
    """
    if not tasks:
        raise ValueError("no task was given; a model needs at least one Task")
    names = [t.name for t in tasks]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"task names must differ; found {twice} more than once")
    for task in tasks:
        if task.pretext is None:
            continue
        for other in tasks:
            made = other.pretext is not None
            read = (other.label_name,) if made else other.label_names
            if other is not task and task.label_name in read:
                raise ValueError(
                    f"self-supervised task {task.name!r} makes labels by the name "
                    f"{task.label_name!r}, and task {other.name!r} has labels of that "
                    f"name. Name {task.name!r} otherwise"
                )


def check_labels(
    tasks: Iterable[Task],
    labels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    where: str,
) -> None:
    """Check the labels of a split against the tasks, on the host.

    Args:
        tasks: the tasks.
        labels: `{name: [N, ...]}`.
        masks: `{name: [N]}` for labels that may be missing.
        where: name of the split, for the error.

    Raises:
        ValueError: a task without labels in the data, or labels of the wrong dtype,
            shape or range.
    """
    for task in tasks:
        if task.pretext is not None:
            continue  # it makes its own
        name = task.label_name
        if name not in labels:
            found = unknown_name("label", name, labels)
            raise ValueError(
                f"{where}: task {task.name!r} reads an {found} Name the task after its "
                "label, or give it label='...'."
            )
        mask = masks.get(name)
        if task.mask is not None:
            own = np.asarray(task.mask(labels[name]), bool)
            mask = own if mask is None else own & mask
        if task.distillation is not None:
            if task.distillation.label not in labels:
                raise unknown_name(
                    f"label of the teacher of task {task.name!r} in {where}",
                    task.distillation.label,
                    labels,
                )
            if mask is not None and not np.any(mask):
                continue  # the teacher alone says what is right
        try:
            task.loss.check_labels(
                labels[name], mask, task=task.name, num_outputs=task.num_outputs
            )
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def check_outputs(
    task: Task, output_shape: Sequence[int], label_shape: Sequence[int]
) -> None:
    """Check the outputs of a head against its task; shapes alone, also in tracing.

    Args:
        task: the task.
        output_shape: `[B, ...]`.
        label_shape: `[B, ...]`.

    Raises:
        ValueError: outputs that do not fit the loss, or of another width than the task
            was declared with: a class without a logit would make every loss NaN.
    """
    task.loss.check_outputs(output_shape, label_shape, task=task.name)
    if task.num_outputs is None:
        return
    if task.num_outputs == 1 and len(output_shape) == len(label_shape):
        return  # their last axis may be anything
    if output_shape[-1] not in (task.num_outputs, task.members * task.num_outputs):
        raise ValueError(
            f"task {task.name!r} was declared with num_outputs={task.num_outputs}, but "
            f"its head has outputs of shape {tuple(output_shape)}. Give the head "
            f"{task.num_outputs} outputs instead of {output_shape[-1]}, or change "
            "num_outputs."
        )

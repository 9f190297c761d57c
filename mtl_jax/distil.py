"""What a trained run, the teacher, says of the examples of another one."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax import config as settings
from mtl_jax import data, tasks, train, trained
from mtl_jax.errors import unknown_name
from mtl_jax.report import atomic

ANSWERS = "teacher.npz"
"""The teacher's outputs in the work dir of the student: a run goes on with the same."""


def taught(
    config: settings.DistilConfig,
    dataset: data.Dataset,
    task_list: Sequence[tasks.Task],
    workdir: Path,
    *,
    goes_on: bool,
) -> tuple[data.Dataset, tuple[tasks.Task, ...]]:
    """The data with the teacher's outputs as further labels, and tasks that read them.

    The outputs are computed once, before training, and kept in the work dir, so that a
    run that goes on needs the teacher no more and learns from the very same. A task
    whose label the data do not have at all gets one that is missing everywhere.

    Args:
        config: the settings; `teacher` is set.
        dataset: the student's, of arrays.
        task_list: the student's.
        workdir: of the student.
        goes_on: whether the run has begun already.

    Raises:
        FileNotFoundError: no such teacher.
        ValueError: a teacher without the tasks, of other inputs or other outputs.
    """
    names = _names(config, task_list)
    file = workdir / ANSWERS
    if not (goes_on and file.is_file()):
        answers = _answers(config, dataset, task_list, names)
        with atomic.replacing(file) as path, path.open("wb") as out:
            np.savez(out, **answers)  # type: ignore[arg-type]
    with np.load(file) as saved:
        answers = dict(saved)
    names = sorted({key.partition("/")[2] for key in answers})
    new_tasks = tuple(_task(config, t) if t.name in names else t for t in task_list)
    new = [t for t in new_tasks if t.name in names]
    own = {task.name: task for task in task_list}
    splits: dict[str, Any] = {}
    for split in data.source.SPLITS:
        source = getattr(dataset, split)
        if source is None:
            splits[split] = None
            continue
        labels, masks = dict(source.labels), dict(source.masks)
        for task in new:
            assert task.distillation is not None
            given = answers[f"{split}/{task.name}"]
            labels[task.distillation.label] = given
            was = own[task.name].label_name
            if was not in source.labels:
                labels[task.label_name] = _no_label(task, given)
                masks[task.label_name] = np.zeros(len(given), bool)
            elif task.label_name != was:
                labels[task.label_name] = source.labels[was]
                masks[task.label_name] = source.masks.get(
                    was, np.ones(len(given), bool)
                ) & (split != "train")
        splits[split] = dataclasses.replace(source, labels=labels, masks=masks)
    return dataclasses.replace(dataset, **splits), new_tasks


def _names(config: settings.DistilConfig, task_list: Sequence[tasks.Task]) -> list[str]:
    """The tasks that are to be taught, as far as the settings say; else none."""
    known = [task.name for task in task_list]
    for name in config.tasks:
        if name not in known:
            raise unknown_name("task of distil.tasks", name, known)
    for task in task_list:
        if task.pretext is not None and task.name in config.tasks:
            raise ValueError(
                f"distil.tasks has {task.name}, which makes labels of the inputs and "
                "has no teacher. Take it out"
            )
    return list(config.tasks)


def _answers(
    config: settings.DistilConfig,
    dataset: data.Dataset,
    task_list: Sequence[tasks.Task],
    names: list[str],
) -> dict[str, np.ndarray]:
    """`{"split/task": outputs}`."""
    assert config.teacher is not None
    run = trained.load_run(config.teacher, config.checkpoint)
    own = {task.name: task for task in task_list}
    theirs = {task.name: task for task in run.parts.tasks}
    for name in names:
        if name not in theirs:
            raise unknown_name(f"task of the teacher {config.teacher}", name, theirs)
    names = names or [n for n in own if n in theirs and own[n].pretext is None]
    if not names:
        raise ValueError(
            f"the teacher {config.teacher} has the tasks {', '.join(theirs)}, and this "
            f"run has {', '.join(own)}: none of them is of both. Name tasks alike"
        )
    found = {}
    for split in data.source.SPLITS:
        source = getattr(dataset, split)
        if source is None:
            continue
        trained.check_inputs(source.inputs, run.example)
        outputs = train.predict(
            run.parts.model, run.state, source.inputs, task_names=names
        )
        for name in names:
            _check(config, own[name], theirs[name], outputs[name])
            found[f"{split}/{name}"] = _in_units(
                np.asarray(outputs[name], np.float32), theirs[name], own[name]
            )
    return found


def _check(
    config: settings.DistilConfig,
    own: tasks.Task,
    theirs: tasks.Task,
    outputs: np.ndarray,
) -> None:
    if own.loss.name != theirs.loss.name:
        raise ValueError(
            f"task {own.name!r} has the loss {own.loss.name!r}, and in the teacher "
            f"{config.teacher} {theirs.loss.name!r}: their outputs mean different "
            "things. Give the student the loss of the teacher"
        )
    if own.num_outputs is not None and outputs.shape[-1] != own.num_outputs:
        raise ValueError(
            f"task {own.name!r} has {own.num_outputs} outputs, and {outputs.shape[-1]} "
            f"in the teacher {config.teacher}. Give both as many, or leave the task "
            "out of distil.tasks"
        )


def _in_units(outputs: np.ndarray, theirs: tasks.Task, own: tasks.Task) -> np.ndarray:
    """Outputs in the units of the student; numbers without any are as in the data."""
    if theirs.units == own.units:
        return outputs
    mean, deviation = theirs.units or (0.0, 1.0)
    own_mean, own_deviation = own.units or (0.0, 1.0)
    values = outputs * deviation + mean
    return ((values - own_mean) / own_deviation).astype(np.float32)


def _task(config: settings.DistilConfig, task: tasks.Task) -> tasks.Task:
    how = tasks.Distillation(f"{task.name}, teacher", config.weight, config.temperature)
    label = task.label if config.labels else f"{task.name}, unlabelled in training"
    return dataclasses.replace(task, distillation=how, label=label)


def _no_label(task: tasks.Task, outputs: np.ndarray) -> np.ndarray:
    """Labels of the shape that a loss asks for, all of which are missing."""
    shape: Any = outputs.shape
    if task.loss.name in ("softmax_cross_entropy", "ordinal"):
        return np.zeros(shape[:-1], np.int32)
    if len(shape) == 2 and shape[1] == 1:
        shape = shape[:1]
    whole = task.loss.name in ("sigmoid_cross_entropy", "poisson")
    return np.zeros(shape, np.int32 if whole else np.float32)

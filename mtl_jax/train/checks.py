"""What is checked before the first step."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax

from mtl_jax import data, models, tasks, weighting
from mtl_jax.errors import unknown_name
from mtl_jax.train.state import TrainState

DEFAULT_BEST = "mean_loss"
"""The key of the best checkpoint where none is named."""


def check_arguments(
    task_list: Any, dataset: Any, method: Any, optimizer: Any
) -> list[tasks.Task]:
    """The tasks as a list, after a look at the kinds of the arguments of `fit`."""
    single = isinstance(task_list, tasks.Task | str | dict)
    found = [task_list] if single else list(task_list)
    wrong = [t for t in found if not isinstance(t, tasks.Task)]
    if wrong or single:
        raise TypeError(
            f"fit takes a list of tasks; found {task_list!r}. Make them with "
            "mtl_jax.classification, binary, regression or Task"
        )
    if not isinstance(dataset, data.Dataset):
        raise TypeError(
            f"fit takes a mtl_jax.data.Dataset; found {type(dataset).__name__}. Make "
            "one with mtl_jax.data.from_arrays, from_splits or load"
        )
    if not isinstance(method, str) and not hasattr(method, "update"):
        raise TypeError(
            f"fit takes a weighting method or its name; found {method!r}. Call the "
            "factory, e.g. mtl_jax.weighting.uw(), or give its name, 'uw'"
        )
    if optimizer is not None and not hasattr(optimizer, "update"):
        raise TypeError(
            f"fit takes an optimizer of optax; found {optimizer!r}. Give e.g. "
            "optax.adam(1e-3)"
        )
    return found


def check_counts(**counts: int | None) -> None:
    """Raise `ValueError` where something that is counted is less than 1."""
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def with_widths(
    task_list: Sequence[tasks.Task],
    model: models.Model,
    state: TrainState,
    example: Any,
) -> list[tasks.Task]:
    """The tasks with the widths of their heads, after checking that heads and tasks
    are the same."""

    def apply(state: TrainState) -> Any:
        return model.apply(state.shared, state.specific, state.collections, example)[0]

    outputs = jax.eval_shape(apply, state)
    known = [t.name for t in task_list]
    for name in outputs:
        if name not in known:
            found = unknown_name("task", name, known)
            raise ValueError(
                f"the model has a head without a task: {found} Name heads and tasks "
                "alike, one head a task."
            )
    for name in known:
        if name not in outputs:
            found = unknown_name("head", name, outputs)
            raise ValueError(
                f"task {name!r} has no head in the model: {found} Name heads and tasks "
                "alike."
            )
    return [
        dataclasses.replace(t, num_outputs=outputs[t.name].shape[-1])
        if t.num_outputs is None and outputs[t.name].ndim > 1
        else t
        for t in task_list
    ]


def check_labels(task_list: Sequence[tasks.Task], dataset: data.Dataset) -> None:
    """Check the labels of every split against the tasks."""
    for name in ("train", "validation", "test"):
        source = getattr(dataset, name)
        if source is not None and hasattr(source, "labels"):
            where = f"the {name} split of {dataset.name}"
            tasks.check_labels(task_list, source.labels, source.masks, where)


def check_bilevel(method: weighting.AnyMethod, dataset: data.Dataset, at: str) -> None:
    """Check that a method that learns from validation data gets some.

    Raises:
        ValueError: no validation split, or another place than the parameters.
    """
    if not isinstance(method, weighting.BilevelWeighting):
        return
    if dataset.validation is None:
        raise ValueError(
            "this method learns the task weights from validation data while it "
            f"trains, and {dataset.name} has no validation split. Hold a part of the "
            "training split out: data.validation_fraction=0.1 in the settings, "
            "load(…, validation_fraction=0.1), or from_arrays(…, "
            "fractions=(0.8, 0.1, 0.1))"
        )
    if at != "parameters":
        raise ValueError(
            f"at={at!r} was asked for, but this method looks at losses after a step of "
            "the parameters. Use at='parameters'"
        )


def validation_batches(
    method: weighting.AnyMethod,
    dataset: data.Dataset,
    batch_size: int,
    num_parts: int,
    seed: int,
) -> data.Batches | None:
    """The order of the validation data in training; `None` where they take no part.

    The batches are as large as those of the training data, or as the split allows that
    is to be divided into `num_parts`, over the devices and in accumulation.

    Raises:
        ValueError: fewer examples than parts.
    """
    if not isinstance(method, weighting.BilevelWeighting):
        return None
    assert dataset.validation is not None  # check_bilevel
    count = len(dataset.validation)
    size = min(batch_size, count // num_parts * num_parts)
    if not size:
        raise ValueError(
            f"the validation split of {dataset.name} has {count} examples, from which "
            f"{num_parts} devices (times parts of the batch) cannot learn the task "
            "weights; hold more out, or use parallel='jit'"
        )
    return data.Batches(count, size, seed=seed)


def best_metric(
    best: str | None, task_list: Sequence[tasks.Task], dataset: data.Dataset
) -> tuple[str | None, str]:
    """The key of the best checkpoint, and whether larger is better."""
    if dataset.validation is None:
        if best is not None:
            raise ValueError(
                f"the best checkpoint by {best!r} was asked for, but {dataset.name} "
                "has no validation split to measure it on"
            )
        return None, "min"
    modes = metric_modes(task_list)
    if best is not None and best not in modes:
        raise unknown_name("metric for the best checkpoint", best, modes)
    best = best or DEFAULT_BEST
    return best, modes[best]


def metric_modes(task_list: Sequence[tasks.Task]) -> dict[str, Literal["min", "max"]]:
    """The keys that a best checkpoint can be chosen by, and which values are better."""
    modes: dict[str, Literal["min", "max"]] = {DEFAULT_BEST: "min"}
    for task in task_list:
        modes[f"{task.name}/loss"] = "min"
        for metric in task.metrics:
            key = f"{task.name}/{metric.name}"
            modes[key] = "max" if metric.higher_is_better else "min"
    return modes

"""Self-supervised tasks from settings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mtl_jax import config as settings
from mtl_jax import data, tasks
from mtl_jax.build_model import typed
from mtl_jax.models import augmentations

OF_PIXELS = ("autoencoding", "denoising", "masked")
"""Kinds whose labels are the numbers of the inputs, in their places."""

_SIZE = "num_outputs"


def asks(config: settings.TaskConfig) -> bool:
    """Whether the number of outputs of a task follows from the inputs."""
    sized = (*OF_PIXELS, "masked_tokens")
    return config.kind in sized and config.num_outputs is None


def with_sizes(
    task_configs: Sequence[settings.TaskConfig],
    inputs: data.Inputs,
    facts: Mapping[str, Any],
) -> Mapping[str, Any]:
    """The facts of a data set, with the sizes that self-supervised tasks ask for.

    Args:
        task_configs: of the run.
        inputs: of the training split.
        facts: of the data set.
    """
    known = dict(facts.get("tasks", {}))
    for config in filter(asks, task_configs):
        if config.kind == "masked_tokens":
            size = facts.get("model", {}).get("vocabulary")
        else:
            size = None if isinstance(inputs, dict) else math.prod(inputs.shape[1:])
        if size is not None:
            known[config.name] = {_SIZE: int(size)}
    return {**facts, "tasks": known} if known else facts


def build_task(config: settings.TaskConfig, known: Mapping[str, Any]) -> tasks.Task:
    """A self-supervised task.

    Args:
        config: its settings; `args` are those of its kind, where "augment" lists the
            augmentations of contrastive tasks as `data.augment` does.
        known: what the data say, by task.

    Raises:
        ValueError: settings of labels, losses or metrics, arguments that the kind does
            not take, or a number of outputs that is missing.
    """
    for name in ("label", "above", "loss", "loss_args", "metrics"):
        if getattr(config, name) not in (None, {}):
            raise ValueError(
                f"task {config.name!r} is of the kind {config.kind}, which makes its "
                f"own labels, loss and metrics. Take {name} away"
            )
    factory = tasks.PRETEXTS[config.kind]
    path = f"args of task {config.name!r}"
    arguments = typed(factory, config.args, path)
    if config.kind == "contrastive":
        arguments["augmentations"] = _augmentations(config, arguments)
    if config.kind == "rotation":
        if config.num_outputs not in (None, 4):
            raise ValueError(
                f"task {config.name!r} is of the kind rotation, which has 4 outputs; "
                f"found num_outputs={config.num_outputs}"
            )
    else:
        count = config.num_outputs or known.get(config.name, {}).get(_SIZE)
        if count is None and asks(config):
            raise ValueError(
                f"task {config.name!r} is of the kind {config.kind}, and the data do "
                "not say how many outputs it has: set num_outputs"
            )
        if count is not None:
            arguments["num_outputs"] = count
    fields = {"weight": config.weight, "main": config.main}
    try:
        return factory(config.name, **arguments, **fields)
    except TypeError as error:
        raise ValueError(
            f"the kind {config.kind} of task {config.name!r} does not take args "
            f"{config.args}: {error}"
        ) from error


def _augmentations(
    config: settings.TaskConfig, arguments: dict[str, Any]
) -> list[augmentations.Augmentation]:
    found = []
    for one in arguments.pop("augment", ()):
        named = {"name": one} if isinstance(one, str) else one
        if not isinstance(named, dict) or "name" not in named:
            raise ValueError(
                f"args.augment of task {config.name!r} has {one!r}; give the name of "
                "an augmentation, or a mapping of 'name' and its arguments"
            )
        found.append(augmentations.make(**named))
    return found


def check_heads(model: settings.ModelConfig, task_list: Sequence[tasks.Task]) -> None:
    """Raise `ValueError` where a self-supervised task was to have several heads."""
    own = [task.name for task in task_list if task.pretext is not None]
    if own and model.heads_per_task > 1:
        raise ValueError(
            f"model.heads_per_task is {model.heads_per_task}, and {', '.join(own)} are "
            "self-supervised, of which no average of heads is defined. Set it to 1"
        )


def labels_of(
    wanted: Mapping[str, int], task_configs: Sequence[settings.TaskConfig]
) -> dict[str, int]:
    """The counts of `data.labelled`, by label; what is no task of the run is a label.

    Raises:
        ValueError: a self-supervised task, or two tasks of one label with different
            counts.
    """
    own = {task.name: task for task in task_configs}
    found: dict[str, int] = {}
    for name, count in wanted.items():
        task, label = own.get(name), name
        if task is not None and task.kind in tasks.PRETEXTS:
            raise ValueError(
                f"data.labelled hides labels of task {name!r}, which is of the kind "
                f"{task.kind} and needs none. Take it out"
            )
        if task is not None and task.above is None:
            label = task.label or name
        if found.setdefault(label, count) != count:
            raise ValueError(
                f"data.labelled gives the label {label!r} of task {name!r} two counts, "
                f"{found[label]} and {count}. Give tasks of one label the same"
            )
    return found

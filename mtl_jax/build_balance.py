"""Class weights that settings leave to the training labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtl_jax import config as settings
from mtl_jax import data

BALANCED = "balanced"


def asks(config: settings.TaskConfig) -> bool:
    """Whether the class weights of a task follow from the training labels."""
    return isinstance(config.loss_args.get("class_weights"), str)


def with_counts(
    task_configs: Sequence[settings.TaskConfig],
    train: data.ArraySource,
    facts: Mapping[str, Any],
) -> Mapping[str, Any]:
    """The facts of a data set, with the counts of the classes that tasks ask for.

    They are kept with the facts in the record of a run, so that a trained run needs no
    data to be built again.

    Args:
        task_configs: of the run.
        train: the training split.
        facts: of the data set.
    """
    known = {name: dict(found) for name, found in facts.get("tasks", {}).items()}
    for config in filter(asks, task_configs):
        label = _label(config)
        found = known.setdefault(label, {})
        wanted = config.num_outputs or found.get("num_classes")
        number = None if config.kind in ("binary", "multi_label") else wanted
        found["class_counts"] = data.class_counts(train, label, number)
    return {**facts, "tasks": known} if known else facts


def with_weights(
    config: settings.TaskConfig, known: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of the loss of a task, "balanced" replaced by the weights.

    Args:
        config: of the task.
        known: what the data say of its label.

    Raises:
        ValueError: another text, or data that do not say the counts.
    """
    if not asks(config):
        return config.loss_args
    found = config.loss_args["class_weights"]
    if found != BALANCED:
        raise ValueError(
            f"loss_args.class_weights of task {config.name!r} is {found!r}; give a "
            f"number for each class, or {BALANCED!r}"
        )
    if "class_counts" not in known:
        raise ValueError(
            f"the class weights of task {config.name!r} are {BALANCED!r}, and follow "
            "from training labels that are not here: build the data first, and pass "
            "build(config, build_data(config).facts)"
        )
    weights = data.balanced_weights(known["class_counts"])
    return {**config.loss_args, "class_weights": weights}


def _label(config: settings.TaskConfig) -> str:
    made = config.above is not None
    return config.name if made else config.label or config.name

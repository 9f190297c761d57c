"""From settings to the objects that `fit` takes."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from mtl_jax import (
    build_balance,
    build_pretexts,
    losses,
    metrics,
    models,
    parts,
    tasks,
    weighting,
)
from mtl_jax import config as settings
from mtl_jax.build_data import build_data as build_data
from mtl_jax.build_data import hidden as hidden
from mtl_jax.build_model import build_model as build_model
from mtl_jax.build_model import typed
from mtl_jax.errors import unknown_name
from mtl_jax.models import augmentations


class Parts(NamedTuple):
    """What a run is made of, the data apart."""

    tasks: tuple[tasks.Task, ...]
    model: models.Model
    method: weighting.AnyMethod


def build(config: settings.Config, facts: Mapping[str, Any] | None = None) -> Parts:
    """Tasks, model and method of a run.

    Args:
        config: the settings.
        facts: what the data say of themselves, `data.Dataset.facts`: under "tasks" the
            kind and number of outputs of each label, under "model" arguments of the
            trunk, such as the size of a vocabulary. Settings go first.

    Raises:
        ValueError: a name or argument that there is not.
    """
    facts = facts or {}
    configs = task_configs(config, facts)
    task_list = tuple(build_task(t, facts.get("tasks", {})) for t in configs)
    tasks.check_names(task_list)
    build_pretexts.check_heads(config.model, task_list)
    per_token = {t.name for t in configs if t.kind in ("tokens", "masked_tokens")}
    own = {t.name: t.head_features for t in configs if t.head_features is not None}
    model = build_model(config.model, task_list, facts.get("model", {}), per_token, own)
    model = models.augmented(model, build_augmentations(config.data.augment, configs))
    count = config.model.heads_per_task
    if count > 1:
        task_list = tuple(_with_members(task, count) for task in task_list)
    return Parts(task_list, model, build_method(config.method))


def build_augmentations(
    given: Sequence[Any], task_list: Sequence[settings.TaskConfig] = ()
) -> tuple[augmentations.Augmentation, ...]:
    """What is done to the inputs of training.

    Args:
        given: names, or mappings of "name" and arguments.
        task_list: of the run.

    Raises:
        ValueError: an augmentation or argument that there is not, one that moves
            pixels where labels belong to them, or mirrors images whose turns are asked.
    """
    made = []
    for one in given:
        named = {"name": one} if isinstance(one, str) else one
        if not isinstance(named, dict) or "name" not in named:
            raise ValueError(
                f"data.augment has {one!r}; give the name of an augmentation, or a "
                "mapping of 'name' and its arguments, e.g. {'name': 'shift', 'pixels': "
                "2}"
            )
        dense = [t.name for t in task_list if t.kind in _DENSE]
        if dense and named["name"] not in augmentations.KEEP_PLACES:
            raise ValueError(
                f"the augmentation {named['name']!r} moves pixels, and the labels of "
                f"{', '.join(dense)} would stay where they are. Use "
                f"{', '.join(augmentations.KEEP_PLACES)}"
            )
        turned = [t.name for t in task_list if t.kind == "rotation"]
        if turned and named["name"] == "flip":
            raise ValueError(
                "the augmentation 'flip' comes after the images were turned: a "
                "mirrored quarter turn to the left is one to the right, and the labels "
                f"of {', '.join(turned)} would be wrong. Use other augmentations"
            )
        made.append(augmentations.make(**named))
    return tuple(made)


_DENSE = ("segmentation", "depth", "normals", *build_pretexts.OF_PIXELS)
"""Kinds whose labels have the pixels of the inputs."""


def _with_members(task: tasks.Task, count: int) -> tasks.Task:
    """The task of a head that has the outputs of several in training."""
    width = task.num_outputs or 1
    loss = losses.of_members(task.loss, count, width)
    return dataclasses.replace(task, loss=loss, num_outputs=width, members=count)


def build_method(config: settings.MethodConfig) -> weighting.AnyMethod:
    """A weighting method in its wrappers.

    Raises:
        ValueError: a method, wrapper or argument that there is not.
    """
    arguments = config.args
    if config.name in weighting.METHODS:
        arguments = typed(weighting.METHODS[config.name], arguments, "method.args")
    method = weighting.make(config.name, **arguments)
    for wrapper in config.wrap:
        method = _wrapped(method, wrapper)
    return method


def task_configs(
    config: settings.Config, facts: Mapping[str, Any]
) -> tuple[settings.TaskConfig, ...]:
    """The tasks of the settings, or those that the data speak of.

    Raises:
        ValueError: neither names any.
    """
    if config.tasks:
        return config.tasks
    if not facts.get("tasks"):
        raise ValueError(
            f"config {config.name!r} names no tasks, and the data set "
            f"{config.data.name!r} does not say what its labels are. Give "
            "tasks=(TaskConfig(...), ...)"
        )
    return tuple(
        settings.TaskConfig(name, known["kind"])
        for name, known in facts["tasks"].items()
    )


def _wrapped(method: weighting.AnyMethod, wrapper: Any) -> weighting.AnyMethod:
    """A method in one of the wrappers of the settings."""
    if isinstance(wrapper, str):
        return weighting.wrap(method, wrapper)
    if not isinstance(wrapper, dict) or "name" not in wrapper:
        raise ValueError(
            f"method.wrap has {wrapper!r}; give the name of a wrapper, or a mapping of "
            "'name' and its hyper-parameters, e.g. {'name': 'every_k', 'k': 5}"
        )
    return weighting.wrap(method, **wrapper)


def build_task(
    config: settings.TaskConfig, known: Mapping[str, Any] | None = None
) -> tasks.Task:
    """A task from its settings.

    Args:
        config: the settings.
        known: for each label, what the data say of it.

    Raises:
        ValueError: a loss or metric that there is not, or a number of outputs that is
            missing or does not fit.
    """
    if config.kind in tasks.PRETEXTS:
        return build_pretexts.build_task(config, known or {})
    if config.args:
        raise ValueError(
            f"task {config.name!r} was given args {config.args}, which are of kinds "
            f"that need no labels: {', '.join(tasks.PRETEXTS)}. Take them away"
        )
    fields: dict[str, Any] = {"weight": config.weight, "main": config.main}
    fields["label"] = config.name if config.above is not None else config.label
    facts = (known or {}).get(fields["label"] or config.name, {})
    if config.loss is not None or config.loss_args:
        usual = tasks.KINDS[config.kind](*_outputs(config, facts)).loss.name
        name = config.loss or usual
        own = _LOSS_ARGS.get(config.kind, {}) if name == usual else {}
        given = build_balance.with_weights(config, facts)
        try:
            fields["loss"] = losses.make(name, **{**own, **given})
        except TypeError as error:
            raise ValueError(
                f"the loss {name!r} of task {config.name!r} does not take loss_args "
                f"{config.loss_args}: {error}"
            ) from error
    if config.metrics is not None:
        names = tuple(facts["labels"]) if "labels" in facts else None
        fields["metrics"] = tuple(_metric(name, names) for name in config.metrics)
    if config.kind == "tokens" and "labels" in facts:
        fields["labels"] = tuple(facts["labels"])
    if config.kind == "regression" and "units" in facts:
        fields["units"] = tuple(facts["units"])
    return tasks.KINDS[config.kind](*_outputs(config, facts), **fields)


_LOSS_ARGS: dict[str, dict[str, Any]] = {
    "multi_label": {"ignore": -1},
    "tokens": {"ignore": -1},
    "segmentation": {"ignore": -1},
    "depth": {"invalid": 0.0},
}
"""What the losses of some kinds are told beside the settings."""


# The same object for all tasks: those of one metric are measured together.
@functools.cache
def _metric(name: str, labels: tuple[str, ...] | None) -> metrics.Metric:
    """A metric, told the names of the classes where it asks for them."""
    factory = metrics.METRICS.get(name)
    asks = factory is not None and "labels" in inspect.signature(factory).parameters
    if asks and labels is not None:
        return metrics.make(name, labels=labels)
    return metrics.make(name)


def _outputs(config: settings.TaskConfig, facts: Mapping[str, Any]) -> tuple[Any, ...]:
    """The name of a task, and the number that its kind wants to know."""
    parameters = list(inspect.signature(tasks.KINDS[config.kind]).parameters.values())
    wanted = parameters[1]
    if wanted.kind is not wanted.POSITIONAL_OR_KEYWORD:
        if config.num_outputs not in (None, 1):
            raise ValueError(
                f"the outputs of task {config.name!r} follow from its kind, "
                f"{config.kind}; found num_outputs={config.num_outputs}"
            )
        return (config.name,)
    count = config.num_outputs
    if count is None:
        count = facts.get(wanted.name, facts.get("num_outputs"))
    if count is None and wanted.default is wanted.empty:
        what = wanted.name.removeprefix("num_")
        raise ValueError(
            f"task {config.name!r} is of the kind {config.kind}: set num_outputs, the "
            f"number of its {what}"
        )
    return (config.name,) if count is None else (config.name, count)


def build_optimizer(
    config: settings.OptimizerConfig, num_steps: int, steps_per_epoch: int = 1
) -> optax.GradientTransformation:
    """An optimizer of optax, with schedule, clipping and parts.

    Args:
        config: its settings.
        num_steps: steps of the whole run, for the schedule.
        steps_per_epoch: for parts that begin to learn later.

    Raises:
        ValueError: an optimizer or argument that optax has not.
    """
    for name, value in (
        ("learning_rate", config.learning_rate),
        ("clip_norm", config.clip_norm),
    ):
        if value is not None and not value > 0:
            raise ValueError(f"optimizer.{name} is {value}; it must be positive")
    clip = config.clip_norm and optax.clip_by_global_norm(config.clip_norm)
    whole = _optimizer(config, num_steps, 1.0, 0)
    if config.parts:
        found = [
            parts.Part(part.where, part.rate, part.from_epoch * steps_per_epoch)
            for part in config.parts
        ]
        return parts.by_part(
            lambda rate, start: _optimizer(config, num_steps, rate, start),
            found,
            before=clip or None,
        )
    return optax.chain(clip, whole) if clip else whole


def _optimizer(
    config: settings.OptimizerConfig, num_steps: int, factor: float, start: int
) -> optax.GradientTransformation:
    """The optimizer of the parameters that learn from step `start` on."""
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(
            0.0 if config.warmup_steps else rate,
            rate,
            config.warmup_steps,
            max(num_steps, config.warmup_steps + 1),
        )
    elif config.warmup_steps:
        rate = optax.linear_schedule(0.0, rate, config.warmup_steps)
    if callable(rate) and (factor, start) != (1.0, 0):
        schedule = rate
        rate = lambda count: factor * schedule(count + start)  # noqa: E731
    elif factor != 1.0:
        rate = factor * rate
    known = {
        name
        for name in dir(optax)
        if name.islower()
        and not name.startswith(("_", "scale_by"))
        and callable(getattr(optax, name))
        and "learning_rate" in _parameters(getattr(optax, name))
    }
    if config.name not in known:
        raise unknown_name("optimizer of optax", config.name, known)
    factory = getattr(optax, config.name)
    for name in config.args:
        if name not in _parameters(factory):
            raise unknown_name(
                f"argument of optax.{config.name}", name, _parameters(factory)
            )
    try:
        optimizer = factory(learning_rate=rate, **config.args)
        state = optimizer.init(jnp.zeros(2))
        optimizer.update(jnp.ones(2), state, jnp.ones(2))
    except Exception as error:
        raise ValueError(
            f"optax.{config.name} does not take these settings (learning_rate, args "
            f"{config.args}, schedule {config.schedule!r}): {error}"
        ) from error
    return optimizer


def fit_arguments(config: settings.Config, steps_per_epoch: int) -> dict[str, Any]:
    """What the settings say to `train.fit`; model, tasks, data and places apart.

    Args:
        config: of the run.
        steps_per_epoch: of its training data.

    Raises:
        ValueError: an optimizer that there is not, or that does not take its settings.
    """
    budget = config.train
    return {
        "optimizer": build_optimizer(
            config.optimizer, budget.epochs * steps_per_epoch, steps_per_epoch
        ),
        "epochs": budget.epochs,
        "batch_size": budget.batch_size,
        "seed": config.seed,
        "at": config.method.at,
        "gramian": config.method.gramian,
        "task_chunk": config.method.task_chunk,
        "accumulate": budget.accumulate,
        "remat": budget.remat,
        "steps_per_call": budget.steps_per_call,
        "feed": config.data.feed,
        "feed_limit": config.data.feed_limit,
        "parallel": budget.parallel,
        "max_skipped": budget.max_skipped,
    }


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []

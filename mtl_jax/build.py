"""From settings to the objects that `fit` takes."""

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

from mtl_jax import config as settings
from mtl_jax import data, losses, metrics, models, tasks, weighting
from mtl_jax.config import parse
from mtl_jax.errors import unknown_name

_KINDS = {"binary": tasks.binary, "regression": tasks.regression}


class Parts(NamedTuple):
    """What a run is made of, the data apart."""

    tasks: tuple[tasks.Task, ...]
    model: models.Model
    method: weighting.AnyMethod


def build(config: settings.Config) -> Parts:
    """Tasks, model and method of a run.

    Raises:
        ValueError: a name or argument that there is not.
    """
    task_list = tuple(build_task(t) for t in config.tasks)
    tasks.check_names(task_list)
    name, arguments = config.method.name, config.method.args
    if name in weighting.METHODS:
        arguments = _typed(weighting.METHODS[name], arguments, "method.args")
    method = weighting.make(name, **arguments)
    for wrapper in config.method.wrap:
        method = _wrapped(method, wrapper)
    return Parts(task_list, build_model(config.model, task_list), method)


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


def build_task(config: settings.TaskConfig) -> tasks.Task:
    """A task from its settings."""
    fields: dict[str, Any] = {"weight": config.weight, "main": config.main}
    fields["label"] = config.name if config.above is not None else config.label
    if config.loss is not None or config.loss_args:
        usual = {"classification": "softmax_cross_entropy", "regression": "mse"}
        name = config.loss or usual.get(config.kind, "sigmoid_cross_entropy")
        try:
            fields["loss"] = losses.make(name, **config.loss_args)
        except TypeError as error:
            raise ValueError(
                f"the loss {name!r} of task {config.name!r} does not take loss_args "
                f"{config.loss_args}: {error}"
            ) from error
    if config.metrics is not None:
        fields["metrics"] = tuple(metrics.make(name) for name in config.metrics)
    if config.kind == "classification":
        if config.num_outputs is None:
            raise ValueError(
                f"task {config.name!r} is a classification: set num_outputs, the "
                "number of its classes"
            )
        return tasks.classification(config.name, config.num_outputs, **fields)
    if config.kind == "binary" and config.num_outputs not in (None, 1):
        raise ValueError(
            f"task {config.name!r} is binary and has one output; found num_outputs="
            f"{config.num_outputs}"
        )
    if config.num_outputs is not None and config.kind == "regression":
        fields["num_outputs"] = config.num_outputs
    return _KINDS[config.kind](config.name, **fields)


def build_model(
    config: settings.ModelConfig, task_list: tuple[tasks.Task, ...]
) -> models.Model:
    """A hard-sharing model with a head for each task."""
    if config.trunk not in models.TRUNKS:
        raise unknown_name("trunk", config.trunk, models.TRUNKS)
    trunk = models.TRUNKS[config.trunk]
    known = [name for name in _parameters(trunk) if name not in _LINEN]
    for name in config.trunk_args:
        if name not in known:
            raise unknown_name(f"argument of trunk {config.trunk!r}", name, known)
    arguments: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v
        for k, v in _typed(trunk, config.trunk_args, "model.trunk_args").items()
    }
    heads = {t.name: _head(config.head_features, t.num_outputs or 1) for t in task_list}
    model = models.from_linen(models.HardSharing(trunk(**arguments), heads))
    return models.in_dtype(model, config.dtype)


_LINEN = ("parent", "name")


def _typed(factory: Any, arguments: dict[str, Any], path: str) -> dict[str, Any]:
    """Arguments as the annotations of a factory ask, as far as those are plain types.

    Raises:
        ValueError: an argument of another type.
    """
    hints, result = typing.get_type_hints(factory), dict(arguments)
    for name in arguments.keys() & hints.keys():
        hint = hints[name]
        plain = (int, float, bool, str, Sequence[int], Sequence[float])
        if hint in plain or typing.get_origin(hint) is Literal:
            result[name] = parse.coerce(arguments[name], hint, f"{path}.{name}")
        elif typing.get_origin(hint) is Callable:
            raise ValueError(f"{path}.{name} is a function, which settings cannot hold")
    return result


def _head(features: tuple[int, ...], num_outputs: int) -> nn.Module:
    layers: list[Any] = []
    for width in features:
        layers += [nn.Dense(width), nn.relu]
    if not layers:
        return nn.Dense(num_outputs)
    return nn.Sequential([*layers, nn.Dense(num_outputs)])


def build_optimizer(
    config: settings.OptimizerConfig, num_steps: int
) -> optax.GradientTransformation:
    """An optimizer of optax, with schedule and clipping.

    Args:
        config: its settings.
        num_steps: steps of the whole run, for the schedule.

    Raises:
        ValueError: an optimizer or argument that optax has not.
    """
    for name, value in (
        ("learning_rate", config.learning_rate),
        ("clip_norm", config.clip_norm),
    ):
        if value is not None and not value > 0:
            raise ValueError(f"optimizer.{name} is {value}; it must be positive")
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
    if config.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def build_data(config: settings.Config) -> data.Dataset:
    """The data of a run, with the labels that are made from others.

    Raises:
        FileNotFoundError: the data set is not on disk; the text has the command that
            prepares it.
    """
    loaded = data.load(
        config.data.name,
        input_key=config.data.input,
        data_dir=config.data.data_dir,
        validation_fraction=config.data.validation_fraction,
    )
    made = [t for t in config.tasks if t.above is not None]

    def with_made(source: data.ArraySource | None) -> data.ArraySource | None:
        return None if source is None else _with_labels(source, made)

    return data.Dataset(
        loaded.name,
        _with_labels(loaded.train, made),
        with_made(loaded.validation),
        with_made(loaded.test),
    )


def _with_labels(
    source: data.ArraySource, made: list[settings.TaskConfig]
) -> data.ArraySource:
    labels, masks = dict(source.labels), dict(source.masks)
    for task in made:
        name = task.label or task.name
        if name not in source.labels:
            raise unknown_name(f"label of task {task.name!r}", name, source.labels)
        labels[task.name] = (source.labels[name] > task.above).astype(np.int32)
        if name in masks:
            masks[task.name] = masks[name]
    return data.ArraySource(source.inputs, labels, masks)

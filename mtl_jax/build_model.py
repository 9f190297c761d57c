"""From settings to a model: trunk, heads, and what of them is shared."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn

from mtl_jax import config as settings
from mtl_jax import losses, models, tasks
from mtl_jax.config import parse
from mtl_jax.errors import unknown_name

_NOT_SET = {
    "trunk": ("parent", "name"),
    "architecture": ("trunk", "heads", "parent", "name"),
}
"""Arguments of modules and architectures that settings do not give."""


def build_model(
    config: settings.ModelConfig,
    task_list: tuple[tasks.Task, ...],
    facts: Mapping[str, Any] | None = None,
    per_token: Collection[str] = (),
    head_features: Mapping[str, tuple[int, ...]] | None = None,
) -> models.Model:
    """An architecture of a trunk and a head for each task.

    Args:
        config: the settings.
        task_list: the tasks; their order is that of the chain, for architectures of
            steps that follow one another.
        facts: arguments of the trunk that follow from the data.
        per_token: tasks whose heads look at every word of a text.
        head_features: hidden layers of the heads of some tasks; default: those of the
            settings, and for contrastive tasks one at least.

    Raises:
        ValueError: a trunk, architecture or argument that there is not, or a task that
            the architecture has no outputs for.
    """
    trunk = None
    if config.trunk is not None:
        trunk = _trunk(config.trunk, config.trunk_args, facts or {})
    elif config.architecture not in models.OF_VECTORS:
        raise ValueError(
            f"model.trunk is not set, and the architecture {config.architecture!r} "
            f"needs one. Set it to one of {', '.join(sorted(models.TRUNKS))}"
        )
    net = _made(
        "architecture",
        config.architecture,
        models.ARCHITECTURES,
        config.architecture_args,
        trunk=trunk,
        heads={
            t.name: _head(_own(config, t, head_features or {}), t, t.name in per_token)
            for t in task_list
        },
    )
    return models.in_dtype(models.from_linen(net), config.dtype)


def _trunk(name: str, given: dict[str, Any], facts: Mapping[str, Any]) -> nn.Module:
    """A trunk, and the trunks that it is made of.

    Raises:
        ValueError: a trunk or argument that there is not, or trunks of modalities in
            another form.
    """
    if name == "cross_modal":
        found = given.get("trunks")
        asked = (
            "the trunk 'cross_modal' is made of trunks, model.trunk_args.trunks="
            "{'image': {'trunk': 'cnn', 'features': [8, 16]}, …}"
        )
        if not isinstance(found, dict) or not found:
            raise ValueError(f"{asked}; found {found!r}")
        below = {}
        for modality, own in found.items():
            if not isinstance(own, dict) or not isinstance(own.get("trunk"), str):
                raise ValueError(f"{asked}; found {own!r} for {modality!r}")
            arguments = {k: v for k, v in own.items() if k != "trunk"}
            below[modality] = _trunk(own["trunk"], arguments, facts)
        given = {**given, "trunks": below}
    return _made("trunk", name, models.TRUNKS, given, facts=facts)


def _made(
    kind: Literal["trunk", "architecture"],
    name: str,
    table: Mapping[str, Callable[..., nn.Module]],
    given: dict[str, Any],
    facts: Mapping[str, Any] | None = None,
    **parts: Any,
) -> nn.Module:
    """What a table has under a name, with the arguments of the settings.

    Raises:
        ValueError: a name or argument that there is not, or one of another type.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    factory = table[name]
    known = [
        n for n in inspect.signature(factory).parameters if n not in _NOT_SET[kind]
    ]
    for argument in given:
        if argument not in known:
            raise unknown_name(f"argument of {kind} {name!r}", argument, known)
    found = {n: v for n, v in (facts or {}).items() if n in known}
    arguments = {**found, **typed(factory, given, f"model.{kind}_args")}
    try:
        return factory(
            **parts,
            **{k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()},
        )
    except TypeError as error:
        raise ValueError(
            f"{kind} {name!r} with the arguments {sorted(arguments)}: {error}. Give "
            f"them in model.{kind}_args"
        ) from error


def typed(factory: Any, arguments: dict[str, Any], path: str) -> dict[str, Any]:
    """Arguments as the annotations of a factory ask, as far as those are plain types.

    Args:
        factory: with annotations.
        arguments: of it, from settings.
        path: where they are, for errors.

    Raises:
        ValueError: an argument of another type.
    """
    hints, result = typing.get_type_hints(factory), dict(arguments)
    for name in arguments.keys() & hints.keys():
        hint = hints[name]
        plain = (int, float, bool, str, Sequence[int], Sequence[float], Sequence[str])
        if hint in plain or typing.get_origin(hint) is Literal:
            result[name] = parse.coerce(arguments[name], hint, f"{path}.{name}")
        elif typing.get_origin(hint) is Callable:
            raise ValueError(f"{path}.{name} is a function, which settings cannot hold")
    return result


def _own(
    config: settings.ModelConfig,
    task: tasks.Task,
    head_features: Mapping[str, tuple[int, ...]],
) -> settings.ModelConfig:
    """The settings with the hidden layers of a task's head."""
    features = head_features.get(task.name)
    if features is None:
        features = config.head_features
        if task.pretext is not None and task.pretext.width and not features:
            features = (task.pretext.width,)
    return dataclasses.replace(config, head_features=features)


def _width(task: tasks.Task) -> int:
    own = None if task.pretext is None else task.pretext.width
    return own or task.num_outputs or 1


def _head(config: settings.ModelConfig, task: tasks.Task, per_token: bool) -> nn.Module:
    """The head of a task, or several of them."""
    head = _one_head(config, task, per_token)
    if config.heads_per_task == 1:
        return head
    if config.architecture in _READS_OUTPUTS:
        raise ValueError(
            f"the architecture {config.architecture!r} reads the outputs of its "
            "heads, so that they cannot be those of several. Use "
            "model.heads_per_task=1, or average runs"
        )
    average = functools.partial(losses.average, task.loss)
    return models.HeadEnsemble(head, config.heads_per_task, average)


_READS_OUTPUTS = ("aitm", "esmm")


def _one_head(
    config: settings.ModelConfig, task: tasks.Task, per_token: bool
) -> nn.Module:
    width = _width(task)
    if config.architecture in models.OF_VECTORS:
        if per_token:
            raise ValueError(
                f"task {task.name!r} has an output for every word, and the "
                f"architecture {config.architecture!r} reads one vector a text. Use "
                "model.architecture='hard_sharing'"
            )
    elif config.trunk in models.TEXT_TRUNKS:
        reads: Any = "tokens" if per_token else "pooled"
        return models.Head(width, config.head_features, reads)
    layers: list[Any] = []
    for features in config.head_features:
        layers += [nn.Dense(features), nn.relu]
    return nn.Sequential([*layers, nn.Dense(width)]) if layers else nn.Dense(width)

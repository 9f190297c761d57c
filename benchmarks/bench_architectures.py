"""Every architecture with as many parameters as hard sharing has."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from mtl_jax import build, config, data, models

Arguments = Callable[[Sequence[str], int], dict[str, Any]]
"""Of the tasks' names and the width of the last layer, the `architecture_args`."""


def _experts(**counts: Any) -> Arguments:
    return lambda names, last: {**counts, "expert_features": [last]}


def _given(**arguments: Any) -> Arguments:
    return lambda names, last: arguments


def _attention(kind: str) -> Arguments:
    """Each task attends to the one before it, unless all attend to all."""

    def arguments(names: Sequence[str], last: int) -> dict[str, Any]:
        graph = {b: [a] for a, b in itertools.pairwise(names)}
        known = {} if kind == "global" else {"graph": graph}
        return {"attention": kind, "tower_features": [last], **known}

    return arguments


def _modules(names: Sequence[str], last: int) -> dict[str, Any]:
    return {"num_networks": [4], "features": [last]}


INSTEAD: Mapping[str, tuple[str, Arguments]] = {
    "mmoe": ("mmoe", _experts(num_experts=4)),
    "cgc": ("cgc", _experts(num_shared=2, num_own=1)),
    "ple": ("ple", _experts(num_shared=1, num_own=1)),
    "dselect_k": ("dselect_k", _experts(num_experts=4)),
    "sub_network": ("sub_network", _modules),
    "aitm": ("aitm", lambda names, last: {"tower_features": [last]}),
}
"""Those whose experts, towers or modules take the place of the last layer."""

AROUND: Mapping[str, tuple[str, Arguments]] = {
    "esmm": ("esmm", _given()),
    "soft_sharing": ("soft_sharing", _given()),
    "soft_sharing, trace norm": ("soft_sharing", _given(penalty="trace_norm")),
    "cross_stitch": ("cross_stitch", _given()),
    "sluice": ("sluice", _given(mixture=False)),
    "mtan": ("mtan", _given()),
    "learning_to_branch": ("learning_to_branch", _given()),
    "attention, global": ("task_attention", _attention("global")),
    "attention, local": ("task_attention", _attention("local")),
    "attention, two-way": ("task_attention", _attention("bidirectional")),
    "film": ("film", _given()),
    "adversarial": ("adversarial", _given()),
    "late fusion": ("late_fusion", _given()),
    "late fusion, sum": ("late_fusion", _given(fusion="weighted_sum")),
    "late fusion, average": ("late_fusion", _given(fusion="average")),
}
"""Those that use the trunk as it is."""

EVERY = tuple(n for n in {**INSTEAD, **AROUND} if n not in ("esmm", "aitm"))
"""All that need no chain of tasks."""


def matched(
    settings: config.Config, dataset: data.Dataset, architecture: str
) -> config.Config:
    """A program with another architecture and as many parameters.

    All widths of the trunk and of what takes the place of its last layer are scaled
    alike.

    Args:
        settings: of hard sharing.
        dataset: its data.
        architecture: a name of `INSTEAD` or `AROUND`.
    """
    example = jax.tree.map(lambda a: a[:1], dataset.train.inputs)
    names = [task.name for task in build.task_configs(settings, dataset.facts)]
    name, _ = {**INSTEAD, **AROUND}[architecture]
    unit = 2 if name == "sluice" else 1  # subspaces a layer
    base = _first_width(settings.model)

    def of(width: int) -> config.Config:
        model = _model(settings.model, architecture, names, unit, width / base)
        return dataclasses.replace(settings, model=model)

    def model(found: config.Config) -> models.Model:
        return build.build(found, dataset.facts).model

    target = models.count_params(model(settings), example)
    return of(models.match_params(lambda w: model(of(w)), target, example).width)


_LISTS, _NUMBERS = ("features", "dense"), ("width", "hidden")
"""Widths among the arguments of trunks."""


def _first_width(model: config.ModelConfig) -> int:
    arguments = model.trunk_args
    for name in _LISTS:
        if arguments.get(name):
            return int(arguments[name][0])
    return int(arguments["width"])


def _model(
    model: config.ModelConfig,
    label: str,
    names: Sequence[str],
    unit: int,
    scale: float,
) -> config.ModelConfig:
    """An architecture whose trunk and experts are so many units wider."""

    def wide(width: int) -> int:
        return unit * max(1, round(width * scale))

    arguments = dict(model.trunk_args)
    for key in _LISTS:
        if arguments.get(key):
            arguments[key] = [wide(w) for w in arguments[key]]
    arguments |= {key: wide(arguments[key]) for key in _NUMBERS if key in arguments}
    name, of = {**INSTEAD, **AROUND}[label]
    lists = [key for key in _LISTS if arguments.get(key)]
    last = arguments[lists[-1]][-1] if lists else arguments["width"]
    if label in INSTEAD and lists:
        arguments[lists[-1]] = arguments[lists[-1]][:-1]
    bare = model.trunk == "mlp" and not arguments["features"]
    return dataclasses.replace(
        model,
        architecture=name,
        architecture_args=of(names, last),
        trunk=None if bare else model.trunk,
        trunk_args={} if bare else arguments,
    )

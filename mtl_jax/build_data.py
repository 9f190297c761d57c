"""From settings to data: the splits, with what is made of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_jax import build_balance, build_pretexts, data
from mtl_jax import config as settings
from mtl_jax.build_model import typed
from mtl_jax.errors import unknown_name


def build_data(config: settings.Config) -> data.Dataset:
    """The data of a run, with the labels that are made from others.

    Raises:
        FileNotFoundError: the data set is not on disk; the text has the command that
            prepares it.
        ValueError: arguments that the recipe does not take, or a label or modality
            that there is not.
    """
    missing = _missing(config)
    loaded = _load(config.data)
    made = [t for t in config.tasks if t.above is not None]

    def changed(source: data.ArraySource) -> data.ArraySource:
        source = _with_labels(source, made)
        return data.without(source, missing) if missing else source

    train = changed(_fewer(loaded.train, config.data))
    train = _few_labels(train, config, loaded.facts.get("tasks", {}))
    train = _ordered(train, config.data)
    facts = build_balance.with_counts(config.tasks, train, loaded.facts)
    return data.Dataset(
        loaded.name,
        train,
        loaded.validation and changed(loaded.validation),
        loaded.test and changed(loaded.test),
        build_pretexts.with_sizes(config.tasks, train.inputs, facts),
    )


def hidden(config: settings.Config, inputs: data.Inputs) -> data.Inputs:
    """Inputs that are given by hand, without the modalities of `data.missing`.

    Args:
        config: the settings.
        inputs: `[N, ...]`, or several by name; what they say of a modality counts.

    Raises:
        ValueError: a modality that there is not.
    """
    missing = _missing(config)
    if not missing or not isinstance(inputs, dict):
        return inputs
    count = len(next(iter(inputs.values())))
    return {**{f"{name}_present": np.zeros(count, bool) for name in missing}, **inputs}


def _missing(config: settings.Config) -> tuple[str, ...]:
    """The modalities that are hidden, which the model has to know."""
    names = config.data.missing
    if names and config.model.trunk != "cross_modal":
        raise ValueError(
            f"data.missing={','.join(names)} hides modalities of the trunk "
            f"'cross_modal'; model.trunk is {config.model.trunk!r}"
        )
    known = config.model.trunk_args.get("trunks", {})
    for name in names:
        if name not in known:
            raise unknown_name("modality in data.missing", name, known)
    return names


def _fewer(source: data.ArraySource, config: settings.DataConfig) -> data.ArraySource:
    """The training split, or a part of it."""
    count = config.train_examples
    if count is None:
        return source
    if count > len(source):
        raise ValueError(
            f"data.train_examples is {count}; {config.name} has {len(source)} training "
            "examples. Give no more, or leave it out"
        )
    return source.select(np.random.default_rng(count).permutation(len(source))[:count])


def _few_labels(
    source: data.ArraySource, config: settings.Config, known: Mapping[str, Any]
) -> data.ArraySource:
    """The training split, with some labels hidden."""
    if not config.data.labelled:
        if config.data.labelled_half:
            raise ValueError(
                "data.labelled_half is of the examples that data.labelled names: set it"
            )
        return source
    counts = build_pretexts.labels_of(config.data.labelled, config.tasks)
    half = config.data.labelled_half
    kinds = {label: facts.get("kind") for label, facts in known.items()}
    kinds |= {task.label or task.name: task.kind for task in config.tasks}
    ignore = {label: -1 for label, kind in kinds.items() if kind in _WITH_NONE}
    return data.few_labels(source, counts, config.seed, half=half, ignore=ignore)


_WITH_NONE = ("multi_label", "tokens", "segmentation")
"""Kinds of which the label -1 stands for none."""


def _ordered(source: data.ArraySource, config: settings.DataConfig) -> data.ArraySource:
    """The training split, with what the settings say of how often examples come."""
    if config.temperature != 1:
        source = dataclasses.replace(source, temperature=config.temperature)
    if config.balance is not None:
        shares = config.balance_shares
        draws = data.balancing_draws(source, config.balance, shares)
        return dataclasses.replace(source, draws=draws)
    if config.balance_shares:
        raise ValueError(
            "data.balance_shares are of the classes of a label: name it in data.balance"
        )
    return source


def _load(config: settings.DataConfig) -> data.Dataset:
    given = {"path": config.path, "targets": config.targets, **config.args}
    given = {name: value for name, value in given.items() if value not in (None, ())}
    if config.name in data.RECIPES:
        given = typed(data.RECIPES[config.name], given, "data.args")
        return data.recipes.make(config.name, config.data_dir, **given)
    if given:
        raise ValueError(
            f"data set {config.name!r} takes no {', '.join(given)}: these are for "
            f"recipes, which are {', '.join(sorted(data.RECIPES))}"
        )
    return data.load(
        config.name,
        input_key=config.input,
        data_dir=config.data_dir,
        validation_fraction=config.validation_fraction,
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
    return dataclasses.replace(source, labels=labels, masks=masks)

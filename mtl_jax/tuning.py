"""The weights of the tasks, chosen by k-fold cross-validation."""

import dataclasses
import itertools
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtl_jax import build, data, distil, models, tasks, train, transfer, weighting
from mtl_jax import config as settings
from mtl_jax.errors import unknown_name
from mtl_jax.train import checks


class Trial(NamedTuple):
    """A vector of task weights, and how it did on every fold."""

    weights: dict[str, float]  # by task
    scores: tuple[float, ...]  # one a fold

    @property
    def mean(self) -> float:
        """Over the folds."""
        return float(np.mean(self.scores))

    @property
    def deviation(self) -> float:
        """Sample standard deviation over the folds."""
        return float(np.std(self.scores, ddof=1))


class Tuning(NamedTuple):
    """What cross-validation found."""

    metric: str
    mode: str  # "max" or "min", what is better
    trials: tuple[Trial, ...]  # in the order of the grid
    tasks: tuple[settings.TaskConfig, ...] = ()  # of the settings, or of the data

    @property
    def best(self) -> Trial:
        """The trial with the best mean; one that is not finite is never the best.

        Raises:
            ValueError: no mean is finite.
        """
        sound = [trial for trial in self.trials if math.isfinite(trial.mean)]
        if not sound:
            raise ValueError(
                f"no weights have a finite mean of {self.metric}: in every trial it "
                "could not be measured on a fold (a fold may lack a class or any "
                "labels), or training diverged. Use fewer folds, another metric or a "
                "smaller learning rate"
            )
        sign = 1 if self.mode == "min" else -1
        return min(sound, key=lambda trial: sign * trial.mean)

    def __str__(self) -> str:
        best = self.best if any(math.isfinite(t.mean) for t in self.trials) else None
        names = list(self.trials[0].weights)
        head = [*names, f"{self.metric}, mean ± deviation over folds", ""]
        rows = [
            [
                *(f"{w:g}" for w in trial.weights.values()),
                f"{trial.mean:.4f} ± {trial.deviation:.4f}",
                "best" if trial is best else "",
            ]
            for trial in self.trials
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
            for row in [head, *rows]
        ]
        return "\n".join(line.rstrip() for line in lines)


def fold_indices(
    source: data.ArraySource, folds: int, *, seed: int
) -> list[np.ndarray]:
    """The examples of each of k parts, whose sizes differ by one at most.

    Where every task has examples of its own, each task's are divided so. Examples that
    have the same labels (the others are masked) are divided evenly too.

    Args:
        source: a split.
        folds: k, 2 at least.
        seed: of the division.

    Returns:
        k sorted arrays of int64, which have all examples once.

    Raises:
        ValueError: less than 2 folds, or more than a group has examples.

    Example:
        >>> source = data.ArraySource(np.eye(5), {"a": np.arange(5)})
        >>> parts = fold_indices(source, 2, seed=0)
        >>> [len(part) for part in parts], sorted(np.concatenate(parts).tolist())
        ([3, 2], [0, 1, 2, 3, 4])
    """
    groups = source.groups or (len(source),)
    if not 2 <= folds <= min(groups):
        raise ValueError(
            f"{folds} folds were asked for; there are 2 at least, and no more than the "
            f"{min(groups)} training examples (of the smallest task)"
        )
    parts: list[list[np.ndarray]] = [[] for _ in range(folds)]
    start = 0
    for g, length in enumerate(groups):
        order = start + np.random.default_rng((seed, g)).permutation(length)
        if source.masks:
            # A stable sort: those with the same labels stay in random order.
            order = order[np.lexsort([m[order] for m in source.masks.values()])]
        for i, part in enumerate(parts):
            part.append(order[i::folds])
        start += length
    return [np.sort(np.concatenate(part)) for part in parts]


def cross_validate(
    config: settings.Config,
    weights: Sequence[Sequence[float]] | None = None,
    *,
    folds: int = 5,
    metric: str | None = None,
    on_run: Callable[[str], None] | None = None,
) -> Tuning:
    """Train with every vector of task weights on every fold, and compare.

    The training split is divided into k parts. For each vector, k models are trained,
    each without one part, on which it is then measured. It costs `len(weights) × folds`
    whole trainings; neither the validation nor the test split takes part, except that a
    bilevel method still learns from the former. The weights are those of the losses
    (`tasks.NAME.weight`), under any method of the settings. A run that the settings
    begin with (`transfer`) and a teacher (`distil`) are those of every training; where
    they were trained on the same examples, they have seen those held out.

    The mean of the best vector is the best of many and so too good: train again with
    it and look at the test split once.

    Args:
        config: of the run.
        weights: vectors `[T]`, in the order of the tasks; default: `grid`.
        folds: k.
        metric: what to compare, e.g. "digit/accuracy"; default: "mean_loss", the mean
            unweighted loss of the main tasks.
        on_run: called with a line for each training that ends.

    Returns:
        All trials; prints as a table.

    Raises:
        ValueError: vectors of another length, weights that are not positive numbers, a
            metric that there is not, or a fold without labels of a task.
    """
    dataset = build.build_data(config)
    configs = build.task_configs(config, dataset.facts)
    names = [t.name for t in configs]
    vectors = _checked(grid(len(names)) if weights is None else weights, names)
    task_list = build.build(config, dataset.facts).tasks
    modes: Mapping[str, str] = checks.metric_modes(task_list)
    metric = metric or checks.DEFAULT_BEST
    if metric not in modes:
        raise unknown_name("metric to compare weights by", metric, modes)
    parts = fold_indices(dataset.train, folds, seed=config.seed)
    _check_labels(dataset.train, parts, task_list)
    trials: list[Trial] = []
    for vector in vectors:
        weighted = tuple(
            dataclasses.replace(t, weight=w)
            for t, w in zip(configs, vector, strict=True)
        )
        scores = []
        for fold in range(folds):
            found = _run(
                dataclasses.replace(config, tasks=weighted), dataset, parts, fold
            )
            scores.append(float(found[metric]))
            if on_run is not None:
                done = len(trials) * folds + fold + 1
                text = ", ".join(f"{w:g}" for w in vector)
                on_run(
                    f"{done} of {len(vectors) * folds}: weights {text}, fold "
                    f"{fold + 1}: {metric} {scores[-1]:.4f}"
                )
        trials.append(Trial(dict(zip(names, vector, strict=True)), tuple(scores)))
    return Tuning(metric, modes[metric], tuple(trials), configs)


def assignments(config: settings.Config, found: Tuning) -> list[str]:
    """`key=value` texts that give the settings the best weights.

    Settings that leave the tasks to the data get the tasks too.

    Args:
        config: that was compared.
        found: by `cross_validate`.

    Example:
        >>> from mtl_jax.config import Config, DataConfig, TaskConfig
        >>> tasks = (TaskConfig("spam", "binary"),)
        >>> found = Tuning("mean_loss", "min", (Trial({"spam": 0.3}, (1.0,)),), tasks)
        >>> assignments(Config("mail", DataConfig("mails"), tasks), found)
        ['tasks.spam.weight=0.3']
        >>> assignments(Config("mail", DataConfig("mails")), found)
        ["tasks=[{'name': 'spam', 'kind': 'binary', 'weight': 0.3}]"]
    """
    weights = found.best.weights
    if config.tasks:
        return [f"tasks.{name}.weight={w!r}" for name, w in weights.items()]
    named = [
        {"name": t.name, "kind": t.kind, "weight": weights[t.name]} for t in found.tasks
    ]
    return [f"tasks={named}"]


def grid(
    num_tasks: int, values: Sequence[float] = (0.3, 1.0, 3.0)
) -> list[list[float]]:
    """Every vector of these values whose first weight is 1: the others are relative.

    Example:
        >>> grid(2)
        [[1.0, 0.3], [1.0, 1.0], [1.0, 3.0]]
    """
    others = itertools.product(values, repeat=num_tasks - 1)
    return [[1.0, *map(float, rest)] for rest in others]


def _checked(
    weights: Sequence[Sequence[float]], names: Sequence[str]
) -> list[list[float]]:
    found = [[float(w) for w in vector] for vector in weights]
    for vector in found:
        sound = len(vector) == len(names) and all(
            math.isfinite(w) and w > 0 for w in vector
        )
        if not sound:
            raise ValueError(
                f"the weights {vector} are not of the tasks {', '.join(names)}: give "
                f"{len(names)} positive numbers"
            )
    if not found:
        raise ValueError("no vector of task weights was given; give one or more")
    return found


def _check_labels(
    source: data.ArraySource,
    parts: Sequence[np.ndarray],
    task_list: Sequence[tasks.Task],
) -> None:
    """Raise `ValueError` where a fold, or all others, have no label of a task."""
    for task in task_list:
        mask = source.masks.get(task.label_name)
        if mask is None or task.pretext is not None:
            continue
        counts = [int(mask[part].sum()) for part in parts]
        for fold, count in enumerate(counts):
            if not 0 < count < sum(counts):
                where = "no" if not count else "all"
                raise ValueError(
                    f"fold {fold + 1} of {len(parts)} has {where} labels of task "
                    f"{task.name!r}, of which there are {sum(counts)} in training. Use "
                    f"{max(2, min(len(parts), sum(counts)))} folds at most, or more "
                    "labels"
                )


def _run(
    config: settings.Config,
    dataset: data.Dataset,
    parts: Sequence[np.ndarray],
    fold: int,
) -> dict[str, Any]:
    """The metrics on one fold of a model that was trained on the others."""
    rest = np.sort(np.concatenate([p for i, p in enumerate(parts) if i != fold]))
    divided = data.Dataset(
        dataset.name,
        dataset.train.select(rest),
        dataset.validation,
        dataset.train.select(parts[fold]),
        dataset.facts,
    )
    built = build.build(config, dataset.facts)
    if not isinstance(built.method, weighting.BilevelWeighting):
        # Nobody reads it: what is measured is the fold.
        divided = dataclasses.replace(divided, validation=None)
    task_list: Sequence[tasks.Task] = built.tasks
    if config.distil.teacher is not None:
        with tempfile.TemporaryDirectory() as folder:
            divided, task_list = distil.taught(
                config.distil, divided, task_list, Path(folder), goes_on=False
            )
    size = config.train.batch_size
    steps = data.order(divided.train, size, seed=config.seed).steps_per_epoch
    result = train.fit(
        built.model,
        task_list,
        divided,
        method=built.method,
        **build.fit_arguments(config, steps),
        start=_start(config, [task.name for task in task_list]),
        say=lambda level, text: None,
    )
    return result.test


def _start(
    config: settings.Config, names: Sequence[str]
) -> Callable[[models.Variables], models.Variables] | None:
    """What the trainings begin with, where that is another run."""
    if config.transfer.init_from is None:
        return None
    return lambda variables: transfer.from_run(config, variables, names)[0]

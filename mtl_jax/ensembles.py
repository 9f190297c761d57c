"""Several trained runs as one predictor: their predictions, averaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax import build, data, losses, metrics, tasks, together, train
from mtl_jax.errors import unknown_name
from mtl_jax.trained import LoadedRun, check_inputs, load_run


def load_ensemble(
    workdirs: Sequence[str | Path],
    which: str = "latest",
    *,
    overrides: Sequence[str] = (),
) -> list[LoadedRun]:
    """Runs of the same tasks, read from their work dirs.

    Their models may differ in everything but the outputs of the tasks.

    Args:
        workdirs: of the runs.
        which: "latest" or "best" checkpoint of each.
        overrides: `key=value` texts, for all.

    Raises:
        FileNotFoundError: no run in a work dir.
        ValueError: no work dir, runs of other tasks, or with other inputs.
    """
    if not workdirs:
        raise ValueError("an ensemble was asked for, of no runs; name one or more")
    runs = [load_run(path, which, overrides=overrides) for path in workdirs]
    first = runs[0]
    for path, run in zip(workdirs, runs, strict=True):
        for what, mine, others in (
            ("tasks", _tasks(run), _tasks(first)),
            ("inputs", str(run.example), str(first.example)),
        ):
            if mine != others:
                raise ValueError(
                    f"the run in {path} has the {what} {mine}, and the one in "
                    f"{workdirs[0]} {others}. An ensemble is of runs whose {what} are "
                    "alike"
                )
    return runs


def ensemble_outputs(
    runs: Sequence[LoadedRun],
    inputs: data.Inputs,
    task_names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """The averaged outputs of all runs, `{task: [N, ...]}`; see `losses.average`.

    Outputs of numbers that the runs standardised differently are in the units of the
    first run. Without names those of all tasks but self-supervised ones, which are
    there to train.
    """
    of_runs = [{task.name: task for task in run.parts.tasks} for run in runs]
    known = of_runs[0]
    if task_names is None and any(t.pretext is not None for t in known.values()):
        task_names = [name for name, t in known.items() if t.pretext is None]
    each = [
        train.predict(run.parts.model, run.state, inputs, task_names=task_names)
        for run in runs
    ]
    found = {}
    for name in task_names or known:
        alike = [
            tasks.in_units_of(known[name], theirs[name], outputs[name])
            for theirs, outputs in zip(of_runs, each, strict=True)
        ]
        found[name] = np.asarray(losses.average(known[name].loss, jnp.stack(alike)))
    return found


def predict_runs(
    workdirs: Sequence[str | Path],
    inputs: data.Inputs | str,
    *,
    which: str = "latest",
    task_names: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """What an ensemble of runs says of inputs.

    Args:
        workdirs: of the runs.
        inputs: `[N, ...]`, or several arrays by name, as in training; or the name of a
            split of the first run's data.
        which: "latest" or "best" checkpoint of each.
        task_names: the tasks that are asked for; default: all.
        overrides: `key=value` texts, for all runs.

    Returns:
        As `trained.predict_run`, of the averaged predictions: "task/outputs",
        "task/prediction" and, for cross-entropies, "task/probability".

    Raises:
        ValueError: as `load_ensemble`, inputs of another shape than in training, or a
            task that there is not.
    """
    runs = load_ensemble(workdirs, which, overrides=overrides)
    if isinstance(inputs, str):
        inputs = build.build_data(runs[0].config).split(inputs).inputs
    else:
        check_inputs(inputs, runs[0].example)
    known = {task.name: task for task in runs[0].parts.tasks}
    for name in task_names or ():
        if name not in known:
            raise unknown_name("task of these runs", name, known)
    result: dict[str, np.ndarray] = {}
    for name, outputs in ensemble_outputs(runs, inputs, task_names or None).items():
        result[f"{name}/outputs"] = outputs
        for key, value in train.decide(known[name], outputs).items():
            result[f"{name}/{key}"] = value
    return result


def evaluate_runs(
    workdirs: Sequence[str | Path],
    split: str = "test",
    *,
    which: str = "latest",
    overrides: Sequence[str] = (),
) -> dict[str, float]:
    """The metrics of an ensemble of runs on a split, `{"task/metric": value}`.

    Losses and metrics are those of the averaged predictions, not averages of the runs'
    own. The split is that of the first run's data.
    """
    runs = load_ensemble(workdirs, which, overrides=overrides)
    source = build.build_data(runs[0].config).split(split)
    outputs = ensemble_outputs(runs, source.inputs)
    return score([t for t in runs[0].parts.tasks if t.name in outputs], outputs, source)


def score(
    task_list: Sequence[tasks.Task],
    outputs: dict[str, np.ndarray],
    source: data.ArraySource,
) -> dict[str, float]:
    """The metrics of given outputs `{task: [N, ...]}` on a split.

    Example:
        >>> source = data.ArraySource(np.eye(2), {"up": np.array([0, 1])})
        >>> outputs = {"up": np.array([[-1.0], [2.0]])}
        >>> score([tasks.binary("up")], outputs, source)["up/accuracy"]
        1.0
    """
    batch = source.take(np.arange(len(source)))
    rows: dict[str, dict[str, float]] = {}
    for group in together.groups(task_list, jax.tree.map(jnp.asarray, outputs), batch):
        for i, task in enumerate(group.tasks):
            rows[task.name] = _score_one(task, group.part([i]))
    return {
        f"{task.name}/{key}": value
        for task in task_list
        for key, value in rows[task.name].items()
    }


def _score_one(task: tasks.Task, one: together.Group) -> dict[str, float]:
    values, weights = task.loss.per_example(one.outputs[0], one.labels[0])
    total, count = (
        float(np.sum(np.where(one.mask[0], of, 0), dtype=np.float64))
        for of in (values, weights)
    )
    row = {"loss": total / count if count else float("nan")}
    measured = train.in_units(one)
    for metric in task.metrics:
        state = jax.tree.map(lambda a: a[0], measured.each(metric.update))
        row.update(metrics.evaluate(metric, [jax.device_get(state)]))
    return row


def _tasks(run: LoadedRun) -> dict[str, tuple[Any, ...]]:
    """What the outputs of each task mean."""
    facts = run.facts.get("tasks", {})
    found = {}
    for task in run.parts.tasks:
        of_label = facts.get(task.label_name, {})
        classes = tuple(of_label["labels"]) if "labels" in of_label else ()
        own = () if task.units is None else ("standardised",)
        found[task.name] = (task.loss.name, task.num_outputs, *own, *classes)
    return found

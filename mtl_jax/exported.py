"""A trained run as a file for small devices, and what it costs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtl_jax import build, deploy, train, trained

_BATCH = 256


def export_run(
    workdir: str | Path,
    path: str | os.PathLike[str],
    *,
    which: str = "latest",
    task_names: Sequence[str] | None = None,
    weights: str = "float32",
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the predict of a trained run; see `deploy.export_predict`.

    Args:
        workdir: the work dir.
        path: of the file.
        which: "latest" or "best".
        task_names: the tasks that it is to predict; default: all.
        weights: "float32", "bfloat16" or "int8".
        overrides: `key=value` texts.

    Returns:
        What `model.json` in the file holds.

    Raises:
        FileNotFoundError: no work dir, or no checkpoint in it.
        ValueError: a damaged record, or a task or kind of weights that there is not.
    """
    run = trained.load_run(workdir, which, overrides=overrides)
    facts = trained.read_run(workdir, overrides).facts
    return deploy.export_predict(
        run.parts.model,
        run.state,
        run.parts.tasks,
        run.example,
        path,
        task_names=task_names,
        weights=weights,
        known=_known(run, facts),
    )


def check(
    workdir: str | Path,
    path: str | os.PathLike[str],
    split: str,
    *,
    which: str = "latest",
    overrides: Sequence[str] = (),
) -> dict[str, tuple[float, float]]:
    """How far an exported file is from the run that it was made of, on real inputs.

    Args:
        workdir: the work dir.
        path: of the file.
        split: whose inputs are predicted by both.
        which: "latest" or "best".
        overrides: `key=value` texts.

    Returns:
        For each task, the root mean square of the change of the outputs, relative to
        their standard deviation, and the share of the examples whose decision is the
        same (for numbers, nearer than 1 % of their deviation).
    """
    run = trained.load_run(workdir, which, overrides=overrides)
    inputs = build.build_data(run.config).split(split).inputs
    predict = deploy.load(path)
    names = list(predict.about["tasks"])
    before = train.predict(run.parts.model, run.state, inputs, task_names=names)
    after = _in_batches(predict, inputs)
    found = {}
    for task in run.parts.tasks:
        if task.name not in names:
            continue
        spread = before[task.name].std(axis=0).mean() or 1.0
        change = after[f"{task.name}/outputs"] - before[task.name]
        was = train.decide(task, before[task.name])["prediction"]
        now = after[f"{task.name}/prediction"]
        near = was.std() / 100 if was.dtype.kind == "f" else 0
        same = (np.abs(now - was) <= near).reshape(len(was), -1).all(1)
        found[task.name] = (
            float(np.sqrt(np.mean(change**2)) / spread),
            float(same.mean()),
        )
    return found


def _in_batches(predict: deploy.reader.Predict, inputs: Any) -> dict[str, np.ndarray]:
    count = len(jax.tree.leaves(inputs)[0])
    parts = [
        predict(jax.tree.map(lambda a, i=i: a[i : i + _BATCH], inputs))
        for i in range(0, count, _BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def costs_of_run(
    workdir: str | Path, overrides: Sequence[str] = ()
) -> list[deploy.Cost]:
    """What the model of a run costs; see `deploy.costs`. No checkpoint is needed."""
    run = trained.read_run(workdir, overrides)
    return deploy.costs(run.parts.model, run.parts.tasks, run.example)


def _known(run: trained.LoadedRun, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Kind and names of labels of each task, where settings and data tell."""
    found: dict[str, dict[str, Any]] = {}
    of_data = facts.get("tasks", {})
    for task, config in zip(
        run.parts.tasks, build.task_configs(run.config, facts), strict=True
    ):
        found[task.name] = {"kind": config.kind}
        labels = of_data.get(task.label_name, {}).get("labels")
        if labels is not None:
            found[task.name]["labels"] = list(labels)
    return found

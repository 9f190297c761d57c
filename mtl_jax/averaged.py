"""One model of runs that trained their tasks apart, from one start."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from mtl_jax import build, train, trained
from mtl_jax import config as settings
from mtl_jax.errors import unknown_name
from mtl_jax.stacked import stack_like
from mtl_jax.train import state as states
from mtl_jax.typing import PyTree


def average_runs(
    runs: Mapping[str, str | Path],
    weights: Sequence[float] | None = None,
    *,
    which: str = "latest",
    overrides: Sequence[str] = (),
) -> trained.LoadedRun:
    """A model with the mean of the runs' shared parameters, and each task's own head.

    Runs of one seed begin with equal shared parameters, whatever their tasks, so that
    each may have trained one task alone; so do those that begin with one trained run
    (`transfer`). Parameters that began differently have no meaningful mean. The batch
    statistics of the trunk are averaged too.

    Args:
        runs: for each task, the work dir of the run that has its head. A run may stand
            for several tasks, and has then one place in the mean.
        weights: of the runs, in the order in which they first come; default: equal.
        which: "latest" or "best" checkpoint of each.
        overrides: `key=value` texts, for all runs.

    Returns:
        The averaged model, as a run that has not been saved: for
        `trained.evaluate_loaded` and `train.predict`. Its method is `equal`.

    Raises:
        FileNotFoundError: no run in a work dir.
        ValueError: no runs, a task that its run does not have, shared parameters of
            different shapes, runs of different data or that began differently, or heads
            with batch statistics.
    """
    if not runs:
        raise ValueError("average_runs was given no runs; give a work dir a task")
    loaded = {
        path: trained.load_run(path, which, overrides=overrides)
        for path in dict.fromkeys(map(str, runs.values()))
    }
    first = next(iter(loaded.values()))
    for path, run in loaded.items():
        if run.config.data != first.config.data:
            raise ValueError(
                f"{path} was trained on {run.config.data}, and the first run on "
                f"{first.config.data}. Average runs of one data set"
            )
        alike = run.config.transfer == first.config.transfer
        begun = alike and run.config.transfer.init_from is not None
        if run.config.seed != first.config.seed and not begun:
            raise ValueError(
                f"{path} was trained with seed={run.config.seed}, and the first run "
                f"with seed={first.config.seed}: their shared parameters began "
                "differently, and their mean is of no use. Train both with one seed, "
                "or from one transfer.init_from"
            )
    tasks = [_task(name, loaded[str(path)], path) for name, path in runs.items()]
    config = dataclasses.replace(
        first.config, tasks=tuple(tasks), method=settings.MethodConfig()
    )
    facts = _facts([loaded[str(path)].facts for path in runs.values()])
    parts = build.build(config, facts)
    optimizer = build.build_optimizer(config.optimizer, num_steps=1)
    like = jax.eval_shape(
        lambda x: states.initial(
            parts.model, parts.method, optimizer, x, len(tasks), config.seed
        ),
        first.example,
    )
    found = [run.state for run in loaded.values()]
    of_heads = jax.tree.leaves([_heads_part(s.collections) for s in found])
    if of_heads:
        raise ValueError(
            "the heads of these runs have batch statistics, which average_runs does "
            "not know how to join. Use heads without BatchNorm"
        )
    trunk = train.average([_trunk_part(s.collections) for s in found], weights)
    state = states.create(
        train.average([s.shared for s in found], weights),
        _heads(like.specific, {n: loaded[str(p)].state for n, p in runs.items()}),
        method=parts.method,
        optimizer=optimizer,
        num_tasks=len(tasks),
        collections=_with_trunk(like.collections, trunk),
    )
    return trained.LoadedRun(config, parts, state, 0, first.example, facts)


def _task(name: str, run: trained.LoadedRun, path: str | Path) -> settings.TaskConfig:
    known = {t.name: t for t in build.task_configs(run.config, run.facts)}
    if name not in known:
        raise unknown_name(f"task of the run in {path}", name, known)
    return known[name]


def _facts(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the data said, of the tasks of all runs."""
    tasks: dict[str, dict[str, Any]] = {}
    for facts in each:
        for label, known in facts.get("tasks", {}).items():
            tasks[label] = {**known, **tasks.get(label, {})}
    return {**each[0], "tasks": tasks} if tasks else dict(each[0])


def _heads(like: PyTree, of_task: Mapping[str, train.TrainState]) -> PyTree:
    """The task-specific parameters, each from the run of its task."""

    def one(key: str) -> PyTree:
        tasks = [t for t in of_task if key.endswith(f"_{t}") or key == t]
        if not tasks:
            raise ValueError(
                f"the parameters {key!r} are of none of the tasks "
                f"{', '.join(of_task)}; average_runs knows models whose task-specific "
                "parameters are named after their tasks, such as hard_sharing"
            )
        return of_task[max(tasks, key=len)].specific[key]

    return stack_like({key: one(key) for key in like}, like)


def _trunk_part(collections: Any) -> Any:
    return collections[0] if collections else ()


def _heads_part(collections: Any) -> Any:
    return collections[1] if collections else ()


def _with_trunk(like: Any, trunk: Any) -> Any:
    return (trunk, like[1]) if like else ()

"""Every program with its method, with others, and each of its tasks alone.

A program is a config of `configs/`, some with other settings and with architectures of
as many parameters (`bench_programs.py`). Runs are appended to the record as they end,
and those that it has are not run again, so that a long measurement may be stopped and
continued. A task alone has the same network and as many steps, with batches of as many
of its examples.

Commands:

    python benchmarks/results.py --record results.jsonl
    python benchmarks/results.py --record results.jsonl --programs adult --seeds 0
    python benchmarks/results.py --record results.jsonl --table docs/results.md
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_architectures
import bench_programs
import bench_results
import jax
import numpy as np

from mtl_jax import build, config, data, models, train

ALONE = "single task"


def runs(
    name: str,
    settings: config.Config,
    dataset: data.Dataset,
    program: bench_programs.Program,
) -> Iterator[tuple[dict[str, Any], config.Config, data.Dataset]]:
    """What is to be run of a program: how it is recorded, its settings and data."""
    own = settings.method.name
    task_list = build.task_configs(settings, dataset.facts)
    settings = dataclasses.replace(settings, tasks=task_list)
    for method in dict.fromkeys((own, *program.methods)):
        chosen = settings.method if method == own else config.MethodConfig(method)
        joint = dataclasses.replace(settings, method=chosen)
        yield {"program": name, "method": method}, joint, dataset
    for label, assignments in program.variants.items():
        what = {"program": name, "method": f"{own}, {label}"}
        other = config.override(settings, assignments)
        same = other.data == settings.data
        yield what, other, dataset if same else build.build_data(other)
    for architecture in program.architectures:
        other = bench_architectures.matched(settings, dataset, architecture)
        what = {"program": name, "method": own, "architecture": architecture}
        yield what, other, dataset
    for task in task_list:
        if program.alone and task.name not in program.alone:
            continue
        what = {"program": name, "method": ALONE, "task": task.name}
        yield what, *alone(settings, dataset, task)


def alone(
    settings: config.Config, dataset: data.Dataset, task: config.TaskConfig
) -> tuple[config.Config, data.Dataset]:
    """One task of a program, at the same number of steps."""
    label = task.name if task.above is not None else task.label or task.name
    parts = {
        split: _labelled(source, label)
        for split in ("train", "validation", "test")
        if (source := getattr(dataset, split)) is not None
    }
    size = settings.train.batch_size
    joint = data.order(dataset.train, size, seed=0).steps_per_epoch
    groups = len(dataset.train.groups) or 1
    size = max(1, min(size // groups, len(parts["train"])))
    epochs = max(1, round(settings.train.epochs * joint * size / len(parts["train"])))
    budget = dataclasses.replace(settings.train, epochs=epochs, batch_size=size)
    best = budget.best
    if best is not None and best.partition("/")[0] != task.name:
        budget = dataclasses.replace(budget, best=None)
    changed = dataclasses.replace(
        settings,
        tasks=(task,),
        train=budget,
        method=config.MethodConfig("equal"),
    )
    return changed, data.Dataset(dataset.name, facts=dataset.facts, **parts)


def _labelled(source: data.ArraySource, label: str) -> data.ArraySource:
    """The examples that have a label."""
    mask = source.masks.get(label)
    rows = np.arange(len(source)) if mask is None else np.flatnonzero(mask)
    part = source.take(rows)
    return data.ArraySource(part["inputs"], {label: part["labels"][label]})


def run(settings: config.Config, dataset: data.Dataset, seed: int) -> dict[str, Any]:
    """Train once; the metrics of the test split, and which way each is better."""
    parts = build.build(settings, dataset.facts)
    budget = settings.train
    steps = data.order(dataset.train, budget.batch_size, seed=seed).steps_per_epoch
    example = jax.tree.map(lambda a: a[:1], dataset.train.inputs)
    row = {
        "parameters": models.count_params(parts.model, example),
        "metrics": {
            t.name: {m.name: m.higher_is_better for m in t.metrics} for t in parts.tasks
        },
    }
    start = time.process_time()
    try:
        result = train.fit(
            parts.model,
            parts.tasks,
            dataclasses.replace(dataset, validation=None),  # no choice of an epoch
            method=parts.method,
            optimizer=build.build_optimizer(settings.optimizer, budget.epochs * steps),
            epochs=budget.epochs,
            batch_size=budget.batch_size,
            seed=seed,
            at=settings.method.at,
            parallel="jit",
            log_every=1000,
            feed=settings.data.feed,
        )
        found = {k: v for k, v in result.test.items() if not k.endswith("/loss")}
    except train.TrainingDiverged:
        found = {}
    return {**row, "seconds": round(time.process_time() - start, 1), "test": found}


def main() -> None:
    """Run what the record lacks, or write the table of what it has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", type=Path, required=True, help="a JSON lines file")
    names = tuple(bench_programs.programs())
    parser.add_argument("--programs", nargs="+", choices=names, default=names)
    parser.add_argument("--files", type=Path, help="the folder of the original files")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--table", type=Path, help="write this file, and run nothing")
    options = parser.parse_args()
    if options.table is not None:
        bench_results.write(options.record, options.table)
        return
    known = bench_programs.programs(options.files)
    done = {bench_results.key(row) for row in bench_results.read(options.record)}
    for name in options.programs:
        settings = known[name].load()
        try:
            dataset = build.build_data(settings)
        except (FileNotFoundError, ValueError) as error:
            print(f"{name}: left out, {error}", flush=True)
            continue
        for what, chosen, examples in runs(name, settings, dataset, known[name]):
            for seed in options.seeds:
                row = {**what, "seed": seed}
                if bench_results.key(row) in done:
                    continue
                row |= run(chosen, examples, seed)
                with options.record.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(bench_results.line(row), flush=True)


if __name__ == "__main__":
    main()

"""What each command of the command line does.

Imports are within the functions, so that `--help` and errors of spelling come at once.
"""

import argparse
import json
import os
import shlex
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any


def text_of(error: Exception) -> str:
    """What an error says, without the jargon of the system."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _resolve(options: argparse.Namespace) -> Any:
    """The config of a command, with its overrides."""
    from mtl_jax import config

    resolved = config.load(options.config)
    if options.method is not None and options.method != resolved.method.name:
        # The arguments in the file are those of the file's own method.
        resolved = config.override(
            resolved, [f"method.name={options.method}", "method.args={}"]
        )
    return config.override(resolved, options.settings)


def train(options: argparse.Namespace) -> int:
    """Train a config, or go on with it."""
    from mtl_jax import compilation_cache, run

    resolved = _resolve(options)
    workdir = options.workdir or run.default_workdir(resolved)
    try:
        with compilation_cache.kept(resolved.train.compilation_cache):
            run.train_run(
                resolved, workdir, level=options.log_level, command=options.command_line
            )
    except OSError as error:
        elsewhere = error.filename is not None and not Path(
            os.fsdecode(error.filename)
        ).absolute().is_relative_to(Path(workdir).absolute())
        if isinstance(error, FileNotFoundError) or elsewhere:
            raise
        raise ValueError(
            f"the work dir {Path(workdir).absolute()} cannot be written: "
            f"{text_of(error)}. Free some space, or name another --workdir"
        ) from error
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Measure a trained run on a split."""
    from mtl_jax import ensembles, trained

    several = len(options.workdir) > 1
    evaluate: Any = ensembles.evaluate_runs if several else trained.evaluate_run
    scores = evaluate(
        options.workdir if several else options.workdir[0],
        options.split,
        which=options.checkpoint,
        overrides=options.settings,
    )
    if options.json:
        from mtl_jax.report.jsonl import plain

        print(json.dumps(plain(scores)))
        return 0
    width = max(map(len, scores))
    for key, value in scores.items():
        print(f"{key:<{width}}  {value:.4f}")
    return 0


def predict(options: argparse.Namespace) -> int:
    """Write what a trained run says of inputs."""
    import numpy as np

    from mtl_jax import ensembles, trained

    inputs: Any = options.split
    if options.input is not None:
        inputs = _read_inputs(Path(options.input))
    several = len(options.workdir) > 1
    predict: Any = ensembles.predict_runs if several else trained.predict_run
    predictions = predict(
        options.workdir if several else options.workdir[0],
        inputs,
        which=options.checkpoint,
        task_names=options.tasks,
        overrides=options.settings,
    )
    from mtl_jax.report import atomic

    # An open file: to a path without .npz, numpy would append it.
    with atomic.replacing(options.output) as path, path.open("wb") as file:
        np.savez(file, **predictions)
    count = len(next(iter(predictions.values())))
    print(f"{count} predictions in {options.output}: {', '.join(predictions)}")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a trained predict for small devices."""
    from mtl_jax import exported

    names = [n for text in options.tasks or () for n in text.split(",") if n]
    how: Any = {"which": options.checkpoint, "overrides": options.settings}
    about = exported.export_run(
        options.workdir,
        options.output,
        task_names=names or None,
        weights=options.weights,
        **how,
    )
    weights = about["weights"]
    print(
        f"{options.output}: {', '.join(about['tasks'])}; {weights['parameters']:,} "
        f"parameters, {weights['bytes']:,} bytes as {weights['stored_as']}"
    )
    if weights["relative_error"]:
        print(f"largest relative error of a kernel: {weights['relative_error']:.2%}")
    if options.check:
        found = exported.check(options.workdir, options.output, options.check, **how)
        for name, (change, same) in found.items():
            print(f"{name}: outputs off by {change:.2%}, {same:.2%} decided alike")
    return 0


def report(options: argparse.Namespace) -> int:
    """Parameters and FLOPs, shared and by task."""
    from mtl_jax import exported
    from mtl_jax.deploy import cost

    print(cost.table(exported.costs_of_run(options.workdir, options.settings)))
    return 0


def _read_inputs(path: Path) -> Any:
    """The array `inputs` of a .npz file, or its arrays by name."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"there is no input file {path}")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not a zip of arrays")
        with np.load(path, allow_pickle=False) as arrays:
            if "inputs" in arrays:
                return arrays["inputs"]
            if arrays.files:
                return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as .npz ({error}). Write one with: "
            "numpy.savez('inputs.npz', inputs=array)"
        ) from error
    raise ValueError(f"{path} has no arrays; write one or more by name")


def tune(options: argparse.Namespace) -> int:
    """Choose task weights by k-fold cross-validation."""
    from mtl_jax import compilation_cache, tuning

    resolved = _resolve(options)
    vectors = None
    if options.weights is not None:
        try:
            vectors = [[float(w) for w in v.split(",")] for v in options.weights]
        except ValueError as error:
            raise ValueError(
                f"--weights {' '.join(options.weights)}: {error}. Give vectors of "
                "numbers with commas between, as in --weights 1,1 1,0.3"
            ) from error
    shown = options.log_level in ("debug", "info") or (
        options.log_level is None and sys.stderr.isatty()
    )
    with compilation_cache.kept(resolved.train.compilation_cache):
        found = tuning.cross_validate(
            resolved,
            vectors,
            folds=options.folds,
            metric=options.metric,
            on_run=(lambda line: print(line, file=sys.stderr)) if shown else None,
        )
    print(found)
    words = ["mtl-jax", "train", options.config]
    if options.method is not None:
        words += ["--method", options.method]
    words += ["--set", *options.settings, *tuning.assignments(resolved, found)]
    print(f"\n{shlex.join(words)}")
    return 0


def methods(options: argparse.Namespace) -> int:
    """List the weighting methods, or explain one."""
    from mtl_jax.weighting import tables

    if options.name is not None:
        print(tables.page(options.name))
    elif options.markdown:
        print(tables.markdown_table())
    else:
        print(tables.text_table())
    return 0


def data(options: argparse.Namespace) -> int:
    """List, prepare or describe data sets."""
    from mtl_jax import data

    if options.action == "list":
        rows = data.listing(options.data_dir)
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            state = "prepared" if row["prepared"] else "not prepared"
            print(f"{row['name']:<{width}}  {state:<12}  {row['summary']}")
    elif options.action == "prepare":
        path = data.prepare(
            options.name, source_dir=options.source, data_dir=options.data_dir
        )
        print(f"{options.name} is prepared in {path}")
    else:
        for key, value in data.info(options.name, options.data_dir).items():
            for i, line in enumerate(_lines(value)):
                print(f"{key if i == 0 else '':<10} {line}".rstrip())
    return 0


def _lines(value: Any) -> list[str]:
    """A value of the description of a data set, as lines for people."""
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, int):
        return [f"{value:,}"]
    if isinstance(value, list):
        return value or ["none"]
    if isinstance(value, dict):
        width = max(map(len, value))
        return [f"{k:<{width}}  {_lines(v)[0]}" for k, v in _flat(value).items()]
    return [str(value)]


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: ", ".join(f"{k} {_inline(v)}" for k, v in value.items())
        if isinstance(value, dict)
        else value
        for key, value in table.items()
    }


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k} {v}" for k, v in value.items())
    names = isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    return " ".join(value) if names else str(value)


def config(options: argparse.Namespace) -> int:
    """Show a config with everything resolved."""
    from mtl_jax.config import files

    print(json.dumps(files.to_plain(_resolve(options)), indent=2))
    return 0

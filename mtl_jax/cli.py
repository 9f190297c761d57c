"""The command line: `mtl-jax`, the same as `python -m mtl_jax`."""

import argparse
import json
import os
import shlex
import signal
import sys
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtl_jax._version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: default: those of the process.

    Returns:
        Exit status: 0; 1 where training diverged; 2 where something asked for cannot
        be done; 130 or 143 where it was interrupted and saved.
    """
    given = arguments is not None
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    options.command_line = ["mtl-jax", *arguments]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            status = options.run(options) or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as stop:
        number = getattr(stop, "signal_number", None)
        text = "interrupted; nothing was being trained yet"
        if number is not None:
            text = f"{stop}:\n    {shlex.join(options.command_line)}"
        print(f"\n{text}", file=sys.stderr)
        if not given:
            # A compilation may be running; to wind up under it can crash.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + getattr(stop, "signal_number", signal.SIGINT))
        return 128 + (number or signal.SIGINT)
    except BrokenPipeError:
        # Python flushes at exit, into a pipe that nobody reads any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        if options.log_level == "debug":
            raise
        print(f"error: {_text(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        from mtl_jax.train import TrainingDiverged

        if options.log_level == "debug" or not isinstance(error, TrainingDiverged):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def _show_warning(message: Any, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mtl-jax", description="Multi-task learning for JAX."
    )
    parser.add_argument("--version", action="version", version=__version__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="least level shown (default: info in a terminal, else warning)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, parents=[common])
        sub.set_defaults(run=run)
        return sub

    sub = command("train", _train, "train a config, or go on with it")
    sub.add_argument("config", help="a Python config file, e.g. configs/digits.py")
    sub.add_argument("--workdir", help="default: runs/NAME-METHOD-SEED")
    sub.add_argument("--method", help="weighting method (see: mtl-jax methods)")
    _set_option(sub)

    sub = command("evaluate", _evaluate, "measure a trained run on a split")
    sub.add_argument("workdir", nargs="+", help="of several runs: their ensemble")
    sub.add_argument("--split", default="test", help="default: test")
    _checkpoint_option(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON object")
    _set_option(sub)

    sub = command("predict", _predict, "write what a trained run says of inputs")
    sub.add_argument("workdir", nargs="+", help="of several runs: their ensemble")
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--split", help="predict a split of the run's data")
    source.add_argument(
        "--input", help="a .npz file with an array 'inputs' [N, ...], or arrays by name"
    )
    sub.add_argument("--output", required=True, help="the .npz file to write")
    sub.add_argument("--tasks", nargs="+", help="these alone (default: all)")
    _checkpoint_option(sub)
    _set_option(sub)

    sub = command("tune", _tune, "choose task weights by k-fold cross-validation")
    sub.add_argument("config", help="a Python config file")
    sub.add_argument("--method", help="weighting method")
    sub.add_argument(
        "--weights",
        nargs="+",
        metavar="W,W,…",
        help="vectors of task weights, e.g. 1,1 1,0.3 (default: 0.3, 1 and 3 of each "
        "task but the first)",
    )
    sub.add_argument("--folds", type=int, default=5, help="default: 5")
    sub.add_argument("--metric", help="e.g. digit/accuracy (default: mean_loss)")
    _set_option(sub)

    sub = command("export", _export, "write a trained predict for small devices")
    sub.add_argument("workdir")
    sub.add_argument("--output", required=True, help="the file to write")
    sub.add_argument("--tasks", nargs="+", help="these alone (default: all)")
    sub.add_argument("--weights", default="float32", help="float32, bfloat16 or int8")
    sub.add_argument("--check", metavar="SPLIT", help="compare on a split of the data")
    _checkpoint_option(sub)
    _set_option(sub)

    sub = command("report", _report, "parameters and FLOPs, shared and by task")
    sub.add_argument("workdir")
    _set_option(sub)

    sub = command("methods", _methods, "list the weighting methods, or explain one")
    sub.add_argument("name", nargs="?", help="print all there is to read of this one")
    sub.add_argument("--markdown", action="store_true", help="as a Markdown table")

    sub = command("data", _data, "list, prepare or describe data sets")
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("list", "the data sets of the library"),
        ("prepare", "write a data set to disk"),
        ("info", "what a data set holds"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        if name != "list":
            action.add_argument("name")
        if name == "prepare":
            action.add_argument("--from", dest="source", help="folder of the originals")
        action.add_argument("--data-dir", help="default: TFDS's own")

    sub = command("config", _config, "show a config with everything resolved")
    actions = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    action = actions.add_parser("show", help="print it as JSON")
    action.add_argument("config")
    action.add_argument("--method")
    _set_option(action)
    return parser


def _set_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="key=value",
        action="extend",
        nargs="+",
        default=[],
        help="change settings, e.g. train.epochs=3 tasks.digit.weight=2",
    )


def _checkpoint_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint", choices=("latest", "best"), default="latest", help="which one"
    )


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


def _train(options: argparse.Namespace) -> int:
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
            f"{_text(error)}. Free some space, or name another --workdir"
        ) from error
    return 0


def _evaluate(options: argparse.Namespace) -> int:
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


def _predict(options: argparse.Namespace) -> int:
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


def _export(options: argparse.Namespace) -> int:
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


def _report(options: argparse.Namespace) -> int:
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


def _tune(options: argparse.Namespace) -> int:
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
    texts = [f"tasks.{name}.weight={w:g}" for name, w in found.best.weights.items()]
    print(f"\nmtl-jax train {options.config} --set {' '.join(texts)}")
    return 0


def _methods(options: argparse.Namespace) -> int:
    from mtl_jax.weighting import tables

    if options.name is not None:
        print(tables.page(options.name))
    elif options.markdown:
        print(tables.markdown_table())
    else:
        print(tables.text_table())
    return 0


def _data(options: argparse.Namespace) -> int:
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


def _config(options: argparse.Namespace) -> int:
    from mtl_jax.config import files

    print(json.dumps(files.to_plain(_resolve(options)), indent=2))
    return 0

"""The command line: `mtl-jax`, the same as `python -m mtl_jax`."""

import argparse
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from mtl_jax import commands
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
        print(f"error: {commands.text_of(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        from mtl_jax.train import TrainingDiverged

        if options.log_level == "debug" or not isinstance(error, TrainingDiverged):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def _show_warning(message: Any, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


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
    listed = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Callable[..., int]) -> argparse.ArgumentParser:
        text = (run.__doc__ or "").rstrip(".")
        text = text[:1].lower() + text[1:]
        sub = listed.add_parser(
            run.__name__, help=text, description=text, parents=[common]
        )
        sub.set_defaults(run=run)
        return sub

    sub = command(commands.train)
    sub.add_argument("config", help="a Python config file, e.g. configs/digits.py")
    sub.add_argument("--workdir", help="default: runs/NAME-METHOD-SEED")
    sub.add_argument("--method", help="weighting method (see: mtl-jax methods)")
    _set_option(sub)

    sub = command(commands.evaluate)
    sub.add_argument("workdir", nargs="+", help="of several runs: their ensemble")
    sub.add_argument("--split", default="test", help="default: test")
    _checkpoint_option(sub)
    sub.add_argument("--json", action="store_true", help="print one JSON object")
    _set_option(sub)

    sub = command(commands.predict)
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

    sub = command(commands.tune)
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

    sub = command(commands.export)
    sub.add_argument("workdir")
    sub.add_argument("--output", required=True, help="the file to write")
    sub.add_argument("--tasks", nargs="+", help="these alone (default: all)")
    sub.add_argument("--weights", default="float32", help="float32, bfloat16 or int8")
    sub.add_argument("--check", metavar="SPLIT", help="compare on a split of the data")
    _checkpoint_option(sub)
    _set_option(sub)

    sub = command(commands.report)
    sub.add_argument("workdir")
    _set_option(sub)

    sub = command(commands.methods)
    sub.add_argument("name", nargs="?", help="print all there is to read of this one")
    sub.add_argument("--markdown", action="store_true", help="as a Markdown table")

    sub = command(commands.data)
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

    sub = command(commands.config)
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

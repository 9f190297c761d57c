"""The options, the table and the JSON file that every script has."""

import argparse
import datetime
import importlib.metadata
import platform
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bench_cores
import bench_timing
import jax

from mtl_jax.report import run_record

PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "torch", "torchjd"),
    *("LibMTL", "cvxpy", "ecos", "clarabel", "quadprog"),
)


def parser(text: str | None, presets: Sequence[str] = ("cpu", "gpu", "tiny")) -> Any:
    """A parser with the options of all scripts, for `begin`."""
    found = argparse.ArgumentParser(description=(text or "").partition("\n")[0])
    found.add_argument("--preset", choices=presets, default="cpu")
    found.add_argument("--output", type=Path, help="JSON file to write")
    found.add_argument(
        "--clock",
        choices=tuple(bench_timing.CLOCKS),
        default="wall",
        help="processor: where other work runs on the machine",
    )
    return found


def begin(parser: argparse.ArgumentParser, *, one_core: bool = True) -> Any:
    """Parse the options, stay on one core but for a GPU, say where this runs."""
    options = parser.parse_args()
    if one_core and options.preset != "gpu":
        bench_cores.stay_on_one_core()
    bench_timing.use(options.clock)
    warnings.simplefilter("ignore")  # of the peers' solvers
    _heading()
    return options


def environment() -> dict[str, Any]:
    """Machine, versions, commit, command and date."""
    device = jax.devices()[0]
    return {
        "machine": {
            "cpu": cpu_model(),
            "cores_used": bench_cores.cores(),
            "platform": platform.platform(),
            "device": f"{jax.device_count()} × {device.device_kind}",
        },
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
        "git_commit": run_record.git_commit(Path(__file__).parent),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def finish(
    options: argparse.Namespace, rows: Sequence[Mapping[str, Any]], **more: Any
) -> None:
    """Write the JSON file where one was asked for."""
    if options.output is not None:
        record = {"environment": environment(), "rows": list(rows), **more}
        run_record.write_json(options.output, record)
        print(f"written: {options.output}")


def _heading() -> None:
    """Say where and with what the figures are made."""
    found = environment()
    machine, versions = found["machine"], found["versions"]
    held = ", ".join(f"{name} {v}" for name, v in versions.items() if v)
    cores = machine["cores_used"]
    print(f"{machine['cpu']}, {cores} core{'s' * (cores != 1)}; {machine['device']}")
    print(f"{held}; commit {found['git_commit']}", flush=True)


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a Markdown table; the columns are those of all rows."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[text(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = [names, ["-" * w for w in widths], *cells]
    for line in lines:
        padded = [c.ljust(w) for c, w in zip(line, widths, strict=True)]
        print(f"| {' | '.join(padded)} |")
    sys.stdout.flush()


def text(value: Any) -> str:
    """A cell: three digits of a number."""
    if value is None:
        return "–"
    if isinstance(value, bool | str | int):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def cpu_model() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

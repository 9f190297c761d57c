"""Bytes that cross devices in a step, for 1 to 8 simulated devices.

The devices are simulated on the CPU, so that time says nothing; what the compiled
program sends is exact. Counted are the operands of all-reduce, all-gather,
reduce-scatter, collective-permute and all-to-all of one device, of a data-parallel
step (`parallel="pmap"`) with the same batch on every device.

Command:

    python benchmarks/scaling.py --output scaling.json
"""

import collections
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import bench_problem
import bench_record
import bench_steps
import jax

from mtl_jax import weighting

COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter"),
    *("collective-permute", "all-to-all"),
)
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2}
_BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_SIMULATED = "--xla_force_host_platform_device_count=8"


def collective_bytes(hlo: str) -> dict[str, int]:
    """Bytes of the operands of each kind of collective in a compiled program."""
    shapes: dict[str, int] = {}
    found: dict[str, int] = collections.Counter()
    for line in hlo.splitlines():
        named = re.match(r"\s*(?:ROOT )?(%?[\w.-]+) = (.+?) ([\w-]+)\((.*)", line)
        if named is None:
            continue
        name, shape, kind, rest = named.groups()
        shapes[name] = _size(shape)
        kind = kind.removesuffix("-start")
        if kind in COLLECTIVES:
            operands = re.findall(r"%[\w.-]+", rest.partition(")")[0])
            found[kind] += sum(shapes[operand] for operand in operands)
    return dict(found)


def measure(
    trunk: str, num_tasks: int, method: str, devices: int, **options: Any
) -> dict[str, Any]:
    """One row.

    Args:
        trunk: name.
        num_tasks: T.
        method: name.
        devices: how many; each has a batch of the usual size.
        **options: of the step, and `tiny`.
    """
    tiny = options.pop("tiny", False)
    kinds = bench_problem.TINY if tiny else bench_problem.KINDS
    problem = bench_problem.make(
        trunk, num_tasks, tiny=tiny, batch_size=kinds[trunk].batch_size * devices
    )
    step = bench_steps.LibraryStep(
        problem,
        weighting.make(method),
        parallel="pmap",
        devices=jax.devices()[:devices],
        **options,
    )
    found = collective_bytes(step.compiled().as_text())
    gradient = 4 * problem.num_shared
    return {
        "trunk": trunk,
        "T": num_tasks,
        "method": method,
        "at": options.get("at", "parameters"),
        "devices": devices,
        **{f"{kind}, MB": found.get(kind, 0) / 1e6 for kind in COLLECTIVES[:3]},
        "all, MB": sum(found.values()) / 1e6,
        "× shared gradient": sum(found.values()) / gradient,
    }


def _size(shape: str) -> int:
    """Bytes of an HLO shape, or of a tuple of them."""
    total = 0
    for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", shape):
        count = 1
        for side in sides.split(","):
            count *= int(side or 1)
        total += _BYTES.get(kind, 0) * count
    return total


def _with_devices() -> None:
    """Start again with eight devices, if there are fewer."""
    flags = os.environ.get("XLA_FLAGS", "")
    if _SIMULATED not in flags:
        os.environ.update(XLA_FLAGS=f"{flags} {_SIMULATED}", JAX_PLATFORMS="cpu")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = bench_record.parser(__doc__, ("cpu", "tiny"))
    trunks = tuple(bench_problem.KINDS)
    parser.add_argument("--trunks", nargs="+", choices=trunks, default=("mlp",))
    parser.add_argument("--tasks", nargs="+", type=int, default=None)
    parser.add_argument("--methods", nargs="+", default=("equal", "pcgrad"))
    parser.add_argument("--devices", nargs="+", type=int, default=None)
    _with_devices()
    options = bench_record.begin(parser, one_core=False)
    tiny = options.preset == "tiny"
    rows = []
    devices: Sequence[int] = options.devices or ((1, 2) if tiny else (1, 2, 4, 8))
    for trunk in options.trunks:
        for num_tasks in options.tasks or ((2,) if tiny else (8, 40)):
            for method in options.methods:
                places = ["parameters"]
                if isinstance(weighting.make(method), weighting.GramianWeighting):
                    places.append("representation")
                for at in places:
                    for count in devices:
                        row = measure(trunk, num_tasks, method, count, at=at, tiny=tiny)
                        rows.append(row)
    bench_record.table(rows)
    bench_record.finish(options, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())

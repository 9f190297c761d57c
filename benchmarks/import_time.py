"""How long `import mtl_jax` takes, as a multiple of `import jax, flax, optax`.

Each is timed in new processes, one of the one and one of the other in turn, so that
both see the same load of the machine; the ratio is that of the medians. The time is
that of the import statement alone, without the start of Python. One pair is run first
and not counted: it writes the byte code and fills the file cache. Processor time is
measured beside the time on the clock: on a machine with other work the clock says
little, and where the two ratios differ, measure again on an idle one.

Command:

    python benchmarks/import_time.py --output import_time.json

The ratio should be at most 1.3; above that the exit status is 1.

Measured result (JAX 0.10.2, Flax 0.12.8, two cores of an AMD EPYC, 15 pairs): 0.55 s
and 0.60 s, ratio 1.09.
"""

import argparse
import platform
import statistics
import subprocess
import sys
from pathlib import Path

BASE, OURS = "import jax, flax, optax", "import mtl_jax"
KINDS = ("clock", "processor")
LIMIT = 1.3
_TIMED = """
import time
clock, processor = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - clock, time.process_time() - processor)
"""


def seconds(statement: str) -> tuple[float, float]:
    """Seconds that an import takes in a new process: on the clock, of processor."""
    answer = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    clock, processor = map(float, answer.stdout.split()[-2:])
    return clock, processor


def measure(repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of both imports, in turn, after one pair that is not counted."""
    times: dict[str, dict[str, list[float]]] = {
        kind: {BASE: [], OURS: []} for kind in KINDS
    }
    for n in range(repeats + 1):
        # The order changes from pair to pair: neither is always the second.
        for statement in (BASE, OURS) if n % 2 else (OURS, BASE):
            taken = seconds(statement)
            for kind, value in zip(KINDS, taken, strict=True):
                if n:
                    times[kind][statement].append(value)
    return times


def cpu_model() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> int:
    """Measure, print the table, write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11, help="pairs; at least 7")
    parser.add_argument("--output", type=Path, help="write a JSON record here")
    arguments = parser.parse_args()
    if arguments.repeats < 7:
        parser.error(f"--repeats {arguments.repeats}: give at least 7")

    times = measure(arguments.repeats)
    ratios = {}
    print(f"{'seconds':<38}{'median':>8}{'least':>8}{'most':>8}")
    for kind, by_statement in times.items():
        for name, values in by_statement.items():
            middle, least, most = statistics.median(values), min(values), max(values)
            print(f"{kind:<12}{name:<26}{middle:>8.3f}{least:>8.3f}{most:>8.3f}")
        medians = {name: statistics.median(v) for name, v in by_statement.items()}
        ratios[kind] = medians[OURS] / medians[BASE]
        print(f"{kind:<12}{'ratio':<26}{ratios[kind]:>8.3f}  (at most {LIMIT})")

    if arguments.output is not None:
        from mtl_jax import report

        record = {
            "environment": {"cpu": cpu_model(), **report.environment()},
            "limit": LIMIT,
            "ratios": ratios,
            "seconds": times,
        }
        report.write_json(arguments.output, record)
    return 0 if ratios["clock"] <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())

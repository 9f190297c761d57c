"""Medians of runs that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""Processor time, of all threads, is the time on the clock of an idle machine, for a
process on one core; on a machine with other work it is the one to trust."""
BURST = 0.1
"""Seconds that a function runs before the next one has its turn."""


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 5,
    budget: float = 60.0,
) -> dict[str, float]:
    """Median seconds a call, of functions that take turns.

    Whatever slows the machine down for a while slows all of them. Within a turn a fast
    function is called several times, so that it finds its own data in the cache, as it
    does in training, and the sample is the mean of these calls.

    Args:
        functions: name to a function without arguments; JAX arrays that it returns are
            waited for. Each is called twice before the clock starts.
        rounds: how many turns each has; 3 at least count.
        budget: seconds after which no new round begins.
    """
    burst = {}
    for name, function in functions.items():
        jax.block_until_ready(function())  # compiles
        burst[name] = max(1, min(50, int(BURST / max(seconds(function), 1e-6))))
    samples: dict[str, list[float]] = {name: [] for name in functions}
    start = time.perf_counter()
    for n in range(rounds):
        if n >= 3 and time.perf_counter() - start > budget:
            break
        order = list(functions.items())
        for name, function in order if n % 2 else reversed(order):
            samples[name].append(seconds(function, burst[name]))
    return {name: statistics.median(values) for name, values in samples.items()}


def seconds(function: Callable[[], Any], calls: int = 1) -> float:
    """Mean seconds of some calls in a row, on the clock in use."""
    start = _clock()
    for _ in range(calls):
        jax.block_until_ready(function())
    return (_clock() - start) / calls


def now() -> float:
    """Seconds on the clock in use."""
    return _clock()


def use(clock: str) -> None:
    """From now on `seconds` is measured on another one of the `CLOCKS`."""
    global _clock
    _clock = CLOCKS[clock]


_clock: Callable[[], float] = time.perf_counter

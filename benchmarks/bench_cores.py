"""One core for the whole process, so that every side of a comparison has the same."""

import os
import sys

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PINNED = "MTL_JAX_BENCHMARK_PINNED"


def stay_on_one_core() -> None:
    """Start this process again on one core, the last that it may use.

    Thread pools are as large as the number of cores that a process may use when a
    library is loaded, and `sched_setaffinity` binds one thread alone; only a new
    process has one thread everywhere. Where the system cannot bind a process, the
    number of threads is limited all the same.
    """
    if _PINNED in os.environ:
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ.update(dict.fromkeys(_THREADS, "1"), **{_PINNED: "1"})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

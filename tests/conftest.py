"""Eight simulated CPU devices and strict numerics for every test."""

import gc
import importlib.metadata
import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiles in two thirds of the time; most tests compile more than they compute.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if importlib.metadata.version("jaxlib").startswith("0.10."):
    # In half of the time that remains. XLA aborts over a flag of another version.
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_parallel_codegen_split_count=1"
    )
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MTL_JAX_CACHE_DIR", "")  # tests write nothing into a home
# Two workers with two BLAS threads each on two cores wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)

SHARED = Path(__file__).resolve().parents[2] / "shared"


BY_METHOD = {"test_contract.py", "test_properties.py", "test_parallel.py"}
"""Files whose tests of one method share what is compiled, and nothing with others."""


def group_of(item):
    """The tests that share compiled programs: those of a file, or of a method in it."""
    group = item.nodeid.partition("::")[0]
    if item.path.name in BY_METHOD and hasattr(item, "callspec"):
        params = item.callspec.params
        group += f":{getattr(params.get('row'), 'name', params.get('name', ''))}"
    return group


def pytest_collection_modifyitems(items):
    """The tests of one group follow each other; else the order stays."""
    order = {}
    for item in items:
        order.setdefault((item.path, group_of(item)), len(order))
    files = {}
    for item in items:
        files.setdefault(item.path, len(files))
    items.sort(key=lambda i: (files[i.path], order[i.path, group_of(i)]))


_running: list[str] = []


def pytest_runtest_setup(item):
    """Forget what groups before have compiled, before it is too much.

    Each compiled program keeps a few memory maps; Linux gives a process 65,530 of them.
    """
    group = group_of(item)
    if _running == [group]:
        return
    _running[:] = [group]
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


MOST_MAPS = 25_000


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real data and golden values beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared (golden values, real data) is not here")
    return SHARED

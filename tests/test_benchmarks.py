"""Every script in benchmarks/ runs from end to end, on problems of a few numbers.

What they measure is of no interest here: speed is never asserted in tests.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def run(script, *arguments, status=(0,)):
    """The lines that a script prints in its smallest preset, without peers."""
    environment = {
        **os.environ,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiles in half the time
        "MTL_JAX_BENCHMARK_PINNED": "1",  # pytest's workers share the cores
        "PYTHONPATH": str(FOLDER.parent),
    }
    command = [sys.executable, "-c", WITHOUT_PEERS, FOLDER / f"{script}.py"]
    answer = subprocess.run(
        [*command, "--preset", "tiny", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode in status, answer.stderr[-2000:]
    return answer.stdout.splitlines()


WITHOUT_PEERS = """
import runpy, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchjd", "LibMTL"):
            raise ModuleNotFoundError(name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: (
    None if name in ("torch", "torchjd", "LibMTL") else found(name, *rest)
)
sys.meta_path.insert(0, Hidden())
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script as if no peer were installed, whatever is."""


@pytest.mark.parametrize(
    ("script", "arguments", "column"),
    [
        ("step_cost", ["--methods", "pcgrad"], "× floor"),
        ("solvers", ["--methods", "mgda", "dualproj"], "ours, error"),
        ("epoch", [], "bare JAX"),
        ("compile_time", [], "lines of HLO"),
        ("scaling", ["--methods", "pcgrad", "--devices", "2"], "all-reduce, MB"),
        ("memory", ["--routes", "auto"], "temporary / Jacobian"),
    ],
)
def test_a_script_prints_its_table_and_writes_its_record(
    script, arguments, column, tmp_path
):
    path = tmp_path / "record.json"
    lines = run(script, *arguments, "--output", str(path))
    assert any(column in line for line in lines)
    record = json.loads(path.read_text())
    assert record["rows"]
    found = record["environment"]
    assert {"machine", "versions", "git_commit", "command", "date"} == set(found)
    assert found["versions"]["jax"] and found["machine"]["cpu"]
    assert script in found["command"]


def test_the_bars_are_a_line_each_and_a_missed_one_is_an_error():
    lines = run("bars", "--only", "solvers", "equal", status=(1,))
    assert "skipped: PyTorch is not installed: pip install 'mtl-jax[peers]'" in lines
    last = lines[-5:]
    assert all("bar ≥" in line and "not measured" in line for line in last[:4])
    assert "`equal`, 2 tasks" in last[4]
    assert last[4].endswith((", met", ", missed"))


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location(
        "solver_reference", FOLDER / "solver_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_references_of_solvers_satisfy_the_definitions(reference):
    rows = np.random.default_rng(0).normal(size=(5, 9))
    gramian = rows @ rows.T
    weights = reference.mgda(gramian)
    gains = gramian @ weights  # at the least, no vertex is lower than the value
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert gains.min() >= weights @ gains * (1 - 1e-9)
    for alpha in (1.0, 2.0):
        weights = reference.nash_mtl(gramian, alpha)
        np.testing.assert_allclose(gramian @ weights, weights ** (-1 / alpha), 1e-9)
    for name in ("upgrad", "dualproj"):
        assert (gramian @ reference.DIRECTIONS[name](gramian)).min() > -1e-9
    weights = reference.cagrad(gramian)
    step = weights - 0.2  # of length c ‖g0‖, with c = 0.5
    mean = np.full(5, 0.2)
    assert step @ gramian @ step == pytest.approx(0.25 * mean @ gramian @ mean)
    gains = gramian @ reference.imtl_g(gramian) / np.sqrt(np.diag(gramian))
    np.testing.assert_allclose(gains, gains[0], 1e-9)
    assert reference.apart(gramian, weights, 3 * weights) < 1e-7


def test_bytes_of_collectives_are_read_off_a_program(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import scaling

    hlo = """
      %a = f32[8,2]{1,0} parameter(0)
      %b = bf16[4]{0} parameter(1)
      %c = (f32[8,2]{1,0}, bf16[4]{0}) all-reduce(%a, %b), replica_groups={}
      ROOT %d = f32[16,2]{1,0} all-gather(%a), dimensions={0}
    """
    assert scaling.collective_bytes(hlo) == {"all-reduce": 72, "all-gather": 64}

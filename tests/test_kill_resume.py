"""A run killed at any moment ends, started again, where the uninterrupted one ends.

Every run here is a real `python -m mtl_jax train` of its own process, killed with
SIGKILL: shortly after its start, at random moments, and within a save. The ends are
compared bit for bit: every leaf of the last and of the best checkpoint, and every row
of `metrics.jsonl`.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from mtl_jax import config, data, run, trained
from mtl_jax.report import jsonl

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "digits.py"
METHODS = ("uw", "dwa", "famo", "pcgrad", "nash_mtl", "auto_lambda")
EPOCHS, STEPS_PER_EPOCH = 6, 19
LAST = EPOCHS * STEPS_PER_EPOCH
TIMING = "examples_per_second"
UNFINISHED = ".orbax-checkpoint-tmp"


class Process:
    """A `mtl-jax train` that runs, its output in files."""

    def __init__(self, command: list[str], workdir: Path, log: Path, env: Any):
        self.workdir = workdir
        self._out = log.with_suffix(".out")
        self._err = log.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=env
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        return self._process.wait(timeout=240)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def finish(self) -> "Process":
        """Wait for an end as it should be."""
        status = self.wait()
        assert status == 0, (status, self.out, self.err)
        return self

    def signal_when(self, moment: Callable[[], bool], number: int) -> int:
        """Send a signal as soon as it is the moment; the exit status."""
        deadline = time.monotonic() + 240
        while not moment():
            assert self.running(), f"ended before the signal: {self.out}{self.err}"
            assert time.monotonic() < deadline
            time.sleep(0.0003)
        self._process.send_signal(number)
        return self.wait()


class Jobs:
    """Starts runs that share their data and their compiled programs."""

    def __init__(self, root: Path):
        self.root = root
        self.started: list[Process] = []
        self._references: dict[tuple[str, int], Process] = {}
        data.prepare("digits", data_dir=root / "data")

    def start(
        self,
        workdir: Path | str,
        method: str = "equal",
        *,
        devices: int = 1,
        cached: bool = True,
        save_every: int = 7,
    ) -> Process:
        env = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JAX_", "XLA_"))
        }
        env |= {"JAX_PLATFORMS": "cpu", "TFDS_DATA_DIR": str(self.root / "data")}
        if devices > 1:
            env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
        if cached:
            env["JAX_COMPILATION_CACHE_DIR"] = str(self.root / "compiled")
            env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
            env["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        workdir = self.root / workdir
        command = [sys.executable, "-m", "mtl_jax", "train", str(CONFIG)]
        command += ["--workdir", str(workdir), "--method", method]
        command += ["--log-level", "info", "--set", f"train.epochs={EPOCHS}"]
        command += [f"train.checkpoint_every={save_every}", "train.log_every=5"]
        log = self.root / f"run{len(self.started)}"
        self.started.append(Process(command, workdir, log, env))
        return self.started[-1]

    def reference(self, method: str = "equal", devices: int = 1) -> Process:
        """The uninterrupted run, perhaps still running."""
        if (method, devices) not in self._references:
            self._references[method, devices] = self.start(
                f"whole-{method}-{devices}", method, devices=devices
            )
        return self._references[method, devices]

    def copy(self, process: Process, name: str) -> Path:
        return Path(shutil.copytree(process.workdir, self.root / name))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    jobs = Jobs(tmp_path_factory.mktemp("killed"))
    yield jobs
    for process in jobs.started:
        process.kill()


def names(workdir: Path) -> list[str]:
    try:
        return os.listdir(workdir / "checkpoints")
    except FileNotFoundError:
        return []


def newest(workdir: Path) -> int:
    """The step of the newest whole checkpoint, -1 where there is none."""
    return max((int(n) for n in names(workdir) if n.isdecimal()), default=-1)


def saving(workdir: Path) -> int:
    """The step of the newest checkpoint that is half-written, -1 for none."""
    unfinished = (n for n in names(workdir) if UNFINISHED in n)
    return max((int(n.partition(".")[0]) for n in unfinished), default=-1)


def rows(workdir: Path) -> list[dict[str, Any]]:
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def last_row(workdir: Path) -> int:
    """The step of the last row, also while the run writes it; -1 for none."""
    path = workdir / "metrics.jsonl"
    return (
        max((r["step"] for r in jsonl.read(path)), default=-1) if path.is_file() else -1
    )


def without_timing(workdir: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != TIMING} for r in rows(workdir)]


def leaves(workdir: Path, which: str) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every leaf of the state of a checkpoint, as dtype, shape and bytes."""
    found = {}
    state = trained.load_run(workdir, which).state
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.asarray(leaf)
        where = jax.tree_util.keystr(path)
        found[where] = (str(array.dtype), array.shape, array.tobytes())
    return found


def assert_same_end(workdir: Path, reference: Path) -> None:
    assert newest(workdir) == newest(reference) == LAST
    assert without_timing(workdir) == without_timing(reference)
    places = [(row["step"], row["split"]) for row in rows(workdir)]
    assert len(set(places)) == len(places), "a row is there twice"
    assert sum(split == "test" for _, split in places) == 1
    for which in ("latest", "best"):
        ours, theirs = leaves(workdir, which), leaves(reference, which)
        assert ours.keys() == theirs.keys()
        differing = [name for name in ours if ours[name] != theirs[name]]
        assert not differing, (which, differing)
    assert saving(workdir) == -1, "half of a checkpoint was left behind"


def in_a_save(workdir: Path, step: int) -> Callable[[], bool]:
    """Whether a step from `step` on is being written, by a process now started."""
    cleared = saving(workdir) == -1  # else half a save of the one before is there

    def reached() -> bool:
        nonlocal cleared
        cleared = cleared or saving(workdir) == -1
        return cleared and saving(workdir) >= step

    return reached


def some_time_after(workdir: Path, step: int, delay: float) -> Callable[[], bool]:
    """Whether a checkpoint from `step` on is there for so many seconds."""
    until = float("inf")

    def reached() -> bool:
        nonlocal until
        if until == float("inf") and newest(workdir) >= step:
            until = time.monotonic() + delay
        return time.monotonic() >= until

    return reached


def killed_and_resumed(
    jobs: Jobs, name: str, method: str, devices: int
) -> tuple[int, int, Process]:
    """Kill a run again and again, then let it end: kills, those in a save, the end."""
    chance = random.Random(f"{method} {devices}")
    workdir = jobs.root / name
    kills = in_saves = 0
    for kind, first in (
        ("start", 0),
        ("save", 1),
        ("random", chance.randint(30, 60)),
        ("save", 70),
    ):
        before = newest(workdir)
        step = max(first, before + 1)
        if kind == "save":
            moment = in_a_save(workdir, step)
        elif kind == "random":
            moment = some_time_after(workdir, step, chance.uniform(0, 0.06))
        else:
            moment = lasting(chance.uniform(0.2, 1.0))
        process = jobs.start(name, method, devices=devices)
        status = process.signal_when(moment, signal.SIGKILL)
        assert status == -signal.SIGKILL
        kills += 1
        in_saves += kind == "save" and saving(workdir) >= step
        if before >= 0:  # it went on, and did not begin again
            assert f"going on from the checkpoint of step {before}\n" in process.err
    return kills, in_saves, jobs.start(name, method, devices=devices)


def lasting(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "devices"), [*((name, 1) for name in METHODS), ("famo", 2)]
)
def test_a_killed_run_ends_where_the_uninterrupted_one_ends(jobs, method, devices):
    reference = jobs.reference(method, devices)
    name = f"killed-{method}-{devices}"
    kills, in_saves, end = killed_and_resumed(jobs, name, method, devices)
    assert kills >= 3 and in_saves >= 1
    end.finish()
    assert re.search(r"going on from the checkpoint of step (\d+)", end.err)
    assert_same_end(end.workdir, reference.finish().workdir)
    record = json.loads((end.workdir / "config.json").read_text())
    assert record["environment"]["devices"]["count"] == devices
    # The method's state matters: else the test could not see that it was lost.
    weights = [r["digit/weight"] for r in rows(end.workdir) if r["split"] == "train"]
    assert len(set(weights)) > 1
    if method == "dwa":
        assert weights[0] == 1 != weights[-1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_says_how_to_go_on_and_does(jobs, number):
    reference = jobs.reference()
    name = f"interrupted-{number.name}"
    workdir = jobs.root / name
    for after in (25, 45, 65):
        # Few saves: a run that saves often is found waiting for one, at its step.
        process = jobs.start(name, save_every=1000)
        status = process.signal_when(lambda at=after: last_row(workdir) >= at, number)
        assert status == 128 + number, process.err
        found = re.search(r"interrupted at step (\d+) of 114 \(epoch (\d)", process.err)
        assert found, process.err
        step, epoch = map(int, found.groups())
        assert epoch == -(-step // STEPS_PER_EPOCH)
        assert newest(workdir) == step >= after
        assert f"{workdir / 'checkpoints' / str(step)}" in process.err
        assert "The same command goes on from there:\n    mtl-jax train" in process.err
        assert str(workdir) in process.err.splitlines()[-1]
        assert "Traceback" not in process.err
        assert (workdir / "plots" / "losses.png").is_file()
        if step % STEPS_PER_EPOCH:
            break
    else:
        pytest.fail("no interruption fell within an epoch")
    # Not even the compiled program has to be the same one.
    end = jobs.start(name, cached=False, save_every=1000).finish()
    assert f"going on from the checkpoint of step {step}\n" in end.err
    assert_same_end(workdir, reference.finish().workdir)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_costs_a_few_steps_and_nothing_else(jobs):
    reference = jobs.reference().finish()
    workdir = jobs.copy(reference, "damaged")
    state = workdir / "checkpoints" / str(LAST) / "state"
    largest = max(
        (path for path in state.rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0x10
    largest.write_bytes(content)
    end = jobs.start(workdir).finish()
    (warning,) = [line for line in end.err.splitlines() if line.startswith("warning: ")]
    assert f"step {LAST} (" in warning and "is damaged" in warning
    assert "Using step 112 (" in warning
    assert "going on from the checkpoint of step 112\n" in end.err
    assert_same_end(workdir, reference.workdir)


@pytest.mark.slow
def test_a_finished_run_is_not_trained_any_more(jobs):
    reference = jobs.reference().finish()
    workdir = jobs.copy(reference, "again")
    end = jobs.start(workdir).finish()
    assert f"going on from the checkpoint of step {LAST}\n" in end.err
    table = end.out.partition("\nTest, ")[2].partition("\nconfig ")[0]
    assert table.startswith(f"step {LAST}\n") and "above_five" in table
    assert table in reference.out
    assert end.out.partition("\nTest, ")[0] == "", "an epoch was trained"
    file = "metrics.jsonl"
    assert (workdir / file).read_bytes() == (reference.workdir / file).read_bytes()
    assert_same_end(workdir, reference.workdir)


@pytest.mark.slow
def test_more_epochs_go_on_from_a_finished_run(jobs):
    """A longer run continues a finished one bit for bit, unless a schedule ended."""

    def train(name, epochs, schedule="constant"):
        settings = config.override(
            config.load(CONFIG),
            [
                f"train.epochs={epochs}",
                f"optimizer.schedule={schedule}",
                "train.parallel=jit",
                f"data.data_dir={jobs.root / 'data'}",
            ],
        )
        return run.train_run(settings, jobs.root / name, level="error")

    train("whole", 3)
    train("longer", 2)
    result = train("longer", 3)
    assert int(result.state.step) == 3 * STEPS_PER_EPOCH
    for which in ("latest", "best"):
        ours = leaves(jobs.root / "longer", which)
        assert ours == leaves(jobs.root / "whole", which), which
    tests = [r["step"] for r in rows(jobs.root / "longer") if r["split"] == "test"]
    assert tests == [2 * STEPS_PER_EPOCH, 3 * STEPS_PER_EPOCH]
    train("cosine", 1, "cosine")
    with pytest.raises(
        ValueError, match=r"train\.epochs: 1 -> 2 \(the cosine schedule"
    ):
        train("cosine", 2, "cosine")

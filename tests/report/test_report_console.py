import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtl_jax.report import console, tables


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def usual_environment(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def rows(tasks, epochs=2, steps=10, validation=True):
    for step in range(5, epochs * steps + 1, 5):
        epoch = (step - 1) // steps + 1
        row = {"step": step, "epoch": epoch, "split": "train"}
        row["examples_per_second"] = 1234.5
        for index, task in enumerate(tasks):
            row[f"{task}/loss"] = 1.0 / step + index
            row[f"{task}/weight"] = 0.5 + index
        yield row
        if step % steps == 0 and validation:
            row = {"step": step, "epoch": epoch, "split": "validation"}
            for index, task in enumerate(tasks):
                row[f"{task}/accuracy"] = 0.25 + index / 100
            yield row
    row = {"step": step, "epoch": epoch, "split": "test"}
    yield row | {f"{task}/accuracy": 0.5 for task in tasks}


def run(tasks, stream=io.StringIO, paths=None, pause=0.0, validation=True, **options):
    """What a run prints to stdout and to stderr."""
    out, err = stream(), stream()
    everything = list(rows(tasks, validation=validation))
    with console.Console(tasks, stdout=out, stderr=err, **options) as printer:
        printer.start(epochs=2, steps_per_epoch=10)
        for row in everything:
            printer.write(row)
            time.sleep(pause)
        printer.message("info", "goes on from step 5")
        printer.message("warning", "2 steps skipped: loss of [digit] is not finite")
        printer.message("error", "disk full")
        printer.finish(everything, paths or {})
    return out.getvalue(), err.getvalue()


def test_a_pipe_gets_warnings_test_table_and_paths_only(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    long = tmp_path / ("x" * 200) / "metrics.jsonl"
    out, err = run(["digit", "five"], paths={"metrics": long, "tb": Path("runs/tb")})
    assert out.splitlines() == [
        "",
        "Test, step 20",
        "task    accuracy",
        "digit     0.5000",
        "five      0.5000",
        "",
        f"metrics  {long}",
        "tb       runs/tb",
    ]
    assert err.splitlines() == [
        "warning: 2 steps skipped: loss of [digit] is not finite",
        "error: disk full",
    ]


def test_a_pipe_gets_plain_epoch_lines_at_info():
    out, err = run(["digit", "five"], level="info")
    lines = out.splitlines()
    assert lines[0].split() == [
        "epoch",
        "task",
        "train",
        "loss",
        "weight",
        "val",
        "accuracy",
    ]
    assert lines[1].split() == ["1/2", "digit", "0.1500", "0.5000", "0.2500"]
    assert lines[2].split() == ["five", "1.1500", "1.5000", "0.2600"]
    assert lines[3].split()[:2] == ["2/2", "digit"]
    assert out.count("train loss") == 1
    assert len({len(line) for line in lines[:5]}) == 1
    assert "info: goes on" in err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out + err)
    assert run(["digit", "five"], quiet=False) == (out, err)


def test_level_error_leaves_errors_only():
    assert run(["digit"], level="error", paths={"tb": Path("tb")}) == (
        "",
        "error: disk full\n",
    )


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end():
    out, err = run(["digit", "five"], stream=Terminal, pause=0.1)
    assert "epoch 1/2" in out and "/20" in out and "ETA" in out
    assert "1,234 examples/s" in out or "1,235 examples/s" in out
    assert re.search(r"five   loss 1\.\d+  weight 1\.5000", out)
    assert out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l")  # the cursor is back
    after = out[out.rindex("\x1b[?25h") :]
    assert "ETA" not in after and "Test, step 20" in after
    assert "warning: 2 steps skipped: loss of [digit] is not finite" in out
    assert err == ""  # messages go round the bar
    assert "1/2  digit" in out and out.count("train loss") == 1


@pytest.mark.parametrize("options", [{"quiet": True}, {"level": "warning"}])
def test_no_bar_in_a_terminal_where_none_is_wanted(options):
    out, _ = run(["digit"], stream=Terminal, **options)
    assert "ETA" not in out and "\x1b[?25l" not in out and "1/2" not in out
    assert "Test, step 20" in out


def test_no_bar_in_a_dumb_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    out, _ = run(["digit"], stream=Terminal)
    assert "ETA" not in out and "\x1b[?25l" not in out and "1/2  digit" in out


def test_many_tasks_are_summed_up(monkeypatch):
    tasks = [f"attribute_{index}" for index in range(40)]
    out, _ = run(tasks, stream=Terminal, pause=0.1, main=["attribute_7"])
    assert "40 tasks: mean loss 19." in out and "weights 0.5..39.5" in out
    plain, _ = run(tasks, level="info", main=["attribute_7"])
    lines = plain.splitlines()
    assert len(lines) == 1 + 2 * 2 + 3 + 41
    first, second = lines[1].split(), lines[2].split()
    assert first == ["1/2", "attribute_7", "(main)", "7.1500", "7.5000", "0.3200"]
    assert second == ["mean", "of", "40", "19.6500", "0.5..39.5", "0.4450"]
    assert "attribute_8 (aux)" in plain
    assert lines[-1].split() == ["mean", "of", "40", "0.5000"]


def test_main_and_auxiliary_are_marked_only_where_they_differ():
    assert "(" not in run(["a", "b"])[0]
    assert "(" not in run(["a", "b"], main=["a", "b"])[0]
    out = run(["a", "b"], main=["b"])[0]
    assert "a (aux)" in out and "b (main)" in out


def test_epochs_without_validation_get_their_lines():
    out, _ = run(["digit"], level="info", validation=False)
    # The test row ends the last epoch, whose columns need a head of their own.
    first = [line.split()[0] for line in out.splitlines()[:4]]
    assert first == ["epoch", "1/2", "epoch", "2/2"]
    assert "test accuracy" in out


def test_without_a_test_row_the_last_validation_is_shown():
    out = io.StringIO()
    printer = console.Console(["a"], stdout=out, stderr=out)
    printer.finish(
        [
            {"step": 1, "split": "validation", "a/loss": 1.0},
            {"step": 2, "split": "validation", "a/loss": None},
        ]
    )
    assert out.getvalue().split() == [
        "Validation,",
        "step",
        "2",
        "task",
        "loss",
        "a",
        "-",
    ]
    printer.finish([])


def test_metrics_that_do_not_fit_are_named_on_each_line():
    table = tables.EpochTable(["a"], main=(), width=60)
    row = {f"a/metric_{index}": 0.5 for index in range(9)}
    head, line = table.lines("1/1", [], row)
    assert head.split() == ["epoch", "task", "train", "loss", "weight", "validation"]
    assert "metric_0 0.5000  metric_1 0.5000" in line
    head, line = tables.EpochTable(["a"], main=(), width=60).final(row)
    assert "metric_8 0.5000" in line


def test_a_narrow_terminal_and_no_metrics():
    table = tables.EpochTable(["a" * 30], main=(), width=10)
    assert len(table.lines("1/1", [], None)) == 2
    assert len(table.final({"step": 1})) == 2


def test_wrong_names_are_told():
    with pytest.raises(ValueError, match=r"unknown level 'warn'.*'warning'"):
        console.Console(["a"], level="warn")
    with pytest.raises(ValueError, match=r"unknown main task 'digt'.*'digit'"):
        console.Console(["digit"], main=["digt"])


SCRIPT = """
import time
from mtl_jax.report import Console
with Console(["digit"]) as console:
    console.start(epochs=2, steps_per_epoch=1000)
    for step in range(1, 2000):
        console.write({"step": step, "epoch": 1, "split": "train", "digit/loss": 1.0})
        time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_ctrl_c_in_a_real_terminal_leaves_it_clean():
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    output = b""
    while b"ETA" not in output:
        output += os.read(leader, 65536)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        output += part
    os.close(leader)
    assert process.wait(10) != 0
    after = output[output.rindex(b"\x1b[?25h") :]
    assert b"\x1b[?25l" in output and b"\x1b[?25l" not in after
    assert b"KeyboardInterrupt" in after and b"ETA" not in after

"""Every command of `mtl-jax`, on the real digits."""

import importlib.metadata
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mtl_jax import build, cli, config, data, weighting

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
DIGITS, MNIST = str(CONFIGS / "digits.py"), str(CONFIGS / "mnist.py")
QUICK = ["--set", "train.parallel=jit", "train.epochs=2", "train.log_every=10"]
MODULE = "import runpy; runpy.run_module('mtl_jax', run_name='__main__')"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
METRICS = {
    "digit/loss",
    "digit/accuracy",
    "digit/f1",
    "above_five/loss",
    "above_five/accuracy",
    "above_five/auc",
    "mean_loss",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Digits, and a run of two epochs in `run`, trained in a process of its own."""
    root = tmp_path_factory.mktemp("cli")
    data.prepare("digits", data_dir=root / "data")
    command = ["train", DIGITS, "--workdir", "run", *QUICK]
    done = subprocess.run(
        [sys.executable, "-m", "mtl_jax", *command],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=240,
    )
    (root / "stdout").write_text(done.stdout)
    assert done.returncode == 0, done.stderr
    (root / "stderr").write_text(done.stderr)
    # Every command here compiles the same few programs.
    before = jax.config.jax_compilation_cache_dir
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", str(root / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield root
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    compilation_cache.reset_cache()


def environment(root, **more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    return {
        **kept,
        "JAX_PLATFORMS": "cpu",
        "TFDS_DATA_DIR": str(root / "data"),
        "JAX_COMPILATION_CACHE_DIR": str(root / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **more,
    }


@pytest.fixture
def mtl_jax(root, monkeypatch, capsys):
    """Runs a command in this process, from the folder of the data."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(root / "data"))
    monkeypatch.chdir(root)

    def call(*arguments, status=0):
        capsys.readouterr()
        found = cli.main([str(a) for a in arguments])
        printed = capsys.readouterr()
        assert found == status, (found, printed.err)
        return printed

    return call


@pytest.fixture
def fails(mtl_jax):
    """The error text of a command that cannot be done."""

    def call(*arguments):
        printed = mtl_jax(*arguments, status=2)
        assert printed.out == ""
        assert printed.err.startswith("error: ") and printed.err.endswith("\n")
        assert "Traceback" not in printed.err
        return printed.err.removeprefix("error: ").rstrip("\n")

    return call


def rows(workdir):
    return [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]


# ---- train ------------------------------------------------------------------------


def test_into_a_pipe_a_run_prints_the_test_table_and_the_paths_only(root):
    out = (root / "stdout").read_text()
    assert (root / "stderr").read_text() == ""
    assert not CONTROL.search(out)
    lines = out.splitlines()
    assert lines[:2] == ["", "Test, step 38"]
    assert lines[2].split() == ["task", "loss", "accuracy", "f1", "auc"]
    last = rows(root / "run")[-1]
    for line, task in zip(lines[3:5], ("digit", "above_five"), strict=True):
        assert line.split()[0] == task
        assert f"{last[f'{task}/accuracy']:.4f}" in line.split()
    paths = dict(line.split() for line in lines[6:])
    assert {Path(p).relative_to(root / "run").as_posix() for p in paths.values()} == {
        "config.json",
        "metrics.jsonl",
        "checkpoints",
        "tensorboard",
        "plots",
    }
    assert all(Path(path).exists() for path in paths.values())


def test_the_work_dir_records_every_setting_and_what_ran(root):
    record = json.loads((root / "run" / "config.json").read_text())
    settings = config.from_plain(config.Config, record["config"])
    wanted = config.override(config.load(DIGITS), QUICK[1:])
    assert settings == wanted
    found = record["environment"]
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "tensorflow-datasets"):
        assert found["versions"][name] == importlib.metadata.version(name)
    assert found["command"] == ["mtl-jax", "train", DIGITS, "--workdir", "run", *QUICK]
    assert "git_commit" in found  # None: the folder of the run is in no repository
    assert found["devices"]["count"] == 1
    assert record["inputs"] == {"shape": [8, 8, 1], "dtype": "uint8"}
    resolved = record["resolved"]  # nothing is left open
    assert resolved["tasks"]["above_five"]["loss"] == "sigmoid_cross_entropy"
    assert resolved["tasks"]["digit"]["metrics"] == ["accuracy", "f1"]
    assert resolved["optimizer_args"]["b1"] == 0.9
    assert resolved["parallel"] == "jit" and resolved["devices"] == 1
    assert Path(resolved["data_dir"]).is_dir()


def test_the_record_names_the_commit(root, mtl_jax):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    where = root / "repository"
    where.mkdir()
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *command], cwd=where, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=where, capture_output=True, text=True
    )
    os.chdir(where)  # `mtl_jax` goes back to where the test began
    mtl_jax("train", DIGITS, "--workdir", "run", *QUICK, "train.epochs=1")
    record = json.loads((where / "run" / "config.json").read_text())
    assert record["environment"]["git_commit"] == head.stdout.strip()


def test_metrics_rows(root):
    found = rows(root / "run")
    assert [(r["step"], r["epoch"], r["split"]) for r in found] == [
        (10, 1, "train"),
        (19, 1, "train"),
        (19, 1, "validation"),
        (20, 2, "train"),
        (30, 2, "train"),
        (38, 2, "train"),
        (38, 2, "validation"),
        (38, 2, "test"),
    ]
    common = {"step", "epoch", "split"}
    for row in found:
        if row["split"] == "train":
            tasks = ("digit", "above_five")
            wanted = {f"{t}/{name}" for t in tasks for name in ("loss", "weight")}
            wanted |= {"examples_per_second", "skipped_steps"}
            assert row["examples_per_second"] > 0
            assert row["digit/weight"] == row["above_five/weight"] == 1
        else:
            wanted = METRICS
            assert 0.5 < row["digit/accuracy"] <= 1
        assert row.keys() == common | wanted


def test_tensorboard_events_hold_the_rows(root):
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    (path,) = (root / "run" / "tensorboard").glob("events.out.tfevents.*")
    content, scalars = path.read_bytes(), {}
    while content:
        length = int.from_bytes(content[:8], "little")
        body = content[12 : 12 + length]
        crc = int.from_bytes(content[12 + length : 16 + length], "little")
        assert crc == masked_crc32c(body)
        event = Event.FromString(body)
        for value in event.summary.value:
            scalars[event.step, value.tag] = value.simple_value
        content = content[16 + length :]
    for row in rows(root / "run"):
        for key in row.keys() - {"step", "epoch", "split"}:
            written = scalars.pop((row["step"], f"{row['split']}/{key}"))
            assert written == pytest.approx(row[key], rel=1e-6)
    assert not scalars


def test_plots_are_pictures_with_curves(root):
    from matplotlib import image

    for name in ("losses", "metrics", "task_weights"):
        pixels = image.imread(root / "run" / "plots" / f"{name}.png")
        assert pixels.shape[0] > 300 and pixels.shape[1] > 600
        blue = np.abs(pixels[..., :3] - np.array([0, 0x72, 0xB2]) / 255).max(-1) < 0.01
        assert blue.sum() > 50, "the first task has no curve"


def test_checkpoints_hold_the_last_two_and_the_best(root):
    steps = {int(p.name) for p in (root / "run" / "checkpoints").iterdir()}
    assert steps == {19, 38}


def test_log_level_info_prints_the_epochs_into_a_pipe(mtl_jax, root, tmp_path):
    printed = mtl_jax(
        "train", DIGITS, "--workdir", tmp_path, "--log-level", "info", *QUICK
    )
    head, *lines = printed.out.partition("\n\nTest, ")[0].splitlines()
    assert head.split()[:3] == ["epoch", "task", "train"]
    assert [line.split()[0] for line in lines] == [
        "1/2",
        "above_five",
        "2/2",
        "above_five",
    ]
    assert not CONTROL.search(printed.out)
    first = rows(tmp_path)[:2]
    mean = (10 * first[0]["digit/loss"] + 9 * first[1]["digit/loss"]) / 19
    assert lines[0].split()[2] == f"{mean:.4f}", "the mean over the steps"
    # The same numbers as in another process, on as many devices.
    drop = {"examples_per_second"}
    for ours, theirs in zip(rows(tmp_path), rows(root / "run"), strict=True):
        assert {k: ours[k] for k in ours.keys() - drop} == pytest.approx(
            {k: theirs[k] for k in theirs.keys() - drop}
        )


def test_log_level_error_prints_nothing(mtl_jax, tmp_path):
    printed = mtl_jax(
        "train", DIGITS, "--workdir", tmp_path, "--log-level", "error", *QUICK
    )
    assert printed == ("", "")


def test_the_default_work_dir_is_named_after_the_run(mtl_jax, root):
    command = ["train", DIGITS, "--method", "uw", *QUICK, "seed=4", "train.epochs=1"]
    printed = mtl_jax(*command)
    assert str(root / "runs" / "digits-uw-4" / "config.json") in printed.out
    assert rows(root / "runs" / "digits-uw-4")[-1]["step"] == 19
    before = (root / "runs" / "digits-uw-4" / "metrics.jsonl").read_bytes()
    mtl_jax(*command)  # the same command: it is finished already
    assert (root / "runs" / "digits-uw-4" / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("method", "settings", "weights"),
    [
        ("graddrop", [], None),
        ("graddrop", ["method.args.leak=[0.1, 0.9]"], None),
        ("static", ["method.args.weights=[1, 0.25]"], (1.0, 0.25)),
        ("mgda", ["method.at=representation"], "simplex"),
    ],
)
def test_methods_of_every_kind_with_arguments(
    mtl_jax, tmp_path, method, settings, weights
):
    command = ["--method", method, *QUICK, "train.epochs=1", *settings]
    mtl_jax("train", DIGITS, "--workdir", tmp_path, *command)
    first = rows(tmp_path)[0]
    found = first.get("digit/weight"), first.get("above_five/weight")
    if weights == "simplex":
        assert sum(found) == pytest.approx(1, abs=1e-5) and min(found) > 0
    elif weights is not None:
        assert found == pytest.approx(weights)
    scores = json.loads(mtl_jax("evaluate", tmp_path, "--json").out)
    assert scores["digit/accuracy"] > 0.3


def test_a_terminal_shows_a_bar_and_is_left_as_it_was(root):
    out = pty_run(
        ["train", DIGITS, "--workdir", "terminal", *QUICK, "train.epochs=9"], root
    )
    assert "examples/s" in out and "ETA" in out
    assert re.search(r"epoch \d/9", out) and re.search(r"step \d+/171", out)
    assert re.search(r"digit +loss \d", out) and re.search(r"weight 1\.0000", out)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out)
    assert re.search(r"[\r\n] *9/9  digit ", plain), "a line an epoch"
    assert "Test, step 171" in plain
    hidden, shown = out.rfind("\x1b[?25l"), out.rfind("\x1b[?25h")
    assert 0 <= hidden < shown, "the cursor is shown again"
    assert "\x1b[" not in out[out.rfind("config ") :], "after the bar comes plain text"


def test_ctrl_c_in_a_terminal_leaves_it_as_it_was(root):
    command = ["train", DIGITS, "--workdir", "stopped", *QUICK, "train.epochs=5000"]
    out = pty_run(command, root, stop_at=re.compile(r"epoch [3-9]/5000"), status=130)
    assert out.rfind("\x1b[?25l") < out.rfind("\x1b[?25h")
    assert "The same command goes on from there:" in out
    assert f"mtl-jax train {DIGITS} --workdir stopped" in out
    assert "Traceback" not in out


def pty_run(arguments, root, *, stop_at=None, status=0):
    """What a command writes into a terminal; Ctrl-C is typed at a text."""
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    modes = termios.tcgetattr(child)
    launch = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); " + MODULE
    process = subprocess.Popen(
        [sys.executable, "-c", launch, *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        cwd=root,
        env=environment(root, TERM="xterm-256color"),
        start_new_session=True,
    )
    content, deadline = b"", time.monotonic() + 120
    try:
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            while select.select([parent], [], [], 0.05)[0]:
                content += os.read(parent, 65536)
            if ended:
                break
            if stop_at is not None and stop_at.search(content.decode(errors="replace")):
                os.write(parent, b"\x03")
                stop_at = None
        assert process.wait(timeout=1) == status, content.decode(errors="replace")
        assert termios.tcgetattr(child) == modes
    finally:
        process.kill()
        process.wait()
        os.close(parent)
        os.close(child)
    return content.decode()


# ---- evaluate and predict -----------------------------------------------------------


def test_evaluate_repeats_the_rows_of_the_run(mtl_jax, root):
    shutil.copytree(root / "run", root / "read")
    before = contents(root / "read")
    printed = mtl_jax("evaluate", "read", "--json")
    assert printed.err == ""
    found = rows(root / "run")
    scores = json.loads(printed.out)
    assert scores.keys() == METRICS - {"mean_loss"}
    assert scores == pytest.approx({k: found[-1][k] for k in scores}, rel=1e-6)
    validation = mtl_jax("evaluate", "read", "--split", "validation", "--json").out
    assert json.loads(validation) == pytest.approx(
        {k: found[-2][k] for k in scores}, rel=1e-6
    )
    lines = dict(x.split() for x in mtl_jax("evaluate", "read").out.splitlines())
    assert lines == {k: f"{v:.4f}" for k, v in scores.items()}
    assert contents(root / "read") == before, "evaluating changes nothing"


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_best_checkpoint_is_the_one_with_the_best_metric(mtl_jax, root, tmp_path):
    # By the loss of the first epoch's end: worse later with a huge learning rate.
    command = [*QUICK, "train.epochs=4", "optimizer.learning_rate=0.2"]
    command += ["optimizer.schedule=constant", "train.keep_last=1"]
    mtl_jax("train", DIGITS, "--workdir", tmp_path, *command, "train.best=digit/loss")
    measured = [r for r in rows(tmp_path) if r["split"] == "validation"]
    best = min(measured, key=lambda r: r["digit/loss"])
    assert best is not measured[-1], "this test needs a run that gets worse"
    options = ["--split", "validation", "--json"]
    found = mtl_jax("evaluate", tmp_path, "--checkpoint", "best", *options).out
    assert json.loads(found) == pytest.approx(
        {k: best[k] for k in METRICS - {"mean_loss"}}, rel=1e-6
    )
    latest = json.loads(mtl_jax("evaluate", tmp_path, *options).out)
    assert latest["digit/loss"] > best["digit/loss"]


def test_predictions_reproduce_the_metrics_from_a_split_and_from_a_file(
    mtl_jax, root, tmp_path
):
    source = data.load("digits").test
    np.savez(tmp_path / "in.npz", inputs=source.inputs, other=np.zeros(2))
    outputs = []
    for option, name in (("--split", "test"), ("--input", tmp_path / "in.npz")):
        target = tmp_path / f"out{option}.npz"
        printed = mtl_jax("predict", "run", option, name, "--output", target)
        assert printed.err == "" and printed.out.startswith("270 predictions in ")
        with np.load(target) as arrays:
            outputs.append(dict(arrays))
    one, two = outputs
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], two[key])
    last = rows(root / "run")[-1]
    for task, label in (("digit", "label"), ("above_five", "above_five")):
        right = one[f"{task}/prediction"] == source.labels[label]
        assert right.mean() == pytest.approx(last[f"{task}/accuracy"])
    assert one["digit/outputs"].shape == one["digit/probability"].shape == (270, 10)
    np.testing.assert_allclose(one["digit/probability"].sum(-1), 1, rtol=1e-5)
    assert one["above_five/probability"].shape == (270,)


def test_predictions_go_into_the_very_file_that_was_named(mtl_jax, tmp_path):
    target = tmp_path / "new" / "predictions"  # without .npz, in a new folder
    mtl_jax("predict", "run", "--split", "test", "--output", target)
    assert [p.name for p in target.parent.iterdir()] == ["predictions"]
    with np.load(target) as arrays:
        assert len(arrays["digit/prediction"]) == 270


def test_a_damaged_newest_checkpoint_is_named_and_the_older_one_used(root):
    workdir = Path(shutil.copytree(root / "run", root / "hurt"))
    (workdir / "checkpoints" / "38" / "meta" / "metadata").write_bytes(b"{")
    before = contents(workdir)
    done = subprocess.run(
        [sys.executable, "-m", "mtl_jax", "evaluate", "hurt", "--json"],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: checkpoint step 38 (") and "is damaged" in line
    assert "Using step 19 (" in line
    assert json.loads(done.stdout)["digit/accuracy"] > 0.5
    assert contents(workdir) == before, "reading moves nothing"


def test_a_checkpoint_of_another_model_shows_which_leaves_differ(fails):
    text = fails("evaluate", "run", "--set", "model.trunk_args.features=[256, 64]")
    assert "is of another model:" in text
    assert re.search(r"shared.*: checkpoint float32\[256,128\], model", text)


# ---- the other commands --------------------------------------------------------------


def test_methods_lists_them_all(mtl_jax):
    table, legend = mtl_jax("methods").out.split("\n\n")
    head, *lines = table.splitlines()
    columns = re.split(r"  +", head)
    assert columns == [
        *("method", "sees", "backward passes", "gradients held", "state", "heads"),
        *("validation data", "paper"),
    ]
    assert [line.split()[0] for line in lines] == list(weighting.METHODS)
    at = [head.index(word) for word in columns]
    for line in lines:
        cells = [line[a:b].strip() for a, b in zip(at, [*at[1:], None], strict=True)]
        assert all(cells)
        assert cells[1] in ("loss", "Gramian", "gradients", "bilevel")
        assert cells[6] == ("yes" if cells[1] == "bilevel" else "no")
    assert "mtl-jax methods NAME" in legend


def test_methods_explains_one(mtl_jax):
    page = mtl_jax("methods", "pcgrad").out
    assert page.startswith("pcgrad(order")
    for part in ("Algorithm 1", "Example:", "backward passes: T", "@inproceedings{"):
        assert part.lower() in page.lower()
    error = mtl_jax("methods", "pcgrda", status=2).err
    assert "Did you mean 'pcgrad'?" in error
    assert "| `uw` | loss |" in mtl_jax("methods", "--markdown").out


def test_data_commands(mtl_jax, tmp_path):
    options = ["--data-dir", tmp_path]
    listed = mtl_jax("data", "list", *options).out.splitlines()
    assert [x.split()[0] for x in listed] == list(data.registry.DATASETS)
    assert all("not prepared" in line for line in listed)
    where = tmp_path / "digits" / "1.0.0"
    printed = mtl_jax("data", "prepare", "digits", *options)
    assert printed == (f"digits is prepared in {where}\n", "")
    assert (where / "dataset_info.json").is_file()
    (line,) = [
        x
        for x in mtl_jax("data", "list", *options).out.splitlines()
        if "digits " in x[:7]
    ]
    assert "not prepared" not in line
    out = mtl_jax("data", "info", "digits", *options).out
    assert re.search(r"^prepared +yes$", out, re.M)
    assert re.search(r"^splits +train +1,258$", out, re.M)
    assert re.search(r"^ +test +270$", out, re.M)
    assert re.search(r"^features +image +shape \(8, 8, 1\), dtype uint8$", out, re.M)
    assert "{" not in out and "[" not in out
    out = mtl_jax("data", "info", "omniglot_small", *options).out
    assert re.search(r"katakana .*num_classes 47.*where alphabet Japanese_", out)
    assert "{" not in out and "[" not in out


def test_config_show_is_json_that_loads_again(mtl_jax):
    out = mtl_jax(
        "config", "show", DIGITS, "--method", "dwa", "--set", "train.epochs=3"
    ).out
    settings = config.from_plain(config.Config, json.loads(out))
    assert settings.method == config.MethodConfig("dwa")
    assert settings.train.epochs == 3
    assert settings.model.trunk_args["features"] == [256, 128]
    assert build.build(settings).tasks[0].name == "digit"


def test_the_method_option_drops_the_arguments_of_the_files_method(mtl_jax):
    shown = json.loads(mtl_jax("config", "show", MNIST, "--method", "uw").out)
    assert shown["method"] == {
        "name": "uw",
        "args": {},
        "at": "parameters",
        "gramian": "auto",
        "task_chunk": None,
        "wrap": [],
    }
    shown = json.loads(mtl_jax("config", "show", MNIST, "--method", "static").out)
    assert shown["method"]["args"] == {"weights": [1.0, 1.0]}


def test_a_config_is_shown_as_it_is_read(mtl_jax):
    shown = json.loads(mtl_jax("config", "show", DIGITS).out)
    assert config.from_plain(config.Config, shown) == config.load(DIGITS)


def test_a_reader_that_goes_away_is_no_error(root):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "mtl_jax", "config", "show", DIGITS],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment(root),
        timeout=120,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


# ---- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--method", "pcgrda"], ["unknown method 'pcgrda'", "Did you mean 'pcgrad'?"]),
        (["--method", "static"], ["'static' needs the hyper-parameter weights"]),
        (["--set", "train.epcohs=3"], ["'train.epcohs'", "mean 'train.epochs'?"]),
        (["--set", "trian.epochs=3"], ["'trian'", "Did you mean 'train'?"]),
        (["--set", "train.epochs=many"], ["'train.epochs' takes int", "'many' (str)"]),
        (["--set", "train.epochs=1.5"], ["takes int; found 1.5 (float)"]),
        (["--set", "train.epochs=0"], ["'train.epochs' must be at least 1; found 0"]),
        (["--set", "train.log_every=0"], ["'train.log_every' must be at least 1"]),
        (["--set", "train.parallel=pmapp"], ["Did you mean 'pmap'?"]),
        (["--set", "train.epochs"], ["--set takes key=value", "'train.epochs'"]),
        (["--set", "tasks.dgit.weight=2"], ["unknown task 'dgit'", "mean 'digit'?"]),
        (["--set", "tasks.digit.wieght=2"], ["Did you mean 'tasks.digit.weight'?"]),
        (["--set", "tasks.digit=2"], ["set one of its keys, e.g. tasks.digit.weight"]),
        (["--set", "tasks.digit.kind=binry"], ["Did you mean 'binary'?"]),
        (["--set", "method.args.x=1"], ["hyper-parameter", "'x'", "Known: reduction"]),
        (
            ["--method", "dwa", "--set", "method.args.temperature=hot"],
            ["'method.args.temperature' takes float; found 'hot' (str)"],
        ),
        (["--set", "model.trunk=mpl"], ["unknown trunk 'mpl'", "Did you mean 'mlp'?"]),
        (["--set", "model.trunk_args.droput=0"], ["Did you mean 'dropout'?"]),
        (["--set", "model.trunk_args.features=9"], ["takes a list of int; found 9"]),
        (["--set", "optimizer.name=adm"], ["unknown optimizer", "mean 'adam'?"]),
        (["--set", "optimizer.args.b3=1"], ["argument of optax.adam 'b3'"]),
        (["--set", "train.best=digit/acuracy"], ["Did you mean 'digit/accuracy'?"]),
        (["--set", "data.name=digts"], ["'digts' is not on disk", "mean 'digits'?"]),
        (["--set", "train.batch_size=4000"], ["4000", "larger than", "1258"]),
    ],
    ids=lambda value: " ".join(value[1:]) if value[0].startswith("--") else "",
)
def test_wrong_settings(fails, tmp_path, arguments, texts):
    workdir = tmp_path / "run"
    found = fails("train", DIGITS, "--workdir", workdir, *arguments)
    assert all(text in found for text in texts), found
    assert len(found.splitlines()) <= 2 or "\n    " in found
    assert not (workdir / "checkpoints").exists()


def test_a_command_that_failed_does_not_bind_the_next_one(fails, mtl_jax, tmp_path):
    train = ["train", DIGITS, "--workdir", tmp_path, *QUICK, "train.epochs=1"]
    fails(*train, "train.best=digit/acuracy")
    mtl_jax(*train, "train.best=digit/accuracy")
    assert rows(tmp_path)[-1]["split"] == "test"


def test_another_run_in_the_same_work_dir(fails, root):
    before = contents(root / "run")
    found = fails(
        *["train", DIGITS, "--workdir", "run", "--method", "uw", *QUICK],
        *["seed=1", "tasks.digit.weight=2", "model.head_features=[8]"],
        "train.keep_last=5",
    )
    assert found.splitlines() == [
        f"{root / 'run'} holds a run with other settings:",
        "  method.name: 'equal' -> 'uw'",
        "  model.head_features: [] -> [8]",
        "  seed: 0 -> 1",
        "  tasks.digit.weight: 1.0 -> 2.0",
        "Name another --workdir, or start that run again with its own settings",
    ]
    assert contents(root / "run") == before


def config_file(folder, text):
    path = folder / "mine.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x = 1\n", "is no config file: it must define get_config()"),
        ("def get_config():\n    return 3\n", "get_config() of {path} returned int"),
        ("def get_config(:\n", "{path}, line 1: "),
        ("import math\nmath.sqroot(2)\n", "{path}, line 2: AttributeError: "),
        (
            "from mtl_jax.config import *\n"
            "import mtl_jax.config as c\n"
            "def get_config():\n    return c.TrainConfig(epcohs=3)\n",
            "{path}, line 4: unknown key of TrainConfig 'epcohs'. Did you mean "
            "'epochs'?",
        ),
        (
            "import mtl_jax.config as c\n"
            "def get_config():\n"
            "    return c.Config('x', c.DataConfig('digits'), (),\n"
            "                    train=c.TrainConfig(epochs='3'))\n",
            "{path}: config key 'train.epochs' takes int; found '3' (str)",
        ),
        (
            "import mtl_jax.config as c\n"
            "def get_config():\n"
            "    return c.Config('x', c.DataConfig('digits'), (),\n"
            "                    optimizer=c.OptimizerConfig(args={'f': print}))\n",
            "{path}: Object of type builtin_function_or_method is not JSON",
        ),
    ],
)
def test_files_that_are_no_good_config(fails, tmp_path, text, wanted):
    path = config_file(tmp_path, text)
    assert wanted.format(path=path) in fails("config", "show", path)


def test_files_that_are_not_there(fails, root, tmp_path):
    found = fails("train", "configs/digit.py", "--workdir", tmp_path / "run")
    assert found == "there is no config file configs/digit.py."
    os.chdir(CONFIGS.parent)
    found = fails("train", "configs/digit.py", "--workdir", tmp_path / "run")
    assert "There are: " in found and "configs/digits.py" in found
    for command in (["evaluate"], ["predict", "--split", "test", "--output", "o"]):
        found = fails(command[0], tmp_path / "run", *command[1:])
        assert "is not the work dir of a run: there is no" in found
    assert not (tmp_path / "run").exists()


def test_a_work_dir_without_a_checkpoint(fails, root):
    workdir = root / "fresh"
    workdir.mkdir()
    shutil.copy(root / "run" / "config.json", workdir)
    found = fails("evaluate", workdir)
    assert f"there is no checkpoint in {workdir / 'checkpoints'} yet" in found
    assert [p.name for p in workdir.iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\x00"])
def test_a_damaged_record(fails, root, text):
    workdir = root / "record"
    if not workdir.exists():
        shutil.copytree(root / "run", workdir)
    (workdir / "config.json").write_text(text)
    commands = (["evaluate", workdir], ["train", DIGITS, "--workdir", workdir, *QUICK])
    for command in commands:
        found = fails(*command)
        assert f"{workdir / 'config.json'} is damaged" in found
    assert (workdir / "config.json").read_text() == text


def test_a_work_dir_that_is_a_file(fails, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    found = fails("train", DIGITS, "--workdir", path)
    assert found == f"the work dir {path} is a file; name a directory"
    found = fails("train", DIGITS, "--workdir", path / "run")
    assert f"the work dir {path / 'run'} cannot be written" in found
    assert path.read_text() == "mine"


def test_unknown_splits(fails):
    found = fails("evaluate", "run", "--split", "tset")
    assert "no split 'tset'" in found and "train, validation, test" in found
    found = fails("predict", "run", "--split", "tset", "--output", "o.npz")
    assert "no split 'tset'" in found
    assert not Path("o.npz").exists()


@pytest.mark.parametrize(
    ("arrays", "wanted"),
    [
        ({"inputs": np.zeros((3, 7, 8, 1))}, "[3, 7, 8, 1]; the model was trained on"),
        ({"inputs": np.zeros(())}, "shape []; the model was trained on [N, 8, 8, 1]"),
        ({"inputs": np.zeros((0, 8, 8, 1))}, "predict needs inputs [N, ...]"),
        (
            {"images": np.zeros(3), "y": np.zeros(3)},
            "the inputs are the arrays images, y; the model was",
        ),
        ({"inputs": np.full((2, 8, 8, 1), np.nan)}, "not finite"),
        ({"inputs": np.full((2, 8, 8, 1), "a")}, "they have to be numbers"),
        ({"inputs": np.full((2, 8, 8, 1), None)}, "Object arrays cannot be loaded"),
        (b"", "it is not a zip of arrays"),
        (b"PK\x03\x04 and so on", "it is not a zip of arrays"),
        (None, "there is no input file"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_inputs_that_cannot_be_predicted(fails, tmp_path, arrays, wanted):
    path, target = tmp_path / "in.npz", tmp_path / "out.npz"
    if isinstance(arrays, dict):
        np.savez(path, **arrays)
    elif arrays is not None:
        path.write_bytes(arrays)
    found = fails("predict", "run", "--input", path, "--output", target)
    assert wanted in found
    assert not target.exists()


def test_a_data_set_that_is_not_prepared(fails, monkeypatch, tmp_path):
    workdir = tmp_path / "run"
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    found = fails("train", MNIST, "--workdir", workdir)
    assert f"'mnist' is not prepared under {tmp_path / 'none'}" in found
    assert "\n    mtl-jax data prepare mnist --from DIR\n" in found
    assert "train-images-idx3-ubyte.gz" in found
    assert not workdir.exists()
    found = fails("data", "prepare", "mnist")
    assert "\n    mtl-jax data prepare mnist --from DIR\n" in found
    found = fails("data", "info", "mnst")
    assert "Did you mean 'mnist'?" in found


@pytest.mark.parametrize("command", [[], ["trian"], ["train"], ["predict", "run"]])
def test_commands_that_are_not_whole(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(command)
    assert "mtl-jax" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == importlib.metadata.version("mtl-jax")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_work_dir_that_may_not_be_written(fails, tmp_path):
    tmp_path.chmod(0o500)
    found = fails("train", DIGITS, "--workdir", tmp_path / "run")
    assert f"the work dir {tmp_path / 'run'} cannot be written" in found


@pytest.mark.parametrize("size", [0, 1500, 20_000])
def test_a_disk_that_takes_no_more_is_an_error_and_leaves_whole_files(root, size):
    """At the record, at the rows or events, at a checkpoint."""
    workdir = root / f"full{size}"
    command = ["train", DIGITS, "--workdir", str(workdir), *QUICK]
    # Files of the process cannot grow beyond so many bytes, as on a full disk.
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
    )

    def train(code):
        return subprocess.run(
            [sys.executable, "-B", "-c", code, *command],
            cwd=root,
            env=environment(root),
            capture_output=True,
            text=True,
            timeout=240,
        )

    done = train(limit + MODULE)
    assert done.returncode == 2, done.stderr
    assert "error: " in done.stderr and "Traceback" not in done.stderr
    assert str(workdir) in done.stderr
    names = {p.name for p in workdir.iterdir()}
    assert not [name for name in names if name.startswith(".")], names
    if "config.json" in names:
        json.loads((workdir / "config.json").read_text())
    again = train(MODULE)  # with room, the same command runs through
    assert again.returncode == 0, again.stderr
    assert rows(workdir)[-1] == rows(root / "run")[-1]


def test_a_full_disk(root):
    workdir = root / "small"
    workdir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(workdir)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can make a small disk")
    try:
        command = ["train", DIGITS, "--workdir", str(workdir), *QUICK]
        done = subprocess.run(
            [sys.executable, "-m", "mtl_jax", *command],
            cwd=root,
            env=environment(root),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
        assert str(workdir) in done.stderr
        assert "free some space" in done.stderr.lower()
        for path in (workdir / "checkpoints").iterdir():
            assert path.name.isdecimal(), "half a checkpoint is taken for a whole one"
    finally:
        subprocess.run(["umount", str(workdir)], check=True)


def test_debug_shows_where_an_error_comes_from(mtl_jax):
    with pytest.raises(ValueError, match="no split 'tset'"):
        mtl_jax("evaluate", "run", "--split", "tset", "--log-level", "debug")


def test_wrapped_methods(mtl_jax, fails, tmp_path):
    wrap = 'method.wrap=["matched_scale", {"name": "every_k", "k": 2}]'
    command = ["--method", "mgda", *QUICK, "train.epochs=1", wrap]
    mtl_jax("train", DIGITS, "--workdir", tmp_path / "a", *command)
    first = rows(tmp_path / "a")[0]
    found = first["digit/weight"] + first["above_five/weight"]
    assert found == pytest.approx(2, abs=1e-4), "on the scale of the sum"
    train = ["train", DIGITS, "--workdir", tmp_path / "b", "--method", "graddrop"]
    assert "needs the hyper-parameter k, in settings" in fails(
        *train, "--set", 'method.wrap=["every_k"]'
    )
    assert "Did you mean 'every_k'?" in fails(*train, "--set", 'method.wrap=["every"]')
    assert "give the name of a wrapper" in fails(*train, "--set", "method.wrap=[3]")
    assert "found a GradientAggregator" in fails(
        *train, "--set", 'method.wrap=[{"name": "every_k", "k": 2}]'
    )
    assert not (tmp_path / "b").exists()

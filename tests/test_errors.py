"""Errors say what was asked, what was found, and what to do."""

import dataclasses
import os
import shlex
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

import mtl_jax
from mtl_jax import checkpoint, cli, config, data, losses, metrics, objective, train
from mtl_jax import weighting as methods
from mtl_jax.models.base import Variables
from mtl_jax.train import state as states

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(40, 4)).astype(np.float32)
DIGIT = RNG.integers(0, 3, 40)
UP = (INPUTS[:, 0] > 0).astype(np.int32)
REAL = INPUTS[:, 0].copy()
TASKS = (
    mtl_jax.classification("digit", 3, metrics=(metrics.accuracy(),)),
    mtl_jax.binary("up", metrics=(metrics.accuracy(), metrics.auc())),
)
MIXED = (TASKS[0], mtl_jax.regression("up"))
OVERFLOW = np.float32(1e30)
"""A finite label whose squared error is not."""


def net(**widths):
    """A Linen model with a head of this width for each task."""
    return mtl_jax.models.HardSharing(
        mtl_jax.models.MLP((8,)), {name: nn.Dense(n) for name, n in widths.items()}
    )


def small(width=4):
    """The same in plain functions, which compile faster."""

    def init(key, inputs):
        keys = jax.random.split(key, 3)
        sizes = {"digit": (width, 3), "up": (width, 1)}
        heads = {
            name: jax.random.normal(k, size)
            for k, (name, size) in zip(keys[1:], sizes.items(), strict=True)
        }
        shared = jax.random.normal(keys[0], (inputs.shape[-1], width))
        return Variables(shared, heads, ())

    def apply(shared, specific, collections, inputs, **keywords):
        hidden = jax.nn.relu(inputs @ shared)
        return {name: hidden @ head for name, head in specific.items()}, collections

    return mtl_jax.models.Model(init, apply)


def dataset(inputs=INPUTS, digit=DIGIT, up=UP, masks=None, **splits):
    return data.from_splits((inputs, {"digit": digit, "up": up}, masks or {}), **splits)


def fit(model=None, tasks=TASKS, given=None, **arguments):
    arguments = {
        "epochs": 1,
        "batch_size": 8,
        "parallel": "jit",
        "say": lambda level, text: None,
        **arguments,
    }
    return mtl_jax.fit(model or small(), tasks, given or dataset(), **arguments)


def changed(array, where, value):
    array = array.copy()
    array[where] = value
    return array


def settings(*assignments):
    task = config.TaskConfig("digit", "classification", num_outputs=10)
    plain = config.Config("job", config.DataConfig("digits"), (task,))
    return config.override(plain, assignments)


def refused(call, *parts, error=ValueError):
    """The call raises, and its text has every part."""
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    return text


UNKNOWN = {
    "method": (
        lambda: methods.make("pcgrda"),
        ("unknown method 'pcgrda'", "Did you mean 'pcgrad'?", "equal", "uw"),
    ),
    "method of fit": (
        lambda: fit(method="pcgrda"),
        ("unknown method 'pcgrda'", "Did you mean 'pcgrad'?", "equal", "uw"),
    ),
    "hyper-parameter": (
        lambda: methods.make("mgda", normalise="l2"),
        ("hyper-parameter of method 'mgda' 'normalise'", "Did you mean 'normalize'?"),
    ),
    "missing hyper-parameter": (
        lambda: methods.make("static"),
        (
            "method 'static'",
            "needs the hyper-parameter weights",
            "method.args.weights=",
        ),
    ),
    "metric": (
        lambda: metrics.make("acuracy"),
        ("unknown metric 'acuracy'", "Did you mean 'accuracy'?", "auc", "rmse"),
    ),
    "metric of the best checkpoint": (
        lambda: fit(given=data.from_arrays(*dataset_arrays()), best="digit/acuracy"),
        ("'digit/acuracy'", "Did you mean 'digit/accuracy'?", "mean_loss", "up/auc"),
    ),
    "best without validation": (
        lambda: fit(best="digit/accuracy"),
        ("'digit/accuracy' was asked for", "no validation split"),
    ),
    "loss": (
        lambda: losses.make("hubber"),
        ("unknown loss 'hubber'", "Did you mean 'huber'?", "mse"),
    ),
    "argument of a loss": (
        lambda: losses.make("huber", delat=1.0),
        ("hyper-parameter of loss 'huber' 'delat'", "Did you mean 'delta'?"),
    ),
    "place": (
        lambda: fit(net(digit=3, up=1), method="mgda", at="representations"),
        ("'representations' were asked for", "'parameters' and 'representation'"),
    ),
    "way to run": (
        lambda: fit(parallel="mpap"),
        ("'mpap'", "Did you mean 'pmap'?", "auto", "jit"),
    ),
    "config key": (
        lambda: settings("train.epcohs=3"),
        ("unknown config key 'train.epcohs'", "mean 'train.epochs'?", "train.best"),
    ),
    "config group": (
        lambda: settings("trian.epochs=3"),
        ("unknown config key 'trian'", "Did you mean 'train'?", "optimizer"),
    ),
    "task of the config": (
        lambda: settings("tasks.digt.weight=2"),
        ("unknown task 'digt'", "Did you mean 'digit'?"),
    ),
    "key of a task": (
        lambda: settings("tasks.digit.weigth=2"),
        ("'tasks.digit.weigth'", "Did you mean 'tasks.digit.weight'?"),
    ),
    "type of a key": (
        lambda: settings("train.epochs=three"),
        ("'train.epochs'", "takes int", "found 'three' (str)"),
    ),
    "choice of a key": (
        lambda: settings("train.parallel=mpap"),
        ("train.parallel 'mpap'", "Did you mean 'pmap'?", "auto"),
    ),
}


def dataset_arrays():
    return INPUTS, {"digit": DIGIT, "up": UP}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_name_gets_the_known_ones_and_the_nearest(case):
    call, parts = UNKNOWN[case]
    refused(call, *parts)


@pytest.mark.parametrize("tasks", [MIXED, TASKS], ids=["regression", "binary"])
def test_a_task_without_its_label_in_the_data(tasks):
    other = dataclasses.replace(tasks[0], name="digits")
    refused(
        lambda: fit(net(digits=3, up=1), (other, tasks[1])),
        "the train split of arrays: task 'digits'",
        "unknown label 'digits'. Did you mean 'digit'? Known: digit, up.",
        "label='...'",
    )


def test_a_task_without_a_head():
    refused(
        lambda: fit(net(digit=3)),
        "task 'up' has no head",
        "Known: digit.",
        "Name heads and tasks alike",
    )


@pytest.mark.parametrize("name", ["digits", "colour"])
def test_a_head_without_a_task(name):
    text = refused(
        lambda: fit(net(**{name: 3, "up": 1})),
        f"a head without a task: unknown task {name!r}",
        "Known: digit, up.",
        "Name heads and tasks alike",
    )
    assert ("Did you mean 'digit'?" in text) == (name == "digits")


def test_no_task_and_two_of_one_name():
    refused(lambda: fit(tasks=()), "no task was given", "at least one Task")
    refused(lambda: fit(tasks=(TASKS[1], TASKS[1])), "must differ", "['up']")


LABELS = {
    "dtype": (
        lambda: fit(given=dataset(digit=DIGIT.astype(np.float32))),
        ("task 'digit'", "needs integer", "they are float32", "astype(np.int32)"),
    ),
    "text": (
        lambda: dataset(digit=np.array(["a", "b"] * 20)),
        ("label 'digit'", "dtype <U1", "Encode strings as integers"),
    ),
    "classes from one": (
        lambda: fit(given=dataset(digit=DIGIT + 1)),
        ("task 'digit'", "lie in [0, 3)", "of 40 do not", "first is 3", "subtract 1"),
    ),
    "a class below zero": (
        lambda: fit(given=dataset(digit=DIGIT - 1)),
        ("task 'digit'", "lie in [0, 3)", "first is -1", "Mark missing labels"),
    ),
    "minus one and one": (
        lambda: fit(given=dataset(up=2 * UP - 1)),
        ("task 'up'", "must be 0 or 1", "first is -1", "map -1/+1 to 0/1"),
    ),
    "one-hot": (
        lambda: fit(given=dataset(digit=np.eye(3, dtype=np.int32)[DIGIT])),
        ("task 'digit'", "labels of shape (8, 3)", "pass labels.argmax(-1)"),
    ),
    "an axis too many": (
        lambda: fit(given=dataset(digit=DIGIT[:, None])),
        ("task 'digit'", "labels of shape (8, 1)", "labels.squeeze(-1)"),
    ),
    "two columns": (
        lambda: fit(given=dataset(up=np.stack([UP, UP], 1))),
        ("task 'up'", "(8, 1)", "labels of shape (8, 2)", "2 outputs instead of 1"),
    ),
    "another length": (
        lambda: dataset(digit=DIGIT[:39]),
        ("split 'train'", "inputs 40", "label 'digit' 39", "one row an example"),
    ),
    "mask of another dtype": (
        lambda: dataset(masks={"digit": np.ones(40, int)}),
        ("mask 'digit'", "dtype int64", "expected bool (40,)"),
    ),
    "mask without a label": (
        lambda: dataset(masks={"digits": np.ones(40, bool)}),
        ("mask 'digits'", "belongs to no label", "Labels: digit, up"),
    ),
    "NaN among the inputs": (
        lambda: dataset(inputs=changed(INPUTS, ([3, 7], [1, 0]), np.nan)),
        ("split 'train'", "inputs: 2 of 40", "NaN", "index 3", "Clean or drop"),
    ),
    "infinite input": (
        lambda: data.from_arrays(changed(INPUTS, (5, 0), np.inf), {"up": UP}),
        ("inputs: 1 of 40", "infinity", "index 5", "Clean or drop"),
    ),
    "NaN among the labels": (
        lambda: dataset(up=changed(REAL, 5, np.nan)),
        ("label 'up': 1 of 40", "NaN", "index 5", "masks={'up': bool array}"),
    ),
    "NaN in a test split": (
        lambda: dataset(test=(INPUTS, {"digit": DIGIT, "up": REAL * np.nan})),
        ("split 'test'", "label 'up': 40 of 40", "masks={'up': bool array}"),
    ),
    "no label by a mask of the data": (
        lambda: fit(given=dataset(masks={"digit": np.zeros(40, bool)})),
        ("train split", "task 'digit' has no label at all", "40", "Leave the task out"),
    ),
    "no label by a mask of the task": (
        lambda: fit(
            tasks=(mtl_jax.classification("digit", 3, mask=lambda y: y > 5), TASKS[1])
        ),
        ("train split", "task 'digit' has no label at all", "40", "Leave the task out"),
    ),
    "no label in the validation split": (
        lambda: fit(
            given=dataset(
                validation=(*dataset_arrays(), {"up": np.zeros(40, bool)}),
            )
        ),
        ("the validation split of arrays", "task 'up' has no label at all"),
    ),
    "no examples": (
        lambda: dataset(INPUTS[:0], DIGIT[:0], UP[:0]),
        ("split 'train'", "inputs are empty", "(0, 4)", "at least one example"),
    ),
    "no labels for the data": (
        lambda: data.from_arrays(INPUTS, {}),
        ("labels are empty", "name at least one"),
    ),
    "a split that would be empty": (
        lambda: data.from_arrays(INPUTS[:4], {"up": UP[:4]}),
        ("split 'test' would be empty", "of 4 examples", "Give more examples"),
    ),
    "a batch larger than the set": (
        lambda: fit(batch_size=64),
        ("a batch of 64", "the set of 40 examples", "batch_size to at most 40"),
    ),
    "an empty batch": (
        lambda: fit(batch_size=0),
        ("batch_size 0", "at least 1 example"),
    ),
    "a batch that the devices cannot share": (
        lambda: fit(parallel="pmap", batch_size=12),
        ("a batch of 12", "over 8 devices", "a multiple of 8", "parallel='jit'"),
    ),
}


@pytest.mark.parametrize("case", LABELS)
def test_data_that_cannot_be_trained_on(case):
    call, parts = LABELS[case]
    refused(call, *parts)


@pytest.mark.parametrize(
    ("widths", "tasks", "given", "parts"),
    [
        (
            {"digit": 1, "up": 1},
            TASKS,
            {},
            ("loss 'softmax_cross_entropy'", "(8, 1)", "one output per class"),
        ),
        (  # a class without a logit would make every loss NaN, and skip every step
            {"digit": 2, "up": 1},
            TASKS,
            {},
            ("num_outputs=3", "(8, 2)", "3 outputs instead of 2"),
        ),
        (
            {"digit": 4, "up": 1},
            TASKS,
            {},
            ("num_outputs=3", "(8, 4)", "3 outputs instead of 4"),
        ),
        (
            {"digit": 3, "up": 2},
            TASKS,
            {},
            ("'sigmoid_cross_entropy'", "(8, 2)", "(8,)", "use softmax_cross_entropy"),
        ),
        (
            {"digit": 3, "up": 2},
            MIXED,
            {"up": REAL},
            ("loss 'mse'", "outputs of shape (8, 2)", "1 output instead of 2"),
        ),
    ],
)
def test_a_head_that_does_not_fit_its_loss(widths, tasks, given, parts):
    who = "task 'up'" if widths["up"] == 2 else "task 'digit'"
    refused(lambda: fit(net(**widths), tasks, dataset(**given)), who, *parts)


def test_the_outputs_are_also_checked_by_the_evaluation():
    model = mtl_jax.models.from_linen(net(digit=2, up=1))
    state = start(model, methods.make("equal"), optax.sgd(0.1))
    evaluate = train.make_evaluation(model, TASKS, parallel="jit")
    refused(lambda: evaluate(state, dataset().train, 8), "task 'digit'", "(8, 2)")


def test_a_model_that_does_not_say_what_is_shared():
    refused(lambda: fit(nn.Dense(3)), "Dense does not say", "shared_names")


# ---- the work dir ----------------------------------------------------------------


def test_a_work_dir_that_is_a_file(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    refused(
        lambda: fit(workdir=file),
        str(file),
        "cannot be written",
        "Not a directory",
        "Give a directory that can be written",
    )
    assert file.read_text() == "mine"


def test_a_work_dir_of_another_run(tmp_path):
    fit(workdir=tmp_path)
    refused(
        lambda: fit(workdir=tmp_path, batch_size=10),
        "batch_size was 8, is 10",
        "Resume with the saved values, or start a new run in another directory",
    )
    refused(
        lambda: fit(small(width=9), workdir=tmp_path),
        f"{tmp_path}/checkpoints/5 is of another model",
        "shared: checkpoint float32[4,4], model float32[4,9]",
        "use another directory",
    )


WORKDIRS = """
    import ctypes, os, resource, signal, sys, tempfile
    from pathlib import Path
    import mtl_jax
    from mtl_jax import checkpoint, data
    from mtl_jax.models import MLP, HardSharing
    import flax.linen as nn, numpy as np

    made = data.from_splits((np.ones((8, 4)), {"up": np.arange(8) % 2}))
    model = HardSharing(MLP((400, 400)), {"up": nn.Dense(1)})

    def give_up_root_s_access():
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
        assert libc.capget(header, sets) == 0
        sets[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert libc.capset(header, sets) == 0

    def attempt(name, workdir):
        try:
            mtl_jax.fit(model, [mtl_jax.binary("up")], made, parallel="jit",
                        epochs=1, batch_size=8, workdir=workdir)
            print(name, "|", "no error")
        except ValueError as error:
            print(name, "|", type(error).__name__, "|", error)

    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        root.chmod(0o755)
        (root / "closed").mkdir(mode=0o555)
        (root / "unreadable" / "checkpoints").mkdir(parents=True)
        (root / "unreadable" / "checkpoints").chmod(0o000)
        child = os.fork()
        if not child:
            if os.geteuid() == 0:  # to whom no permission is denied
                give_up_root_s_access()
            attempt("closed", root / "closed")
            attempt("unreadable", root / "unreadable")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        attempt("full", root / "full")
        (root / "closed").chmod(0o755)
        (root / "unreadable" / "checkpoints").chmod(0o755)
"""


def test_a_work_dir_that_is_closed_unreadable_or_full():
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WORKDIRS)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(mtl_jax.__file__).parents[1],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    lines = {line.split(" | ")[0]: line for line in answer.stdout.splitlines()}
    assert set(lines) == {"closed", "unreadable", "full"}, answer
    assert "/closed/checkpoints cannot be written: PermissionError" in lines["closed"]
    assert "Give a directory that can be written" in lines["closed"]
    assert "/unreadable/checkpoints cannot be" in lines["unreadable"]
    assert "Give a directory that can be" in lines["unreadable"]
    assert "the checkpoint of step 1 was not saved to" in lines["full"]
    assert "Steps still there: []" in lines["full"]
    assert "and save again" in lines["full"]


# ---- data sets that are not on disk -----------------------------------------------


@pytest.fixture
def offline(monkeypatch):
    def connect(*arguments):
        raise AssertionError(f"the network was asked for {arguments}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


def test_our_set_that_is_not_on_disk_gets_a_command_that_works(
    offline, tmp_path, capsys
):
    text = refused(
        lambda: data.load("mnist", data_dir=tmp_path / "data"),
        f"dataset 'mnist' is not prepared under {tmp_path}/data",
        "train-images-idx3-ubyte.gz",
        "Nothing is downloaded",
        error=FileNotFoundError,
    )
    command = next(line for line in text.splitlines() if "mtl-jax" in line).strip()
    assert (
        command == f"mtl-jax data prepare mnist --from DIR --data-dir {tmp_path}/data"
    )
    (tmp_path / "empty").mkdir()
    arguments = shlex.split(command.replace("DIR ", f"{tmp_path}/empty "))[1:]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert "lacks 4 of the 4 files of 'mnist'" in said
    assert "run the command again" in said


def test_another_set_that_is_not_on_disk(offline, tmp_path):
    refused(
        lambda: data.load("cifar10", data_dir=tmp_path),
        "dataset 'cifar10' (60,000 photographs, 32x32, 10 classes)",
        f"not on disk under {tmp_path}",
        "nothing is downloaded",
        f"tfds.builder('cifar10', data_dir='{tmp_path}').download_and_prepare(",
        error=FileNotFoundError,
    )
    refused(
        lambda: data.load("mnsit", data_dir=tmp_path),
        "Did you mean 'mnist'?",
        error=FileNotFoundError,
    )


def test_a_directory_that_is_no_set(offline, tmp_path):
    refused(
        lambda: data.load(tmp_path),
        f"{tmp_path} is not the directory of a prepared set",
        "dataset_info.json",
        "Give the directory with the version number",
        error=FileNotFoundError,
    )


# ---- losses that are not finite ---------------------------------------------------


def start(model, method, optimizer):
    return states.initial(model, method, optimizer, INPUTS[:1], 2, 0)


def overflowing(*steps):
    """Data whose loss overflows in these steps of every run with batches of 8."""
    batches = data.Batches(40, 8, seed=0)
    rows = [batches.indices(step)[0] for step in steps]
    return dataset(up=changed(REAL, rows, OVERFLOW))


@pytest.mark.parametrize(
    "method",
    [
        "uw",
        "famo",
        pytest.param(
            "mgda",
        ),
    ],
)
def test_a_step_that_is_not_finite_changes_nothing(method):
    said = []
    result = fit(
        tasks=MIXED,
        given=overflowing(1, 3),
        method=method,
        log_every=1,
        say=lambda *message: said.append(message),
    )
    model, optimizer = small(), optax.adam(1e-3)
    step = train.make_train_step(
        objective.make_losses(model, MIXED),
        methods.make(method),
        optimizer,
        parallel="jit",
        steps_per_epoch=5,
    )
    state, source = start(model, methods.make(method), optimizer), dataset(up=REAL)
    batches = data.Batches(40, 8, seed=0)
    for number in range(5):
        if number in (1, 3):
            state = dataclasses.replace(state, step=state.step + 1)
        else:
            state, _ = step(state, source.train.take(batches.indices(number)))
    for part in ("shared", "specific", "optimizer", "weighting"):
        expected, found = getattr(state, part), getattr(result.state, part)
        jax.tree.map(np.testing.assert_array_equal, found, expected)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    assert int(result.state.skipped) == 2
    train_rows = [row for row in result.history if row["split"] == "train"]
    assert [row["skipped_steps"] for row in train_rows] == [0, 1, 1, 2, 2]
    assert all(np.isfinite(row["digit/loss"]) for row in (train_rows[0], train_rows[2]))
    assert [level for level, _ in said] == ["warning", "warning"]
    assert "skipped 1 of the steps up to 2 (1 in all)" in said[0][1]
    assert "(2 in all)" in said[1][1]


def test_a_run_that_only_skips_stops_and_says_that_nothing_was_saved(tmp_path):
    given = dataset(up=np.full(40, OVERFLOW))
    call = {"tasks": MIXED, "given": given, "max_skipped": 3}
    parts = (
        "stopped at step 3",
        "not finite in the last 3 steps",
        "max_skipped=3",
        "smaller learning rate",
    )
    refused(
        lambda: fit(**call),
        *parts,
        "Nothing was saved: there is no work dir",
        error=train.TrainingDiverged,
    )
    refused(
        lambda: fit(**call, workdir=tmp_path),
        *parts,
        f"There is no checkpoint yet in {tmp_path}/checkpoints",
        error=train.TrainingDiverged,
    )


def test_a_run_that_diverges_names_a_checkpoint_that_restores(tmp_path):
    good = fit(tasks=MIXED, given=dataset(up=REAL), workdir=tmp_path)
    text = refused(
        lambda: fit(
            tasks=MIXED,
            given=dataset(up=np.full(40, OVERFLOW)),
            workdir=tmp_path,
            epochs=4,
            max_skipped=3,
            checkpoint_every=1,
        ),
        "not finite in the last",
        f"The last good checkpoint is {tmp_path}/checkpoints/5.",
        error=train.TrainingDiverged,
    )
    assert "clipped gradients" in text
    with checkpoint.Checkpoints(tmp_path / "checkpoints", read_only=True) as found:
        assert found.steps() == [5]
        restored = found.restore_step(5, like=good.state)
    for part in ("shared", "specific", "optimizer", "weighting"):
        jax.tree.map(
            np.testing.assert_array_equal,
            getattr(restored.state, part),
            getattr(good.state, part),
        )
    again = fit(tasks=MIXED, given=dataset(up=REAL), workdir=tmp_path, epochs=2)
    assert int(again.state.step) == 10 and int(again.state.skipped) == 0


def test_a_state_amid_skipped_steps_is_not_saved(tmp_path):
    said = []
    fit(
        tasks=MIXED,
        given=overflowing(1, 4),
        workdir=tmp_path,
        checkpoint_every=2,
        keep_last=9,
        say=lambda *message: said.append(message),
    )
    # Steps 2 and 5 (the last of the epoch) were skipped.
    with checkpoint.Checkpoints(tmp_path / "checkpoints", read_only=True) as found:
        assert found.steps() == [4]
    assert (
        "warning",
        "step 2 is not saved: its losses or gradients are not finite",
    ) in said
    assert (
        "warning",
        "step 5 is not saved: its losses or gradients are not finite",
    ) in said
    went_on = []
    result = fit(
        tasks=MIXED,
        given=dataset(up=REAL),
        workdir=tmp_path,
        epochs=2,
        say=lambda *message: went_on.append(message),
    )
    assert went_on[0] == ("info", "going on from the checkpoint of step 4")
    assert int(result.state.skipped) == 1
    assert not [text for level, text in went_on if level == "warning"]


@pytest.mark.parametrize("rate", [1e20, np.inf], ids=["huge", "infinite"])
def test_parameters_that_an_update_ruined_are_not_the_last_good_ones(tmp_path, rate):
    tasks = tuple(dataclasses.replace(task, metrics=()) for task in TASKS)
    # The update of step 10, the last of epoch 2, ruins the parameters.
    ruined = optax.sgd(lambda count: jax.numpy.where(count == 9, rate, 0.01))
    refused(
        lambda: fit(
            tasks=tasks,
            given=dataset(validation=dataset_arrays()),
            optimizer=ruined,
            workdir=tmp_path,
            epochs=5,
            max_skipped=3,
        ),
        "not finite in the last",
        f"The last good checkpoint is {tmp_path}/checkpoints/5.",
        error=train.TrainingDiverged,
    )


# ---- arguments of another kind ----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"tasks": TASKS[0]}, ("fit takes a list of tasks", "mtl_jax.classification")),
        ({"tasks": ["digit"]}, ("fit takes a list of tasks", "'digit'")),
        ({"given": ("x", "y")}, ("fit takes a mtl_jax.data.Dataset", "tuple")),
        ({"method": 3}, ("a weighting method or its name", "found 3")),
        ({"method": methods.uw}, ("Call the factory",)),
        ({"optimizer": "adam"}, ("an optimizer of optax", "'adam'")),
    ],
)
def test_arguments_of_another_kind(arguments, parts):
    refused(lambda: fit(**arguments), *parts, error=TypeError)


def test_a_generator_of_tasks_will_do():
    assert fit(tasks=(task for task in TASKS)).tasks == tuple(TASKS)


def test_losses_and_metrics_of_another_kind():
    refused(
        lambda: mtl_jax.Task("up", loss="mse"), "losses.make('mse')", error=TypeError
    )
    refused(
        lambda: mtl_jax.binary("up", metrics=("accuracy",)),
        "metrics.accuracy()",
        error=TypeError,
    )


def test_numbers_that_the_device_cannot_hold():
    for value in (np.full(4, 5_000_000_000), np.full(4, 1e300)):
        refused(
            lambda value=value: data.ArraySource(np.ones((4, 2)), {"up": value}),
            "label 'up' has values from",
            "Scale them",
        )
    data.ArraySource(np.ones((4, 2)), {"up": np.arange(4)})


def test_without_say_warnings_are_python_warnings():
    given = dataset(up=np.full(40, OVERFLOW))
    with (
        pytest.warns(UserWarning, match="skipped 3 of the steps up to 3"),
        pytest.raises(train.TrainingDiverged),
    ):
        fit(tasks=MIXED, given=given, max_skipped=3, say=None)


def test_fewer_epochs_than_were_trained(tmp_path):
    fit(epochs=2, workdir=tmp_path)
    refused(
        lambda: fit(epochs=1, workdir=tmp_path),
        "(epoch 2); 1 epochs were asked for",
        "Ask for more epochs, or name another work dir",
    )


HOLDER = """
    import sys, time
    from pathlib import Path
    from mtl_jax.train.lock import Lock
    held = Lock(Path(sys.argv[1]))
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_work_dir_is_of_one_process_at_a_time(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)]
    root = Path(mtl_jax.__file__).parents[1]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root
    ) as other:
        assert other.stdout.readline() == "held\n"
        refused(
            lambda: fit(workdir=tmp_path),
            f"the work dir {tmp_path} is in use by another process",
            f"(number {other.pid})",
            "name another work dir",
        )
        other.kill()
        other.wait()
        fit(workdir=tmp_path)  # the lock is gone with its holder

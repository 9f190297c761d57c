"""An exported predict says what the model says, in a process without the library."""

import json
import subprocess
import sys
import types
import zipfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl_jax import cli, data, deploy, models, tasks, train, weighting

TASKS = (
    tasks.classification("class", 3),
    tasks.binary("yes"),
    tasks.regression("size", units=(3.0, 2.0)),
    tasks.count("visits"),
    tasks.ordinal("stars", 4),
)
HEADS = {task.name: nn.Dense(task.num_outputs) for task in TASKS}
EXAMPLE = jax.ShapeDtypeStruct((1, 6), "uint8")

WITHOUT_THE_LIBRARY = """
import sys

class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("mtl_jax", "flax", "optax", "orbax"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Blocked())
path, inputs, output = sys.argv[1:]
sys.path.insert(0, path)
import mtl_exported
import numpy as np

predict = mtl_exported.load(path)
images = np.load(inputs)
found = {}
for count in (1, 7):
    for name, value in predict(images[:count]).items():
        found[f"{count} {name}"] = value
with open(output, "wb") as file:
    np.savez(file, **found)
"""


def trained_model(module, task_list=TASKS):
    model = models.from_linen(module)
    state = train.state.initial(
        model, weighting.make("equal"), optax.sgd(0.1), EXAMPLE, len(task_list), 0
    )
    return model, state


def inputs(count):
    return np.random.default_rng(1).integers(0, 255, (count, 6)).astype(np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs on the digits, through the command line."""
    root = tmp_path_factory.mktemp("export")
    data.prepare("digits", data_dir=root / "data")
    arguments = ["train.parallel=jit", "train.epochs=2", f"data.data_dir={root}/data"]
    assert not cli.main(
        ["train", "configs/digits.py", "--workdir", f"{root}/run", "--set", *arguments]
    )
    return root / "run"


def test_in_a_process_without_the_library_it_is_predict(run, tmp_path, capsys):
    path = tmp_path / "digits.zip"
    images = data.load("digits", data_dir=run.parent / "data").test.inputs[:7]
    np.save(tmp_path / "images.npy", images)
    np.savez(tmp_path / "images.npz", inputs=images)
    # As on the command line, in one process
    assert not cli.main(["export", str(run), "--output", str(path)])
    assert (
        "digit, above_five; 50,955 parameters, 203,820 bytes" in capsys.readouterr().out
    )
    predictions = str(tmp_path / "predicted.npz")
    given = ["--input", str(tmp_path / "images.npz"), "--output", predictions]
    assert not cli.main(["predict", str(run), *given])
    # A modality of other models is not passed over in silence.
    assert cli.main(["predict", str(run), *given, "--set", "data.missing=text"]) == 2
    assert "hides modalities of the trunk 'cross_modal'" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_LIBRARY, path, "images.npy", "out.npz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    with np.load(predictions) as whole, np.load(tmp_path / "out.npz") as found:
        assert len(found.files) == 2 * len(whole.files) == 12
        for key in found.files:
            count, name = key.split(" ")
            assert found[key].shape == whole[name][: int(count)].shape
            np.testing.assert_allclose(
                found[key], whole[name][: int(count)], rtol=1e-4, atol=1e-5
            )


def test_heads_that_were_not_asked_for_are_not_in_the_file(run, tmp_path, capsys):
    path = str(tmp_path / "one.zip")
    command = ["export", str(run), "--output", path, "--tasks", "above_five"]
    assert not cli.main([*command, "--weights", "int8", "--check", "test"])
    printed = capsys.readouterr().out
    assert "49,665 parameters" in printed and "as int8" in printed
    off = float(printed.split("above_five: outputs off by ")[1].partition("%")[0])
    assert 0 < off < 2, "measured, and small"
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        about = json.loads(file.read("model.json"))
    assert not any("heads_digit" in name for name in names)
    assert "weights/specific/heads_above_five/kernel:int8.npy" in names
    assert list(about["tasks"]) == ["above_five"]
    assert about["tasks"]["above_five"]["kind"] == "binary"
    assert about["tasks"]["above_five"]["answers"]["prediction"]["shape"] == ["batch"]
    assert about["platforms"] == ["cpu", "cuda", "tpu"]
    assert cli.main([*command[:-1], "even"]) == 2
    assert "unknown task of this model 'even'" in capsys.readouterr().err


def test_every_kind_of_answer_of_alike_heads_and_others(tmp_path):
    model, state = trained_model(models.HardSharing(models.MLP((5,)), HEADS))
    x = inputs(4)
    raw = train.predict(model, state, x)
    for names in ([], ["stars", "yes"]):
        path = tmp_path / "all.zip"
        about = deploy.export_predict(
            model, state, TASKS, EXAMPLE, path, task_names=names, platforms=["cpu"]
        )
        found = deploy.load(path)(x)
        for task in [TASKS[4], TASKS[1]] if names else TASKS:
            want = {"outputs": raw[task.name], **train.decide(task, raw[task.name])}
            assert set(about["tasks"][task.name]["answers"]) == set(want)
            for key, value in want.items():
                np.testing.assert_allclose(
                    found[f"{task.name}/{key}"], value, rtol=1e-4, atol=1e-5
                )
    assert {key.partition("/")[0] for key in found} == {"stars", "yes"}
    assert about["weights"]["parameters"] == 6 * 5 + 5 + (5 + 1) * (3 + 1)


def test_a_model_without_a_representation(tmp_path):
    """A task's own tower is left out; what the chain reads stays."""
    pair = (tasks.binary("first"), tasks.binary("second"))
    heads = {t.name: nn.Dense(1, param_dtype=jnp.bfloat16) for t in pair}
    net = models.AITM(models.MLP((4,)), heads, (3,))
    model, state = trained_model(net, pair)
    how = {"task_names": ["first"], "platforms": ["cpu"]}
    about = deploy.export_predict(
        model, state, pair, EXAMPLE, tmp_path / "aitm.zip", **how
    )
    everything = sum(a.size for a in jax.tree.leaves((state.shared, state.specific)))
    assert about["weights"]["parameters"] < everything
    x = inputs(3)
    found = deploy.load(tmp_path / "aitm.zip")(x)
    want = train.predict(model, state, x)["first"]
    np.testing.assert_allclose(found["first/outputs"], want, rtol=1e-4, atol=1e-5)


def test_inputs_and_files_that_do_not_fit(run, tmp_path):
    path = tmp_path / "digits.zip"
    model, state = trained_model(models.HardSharing(models.MLP((5,)), HEADS))
    deploy.export_predict(model, state, TASKS, EXAMPLE, path, platforms=["cpu"])
    predict = deploy.load(path)
    for wrong, message in (
        (np.zeros((2, 5), np.uint8), r"have shape \[2, 5\]; the model takes \[N, 6\]"),
        (np.zeros((0, 6), np.uint8), "N at least 1"),
        (np.zeros((2, 6)), "are float64; the model takes uint8"),
        (np.full((2, 6), 300), "hold numbers that uint8 has not"),
        ({"tokens": np.zeros((2, 6))}, "have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(wrong)
    shapes = {name: {"shape": [2], "dtype": "float32"} for name in ("a", "b")}
    two = deploy.reader.Predict(
        {"inputs": shapes}, types.SimpleNamespace(call=dict), {}
    )
    with pytest.raises(ValueError, match=r"different lengths: {'a': 3, 'b': 1}; give"):
        two({"a": np.zeros((3, 2)), "b": np.zeros((1, 2))})
    with pytest.raises(FileNotFoundError, match="there is no exported model"):
        deploy.load(tmp_path / "nowhere.zip")
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(ValueError, match="it is not a zip"):
        deploy.load(tmp_path / "text")


def test_the_report_of_a_run(run, capsys):
    assert not cli.main(["report", str(run)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["parameters", "bytes", "FLOPs", "an", "example"]
    assert [line[0] for line in lines[1:]] == ["shared", "digit", "above_five", "all"]
    assert lines[2][1:] == ["1,290", "5,160", "2,570"]  # 128 x 10 + 10
    assert lines[3][1:] == ["129", "516", "257"]

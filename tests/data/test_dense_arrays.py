"""Images with dense labels by path, in the layout of NYUv2's arrays."""

from pathlib import Path

import numpy as np
import pytest

from mtl_jax import config, data, run

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "dense.py"
H, W = 12, 10


def scenes(count, seed):
    """Bright pixels are of class 1, and near."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=(count, H, W, 3)).astype(np.float32)
    bright = image[..., 0] > 0.5
    label = np.where(rng.uniform(size=bright.shape) < 0.1, -1, bright)
    normal = np.zeros((count, H, W, 3), np.float32)
    normal[..., 2] = 1
    return {
        "image": image,
        "label": label.astype(np.float64),  # as they are handed round
        "depth": (2.0 - bright)[..., None].astype(np.float64),
        "normal": normal,
    }


@pytest.fixture
def folder(tmp_path):
    for split, count, seed in (("train", 12, 0), ("val", 5, 1)):
        for name, arrays in scenes(count, seed).items():
            (tmp_path / split / name).mkdir(parents=True)
            for i, array in enumerate(arrays):
                np.save(tmp_path / split / name / f"{i}.npy", array)
    return tmp_path


def make(folder, **arguments):
    return data.recipes.make("dense_arrays", path=str(folder), **arguments)


def test_the_arrays_are_those_of_the_files(folder):
    made, wanted = make(folder), scenes(12, 0)
    assert (len(made.train), len(made.test), made.validation) == (12, 5, None)
    np.testing.assert_array_equal(made.train.inputs, wanted["image"])
    np.testing.assert_array_equal(made.train.labels["segment"], wanted["label"])
    np.testing.assert_array_equal(
        made.train.labels["distance"], wanted["depth"][..., 0]
    )
    np.testing.assert_array_equal(made.test.labels["normals"], scenes(5, 1)["normal"])
    assert made.train.labels["segment"].dtype == np.int32
    assert made.train.labels["distance"].dtype == np.float32
    assert made.facts["tasks"]["segment"] == {"kind": "segmentation", "num_classes": 2}


def test_quantities_of_one_file_and_names_of_ones_own(tmp_path):
    (tmp_path / "first").mkdir()
    wanted = scenes(4, 3)
    np.save(tmp_path / "first" / "grey.npy", wanted["image"][..., 0])
    np.save(tmp_path / "first" / "heat.npy", wanted["depth"])
    made = make(
        tmp_path,
        image="grey",
        tasks={"warmth": "heat", "edges": "edge"},
        kinds={"warmth": "depth", "edges": "segmentation"},
        splits={"train": "first", "test": "second"},
    )
    assert made.train.inputs.shape == (4, H, W, 1)
    assert list(made.train.labels) == ["warmth"]
    assert made.test is None


def test_the_config_trains_on_a_folder(folder, tmp_path):
    settings = config.override(
        config.load(CONFIG),
        [
            f"data.path={folder}",
            "model.trunk_args.features=16",
            "model.trunk_args.dilations=(1,)",
            "train.epochs=25",
            "train.batch_size=4",
            "train.parallel=jit",
            "optimizer.learning_rate=0.02",
        ],
    )
    result = run.train_run(settings, tmp_path / "run")
    losses = [row["mean_loss"] for row in result.history if row["split"] == "test"]
    assert losses[-1] < 0.8 * losses[0]
    # Which of two classes, and one of two distances, can be read off the pixel.
    assert result.test["segment/pixel_accuracy"] > 0.75
    assert result.test["distance/abs_error"] < 0.4


@pytest.mark.parametrize(
    ("damage", "error", "text"),
    [
        (
            lambda d: (d / "train" / "depth" / "3.npy").unlink(),
            FileNotFoundError,
            "3.npy",
        ),
        (
            lambda d: np.save(d / "train" / "depth" / "3.npy", np.zeros((4, 4))),
            ValueError,
            r"3.npy has the shape \(4, 4\)",
        ),
        (
            lambda d: [(d / "val" / "label" / f"{i}.npy").unlink() for i in (3, 4)],
            ValueError,
            r"arrays \(3, 12, 10\) for task 'segment' of kind 'segmentation'",
        ),
        (
            lambda d: np.save(d / "val" / "label" / "0.npy", np.full((H, W), 7)),
            ValueError,
            "classes -1 to 7 of task 'segment' in test; there are 2",
        ),
        (lambda d: (d / "train").rename(d / "tr"), FileNotFoundError, "Set data.path"),
        (
            lambda d: [
                (d / "train" / n).rename(d / "train" / f"x{n}")
                for n in ("label", "depth", "normal")
            ],
            FileNotFoundError,
            "none of the quantities .'depth', 'label', 'normal'.; found .'image', 'xd",
        ),
    ],
)
def test_what_is_wrong_is_named(folder, damage, error, text):
    damage(folder)
    with pytest.raises(error, match=text):
        make(folder)


def test_what_is_asked_for_is_not_there(folder):
    with pytest.raises(ValueError, match="needs a folder: say which"):
        data.recipes.make("dense_arrays")
    with pytest.raises(ValueError, match="unknown kind of task 'distance' 'deep'"):
        make(folder, kinds={"distance": "deep"})

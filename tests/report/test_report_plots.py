import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import image

from mtl_jax.report import drawing, plots

ALL = ["losses.png", "metrics.png", "task_weights.png"]


def run(tasks, rate=1.0, scale=1.0, count=80):
    rows = []
    for step in range(1, count + 1):
        row = {"step": step, "epoch": 1 + step // 20, "split": "train"}
        for index, task in enumerate(tasks):
            row[f"{task}/loss"] = scale * float(np.exp(-rate * step / 20)) + index
            row[f"{task}/weight"] = 1.0 + index * step / count
        rows.append(row)
        if step % 20 == 0:
            row = {"step": step, "epoch": step // 20, "split": "validation"}
            for index, task in enumerate(tasks):
                row[f"{task}/loss"] = 0.1 + index
                row[f"{task}/accuracy"] = 1 - float(np.exp(-rate * step / 20))
            rows.append(row)
    return rows


def pixels(path):
    """Red, green and blue as one number, `[height, width]`."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    rgb = np.rint(image.imread(path)[..., :3] * 255).astype(np.uint32)
    return rgb @ np.array([1 << 16, 1 << 8, 1], np.uint32)


def has_colour(picture, colour):
    return int((picture == int(colour[1:], 16)).sum())


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_all_three_pictures_show_every_task(tmp_path, count):
    tasks = [f"task_{index}" for index in range(count)]
    paths = plots.draw(run(tasks), tmp_path / "plots", tasks)
    assert [path.name for path in paths] == ALL
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ALL
    for path in paths:
        picture = pixels(path)
        assert picture.shape[0] < 3000 and picture.shape[1] < 3000
        for index in range(min(count, len(drawing.COLOURS))):
            assert has_colour(picture, drawing.colour(index)) > 30, (path, index)
        for index in range(count, 6):
            assert has_colour(picture, drawing.colour(index)) == 0


def test_pictures_follow_the_data_and_nothing_else(tmp_path):
    tasks = ["digit", "five"]
    one = plots.draw(run(tasks), tmp_path / "1", tasks)
    same = plots.draw(list(reversed(run(tasks))), tmp_path / "2", tasks)
    other = plots.draw(run(tasks, rate=3.0), tmp_path / "3", tasks)
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(pixels(a), pixels(b))
    for a, b in list(zip(one, other, strict=True))[:2]:
        assert (pixels(a) != pixels(b)).sum() > 100


def test_holes_single_points_and_nothing_at_all(tmp_path):
    rows = [
        {"step": 5, "split": "train", "a/loss": 1.0, "b/loss": None},
        {"step": 6, "split": "train", "a/loss": float("inf")},
        {"step": 5, "split": "validation", "a/accuracy": None, "a/loss": 0.5},
    ]
    (path,) = plots.draw(rows, tmp_path, ["a", "b"])
    assert path.name == "losses.png"
    assert has_colour(pixels(path), drawing.colour(0)) > 20
    assert has_colour(pixels(path), drawing.colour(1)) == 0
    assert plots.draw([], tmp_path / "none", ["a"]) == []


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.001, 1.0], "log"),
        ([0.5, 1.0], "linear"),
        ([-0.001, 1.0], "linear"),
        ([0.0, 1.0], "linear"),
        ([], "linear"),
    ],
)
def test_the_scale_is_logarithmic_where_positive_values_spread(values, scale):
    _, (axis,) = drawing.panels(1, "title", columns=1, size=(3, 2))
    drawing.curve(axis, list(range(len(values))), values, "#000000")
    drawing.fit_scale([axis], values)
    assert axis.get_yscale() == scale


def test_weights_of_one_value_and_below_zero(tmp_path):
    for weights in ([1.0, 1.0], [-0.5, 2.0], [1e-5, 3.0], [0.0, 0.0]):
        rows = [
            {"step": step, "split": "train", "a/weight": weight}
            for step, weight in enumerate(weights)
        ]
        (path,) = plots.draw(rows, tmp_path, ["a"])
        assert has_colour(pixels(path), drawing.colour(0)) > 100


def test_odd_names_are_drawn_as_they_are(tmp_path):
    tasks = ["_hidden", "$x", "$a$", "数字", "n" * 90]
    assert len(plots.draw(run(tasks), tmp_path, tasks)) == 3
    few = tasks[:4]
    assert len(plots.draw(run(few), tmp_path, few)) == 3
    assert len(drawing.label("n" * 90)) <= 24


def test_a_smoothed_curve_keeps_level_and_length():
    assert drawing.running_mean([2.0] * 200) == pytest.approx([2.0] * 200)
    noisy = np.random.default_rng(0).normal(size=600)
    smooth = drawing.running_mean(list(noisy))
    assert len(smooth) == 600 and np.std(smooth) < 0.4 * np.std(noisy)
    assert smooth[300] == pytest.approx(np.mean(noisy[290:311]))


def test_the_users_matplotlib_stays_as_it_is(tmp_path):
    with matplotlib.rc_context({"text.usetex": True, "lines.linewidth": 33.0}):
        before = dict(matplotlib.rcParams)
        plots.draw(run(["a"]), tmp_path / "strange", ["a"])
        assert dict(matplotlib.rcParams) == before
    plots.draw(run(["a"]), tmp_path / "usual", ["a"])
    for name in ALL:
        a, b = pixels(tmp_path / "strange" / name), pixels(tmp_path / "usual" / name)
        np.testing.assert_array_equal(a, b)


def test_no_backend_is_chosen_and_nothing_heavy_is_imported_early(tmp_path):
    code = f"""
import sys
from mtl_jax import report
heavy = {{"matplotlib", "tensorboardX", "rich"}}
assert not [name for name in sys.modules if name.split(".")[0] in heavy - {{"rich"}}]
report.draw([{{"step": 1, "split": "train", "a/loss": 1.0}}], {str(tmp_path)!r}, ["a"])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)

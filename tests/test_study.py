"""Programs of several runs: each is run once, those before it are at hand."""

import dataclasses
import runpy
from pathlib import Path

import pytest

from mtl_jax import config, data, study
from mtl_jax.config.files import to_plain

FOLDER = Path(__file__).resolve().parents[1] / "configs"
PROGRAMS = ("adding_a_task", "distillation", "transfer")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_settings_of_every_run_of_a_program(name, tmp_path):
    """Strict, all different, and each begins with runs before it."""
    program = runpy.run_path(str(FOLDER / f"{name}.py"))
    places = {run: tmp_path / f"{run}-1" for run in program["RUNS"]}
    seen: list = []
    for run, make in program["RUNS"].items():
        settings = make(1, places)
        plain = to_plain(settings)
        assert to_plain(config.from_plain(config.Config, plain)) == plain
        assert settings.seed == 1
        used = {settings.transfer.init_from, settings.distil.teacher} - {None}
        assert used <= {str(places[before]) for before, _ in seen}
        different = {**plain, "name": ""}
        assert different not in [other for _, other in seen]
        seen.append((run, different))
    text = (FOLDER / f"{name}.py").read_text().split('"""')[1]
    assert f"python configs/{name}.py" in text
    assert "±" in text and "core" in text


def test_a_study_runs_what_is_not_there_yet(tmp_path):
    data.prepare("digits", data_dir=tmp_path / "data")
    base = config.override(
        config.load(FOLDER / "digits.py"),
        [
            "train.parallel=jit",
            "train.epochs=1",
            "model.trunk_args.features=[8]",
            f"data.data_dir={tmp_path}/data",
        ],
    )

    def first(seed, places):
        return dataclasses.replace(base, seed=seed)

    def second(seed, places):
        start = config.TransferConfig(str(places["first"]))
        return dataclasses.replace(base, seed=seed, transfer=start)

    runs = {"first": first, "second": second}
    rows = study.study(runs, tmp_path / "study", seeds=[4])
    files = sorted((tmp_path / "study").glob("*/metrics.jsonl"))
    before = [file.stat().st_mtime_ns for file in files]
    assert study.study(runs, tmp_path / "study", seeds=[4]) == rows
    assert [file.stat().st_mtime_ns for file in files] == before
    changed = {"first": lambda *given: dataclasses.replace(first(*given), seed=5)}
    with pytest.raises(ValueError, match=r"holds a run with other settings:\n  seed"):
        study.study(changed, tmp_path / "study", seeds=[4])
    assert rows["second"][0]["digit/loss"] < rows["first"][0]["digit/loss"]
    lines = study.table(rows, ["digit/loss", "digit/auc"]).splitlines()
    assert lines[1].split() == ["first", f"{rows['first'][0]['digit/loss']:.4f}", "-"]

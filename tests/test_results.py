"""The page of results: what is run for it, and how its tables are made."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from mtl_jax import config, data

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(FOLDER))
    try:
        import bench_programs
        import bench_results
        import results
    finally:
        sys.path.remove(str(FOLDER))
    return results, bench_results, bench_programs


def settings(**budget):
    return config.Config(
        "tiny",
        config.DataConfig("digits"),
        (
            config.TaskConfig("a", "classification", num_outputs=3),
            config.TaskConfig("b", "binary"),
        ),
        train=config.TrainConfig(epochs=4, batch_size=8, **budget),
    )


def both(policy="max"):
    rng = np.random.default_rng(0)

    def own(count, label, top):
        inputs = rng.normal(size=(count, 5)).astype(np.float32)
        return data.from_splits(
            (inputs, {label: rng.integers(0, top, count)}),
            test=(inputs[:4], {label: np.arange(4) % top}),
        )

    return data.per_task({"a": own(40, "a", 3), "b": own(24, "b", 2)}, policy=policy)


def test_a_task_alone_has_its_own_examples_and_as_many_steps(scripts):
    results, *_ = scripts
    joint, dataset = settings(), both()
    steps = 4 * data.order(dataset.train, 8, seed=0).steps_per_epoch
    for task, count in (("a", 40), ("b", 24)):
        chosen = next(t for t in joint.tasks if t.name == task)
        changed, examples = results.alone(joint, dataset, chosen)
        assert (len(examples.train), list(examples.train.labels)) == (count, [task])
        assert (len(examples.test), examples.train.masks) == (4, {})
        assert changed.train.batch_size == 4, "its part of a batch"
        own = changed.train.epochs * (count // 4)
        assert abs(own - steps) <= count // 4 // 2
        assert changed.method.name == "equal"


def test_missing_labels_are_left_out_of_a_task_alone(scripts):
    results, *_ = scripts
    known = np.arange(20) % 4 > 0
    dataset = data.from_splits(
        (np.eye(20), {"a": np.arange(20) % 3, "b": np.arange(20) % 2}, {"b": known})
    )
    changed, examples = results.alone(settings(), dataset, settings().tasks[1])
    assert len(examples.train) == 15
    assert changed.train.batch_size == 8


def test_a_program_runs_its_method_others_and_each_task(scripts):
    results, _, bench_programs = scripts
    chosen = dataclasses.replace(
        settings(), model=config.ModelConfig(trunk_args={"features": (64, 32)})
    )
    program = bench_programs.Program(
        "tiny",
        methods=("uw", "equal"),
        variants={"weight 3": ["tasks.b.weight=3"]},
        architectures=("mmoe", "cgc"),
    )
    found = list(results.runs("tiny", chosen, both(), program))
    assert [(what["method"], what.get("task")) for what, _, _ in found] == [
        ("equal", None),
        ("uw", None),
        ("equal, weight 3", None),
        ("equal", None),
        ("equal", None),
        ("single task", "a"),
        ("single task", "b"),
    ]
    assert [what.get("architecture") for what, *_ in found[2:5]] == [
        None,
        "mmoe",
        "cgc",
    ]
    assert [t.weight for t in found[2][1].tasks] == [1, 3]
    assert [[t.name for t in s.tasks] for _, s, _ in found[-2:]] == [["a"], ["b"]]
    of = {s.model.architecture: s.model for _, s, _ in found}
    # 384 + 2080 + 99 + 33 = 2596; 192 + 4 * 528 + 2 * 128 + 51 + 17 = 2628, and
    # 186 + 4 * 512 + 2 * 124 + 68 = 2550 with a layer of 31.
    assert of["mmoe"].trunk_args["features"] == [32]
    assert of["mmoe"].architecture_args["expert_features"] == [16]


def test_a_run_tells_the_metrics_of_the_test_split(scripts):
    results, bench_results, _ = scripts
    chosen = dataclasses.replace(
        settings(), model=config.ModelConfig(trunk_args={"features": (4,)})
    )
    row = {"program": "tiny", "method": "equal", "seed": 0}
    row |= results.run(chosen, both(), 0)
    assert {"a/accuracy", "b/auc"} <= set(row["test"])
    assert row["metrics"]["a"]["accuracy"] is True
    assert "tiny equal 0: a/accuracy" in bench_results.line(row)


def rows():
    return rows_of("tiny, variant")


def rows_of(program):
    metrics = {"a": {"accuracy": True, "f1": True}, "b": {"rmse": False}}
    for seed, (a, b) in enumerate([(0.8, 2.0), (0.6, 4.0)]):
        common = {"program": program, "seed": seed, "seconds": 3.0}
        yield {
            **common,
            "method": "equal",
            "parameters": 9,
            "metrics": metrics,
            "test": {"a/accuracy": a, "a/f1": 0.1, "b/rmse": b},
        }
        for task, value in (("a", 0.5), ("b", 2.0)):
            name = next(iter(metrics[task]))
            yield {
                **common,
                "method": "single task",
                "parameters": 7,
                "task": task,
                "metrics": {task: metrics[task]},
                "test": {f"{task}/{name}": value},
            }


def test_the_table_has_means_spreads_and_both_conventions(scripts):
    _, bench_results, _ = scripts
    lines = bench_results.table("tiny, variant", list(rows())).splitlines()
    assert lines[3] == "`configs/tiny.py`, seeds 0, 1"
    assert lines[5:] == [
        "| | single task | equal |",
        "| --- | --- | --- |",
        "| a/accuracy ↑ | 0.500 ± 0.000 | 0.700 ± 0.141 |",
        "| b/rmse ↓ | 2.000 ± 0.000 | 3.000 ± 1.414 |",
        # (0.7 - 0.5) / 0.5 = +40 %, (3 - 2) / 2 = 50 % worse: mean 5 % worse.
        "| Δm over metrics ↓ |  | +5.00 % |",
        "| Δm over tasks ↑ |  | -5.00 % |",
        "| parameters | 14 | 9 |",
        "| CPU seconds a run | 6 | 3 |",
    ]


def test_architectures_have_a_table_of_their_own(scripts):
    _, bench_results, _ = scripts
    found = list(rows())
    joint = [row for row in found if row["method"] == "equal"]
    for row, (a, b) in zip(joint, [(0.5, 1.0), (0.5, 1.0)], strict=True):
        test = {"a/accuracy": a, "b/rmse": b}
        found.append({**row, "architecture": "mmoe", "parameters": 8, "test": test})
    lines = bench_results.table("tiny, variant", found).splitlines()
    assert lines[5] == "| | single task | equal |"
    assert lines[7] == "| a/accuracy ↑ | 0.500 ± 0.000 | 0.700 ± 0.141 |"
    assert lines[-5:] == [
        "",
        "| architecture | a/accuracy ↑ | b/rmse ↓ | Δm over tasks ↑ | parameters |",
        "| --- | --- | --- | --- | --- |",
        "| hard_sharing | 0.700 ± 0.141 | 3.000 ± 1.414 | -5.00 % | 9 |",
        "| mmoe | 0.500 ± 0.000 | 1.000 ± 0.000 | +25.00 % | 8 |",
    ]


def test_of_many_tasks_there_is_the_mean(scripts):
    _, bench_results, _ = scripts
    names = [f"t{i}" for i in range(20)]
    row = {
        "program": "many",
        "method": "equal",
        "seconds": 1.0,
        "parameters": 1000,
        "metrics": {name: {"rmse": False} for name in names},
    }
    runs = [
        {
            **row,
            "seed": seed,
            "test": {f"{n}/rmse": i + seed for i, n in enumerate(names)},
        }
        for seed in (0, 2)
    ]
    lines = bench_results.table("many", runs).splitlines()
    assert lines[7] == "| mean of 20 tasks, rmse ↓ | 10.500 ± 1.414 |"
    assert lines[-2] == "| parameters | 1,000 |"
    assert not any("t3/rmse" in line for line in lines)


@pytest.mark.filterwarnings("ignore:skipped")
def test_a_run_that_diverges_is_told(scripts):
    results, bench_results, _ = scripts
    chosen = dataclasses.replace(
        settings(),
        model=config.ModelConfig(trunk_args={"features": (4,)}),
        optimizer=config.OptimizerConfig("sgd", 1e30),
        train=config.TrainConfig(epochs=40, batch_size=8),
    )
    row = {"program": "tiny", "method": "equal", "seed": 0}
    row |= results.run(chosen, both(), 0)
    assert bench_results.line(row).startswith("tiny equal 0: diverged")
    page = bench_results.table("tiny", [*rows_of("tiny"), row])
    assert "| runs that diverged |  | 1 |" in page


def test_a_record_is_read_and_its_page_written(scripts, tmp_path):
    import json

    _, bench_results, _ = scripts
    record = tmp_path / "record.jsonl"
    assert bench_results.read(record) == []
    record.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    assert len({bench_results.key(row) for row in bench_results.read(record)}) == 6
    bench_results.write(record, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Results")
    assert "## tiny" in page


def test_configs_that_compare_speak_for_themselves(scripts):
    del scripts
    sys.path.insert(0, str(FOLDER))
    try:
        import bench_studies
    finally:
        sys.path.remove(str(FOLDER))
    text = """One task a step.

Commands:

    mtl-jax data prepare mnist
    mtl-jax train configs/turns.py

Ten epochs.

    | run | a     |
    | this | 1 ± 0 |

    joint   2 ± 1
"""
    assert (
        bench_studies.section("turns.py", text)
        == """
### One task a step

`configs/turns.py`

Ten epochs.

| run | a     |
| this | 1 ± 0 |

    joint   2 ± 1
"""
    )
    found = "".join(bench_studies.sections())
    for name in ("transfer", "distillation", "alternating", "cross_modal"):
        assert f"`configs/{name}.py`" in found
    assert "`configs/three_heads.py`" not in found

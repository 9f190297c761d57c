"""The methods against the golden values, and the checker against mistakes."""

import copy
import json
import subprocess
import sys

import golden
import golden_checks
import golden_strategies
import jax
import numpy as np
import pytest


@pytest.fixture(scope="module")
def public(shared_dir):
    return golden.read(shared_dir / "golden" / "public.json")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", golden.DTYPES)
def test_every_method_has_the_golden_values(public, dtype):
    if dtype == "float32":  # of float64 all, and here what half of the time takes
        sizes = {name: case["T"] for name, case in public["cases"].items()}
        some = [e for e in public["entries"] if sizes[e["case"]] in (5, 20)]
        public = {**public, "entries": some}
    report = golden.check(public, dtype)
    assert not report.failures, str(report)
    entries = public["entries"]
    wanted = [e for e in entries if golden_checks.relative(e, dtype) is not None]
    wanted += [e for e in entries if golden_checks.is_statistical(e)]
    assert report.checked >= len(wanted)
    assert report.checked + len(report.skips) == len(entries)
    # Where the file says that methods may differ, ours do not.
    assert not [id for id, why in report.skips.items() if "but is optional" in why]
    # Two nearly parallel gradients, whose difference float32 does not have.
    assert set(report.lost) <= {
        "aligned_mtl/scale_mode=rmse,pref=uniform 1/T/parallel_eps1e-3_T2_D10"
    }
    strategies = {e["strategy"] for e in entries}
    assert strategies == set(golden_strategies.STRATEGIES)
    assert {f"{s}.d" for s in strategies}.isdisjoint(report.not_compared)
    assert {f"{s}.w" for s in strategies}.isdisjoint(report.not_compared)


def small(**changes):
    """A file with one entry: the sum of two gradients."""
    entry = {
        "id": "sum/one",
        "case": "one",
        "strategy": "sum",
        "hyper": {},
        "expected": {"d": [1.0, 2.0, 3.0], "w": [1.0, 1.0]},
        "w_unique": True,
        "tolerance": {"d_rel_f64": 1e-12, "d_rel_f32": 1e-5, "d_abs": 0.0},
        **changes,
    }
    jacobian = [[1.0, 0.0, 4.0], [0.0, 2.0, -1.0]]
    case = {"T": 2, "D": 3, "J": jacobian, "L": [1.0, 1.0]}
    return {"cases": {"one": case}, "entries": [entry]}


def test_it_finds_the_right_answer():
    for dtype in golden.DTYPES:
        report = golden.check(small(), dtype)
        assert str(report) == "checked 1, failed 0, skipped 0"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"expected": {"d": [1.0, 2.0, 3.0001]}}, "d expected"),
        ({"expected": {"d": [1.0, 2.0]}}, "d has shape (3,), expected (2,)"),
        ({"expected": {"d": [1.0, 2.0, 3.0], "w": [1.0, 1.001]}}, "w expected"),
        ({"expected": {"d": [1.0, 2.0, float("nan")]}}, "d expected"),
        ({"expected": {"nonsense": 1}}, "nothing to compare"),
        ({"strategy": "summ"}, "unknown strategy 'summ'. Did you mean 'sum'?"),
        ({"strategy": "cagrad", "hyper": {"e": 1.0}}, "unknown hyper-parameter"),
        ({"strategy": "pcgrad", "hyper": {"order": "down"}}, "unknown order"),
        ({"strategy": "pcd", "hyper": {"call": 2}}, "unknown hyper-parameter"),
    ],
)
def test_it_fails_where_something_is_wrong(changes, text, tmp_path, capsys):
    file = tmp_path / "golden.json"
    file.write_text(json.dumps(small(**changes)))
    assert golden.main([str(file), "--dtype", "float32"]) == 1
    out = capsys.readouterr().out
    assert "FAIL sum/one: " in out
    assert text in out
    assert out.splitlines()[-1] == "checked 1, failed 1, skipped 0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expected": None, "undefined": "0/0"}, "undefined: 0/0"),
        ({"expected": None}, "undefined: nothing is expected"),
        ({"tolerance": {"d_rel_f64": None}}, "no tolerance in float64"),
        ({"d_unique": False}, "d is not unique"),
        (
            {"optional": "rank deficient", "expected": {"d": [1.0, 2.0, 4.0]}},
            "but is optional: rank deficient",
        ),
    ],
)
def test_it_skips_only_what_the_file_leaves_open(changes, reason):
    report = golden.check(small(**changes), "float64")
    assert reason in report.skips["sum/one"]
    assert str(report).endswith("checked 0, failed 0, skipped 1")


def test_an_error_is_a_failure_even_where_the_entry_is_optional():
    changes = {"optional": "perhaps", "strategy": "mgda", "hyper": {"normal": "l2"}}
    report = golden.check(small(**changes), "float64")
    assert "unknown hyper-parameter" in report.failures["sum/one"][0]


def test_weights_that_float32_cannot_have_are_told_from_wrong_ones():
    rows = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.03]])
    values, vectors = np.linalg.eigh(rows @ rows.T)
    half = np.full(2, 0.5)
    w = np.sqrt(values.mean()) * vectors @ (vectors.T @ half / np.sqrt(values))
    entry = {"id": "a", "case": "one", "strategy": "aligned_mtl"}
    entry |= {"hyper": {"scale_mode": "rmse"}, "w_unique": True}
    entry |= {"tolerance": {"d_rel_f32": 1e-4, "d_rel_f64": 1e-4}}
    case = {"T": 2, "D": 3, "J": rows.tolist(), "L": [1.0, 1.0]}
    for factor, bad in ((1.0, False), (2.0, True)):
        expected = {"d": (w @ rows).tolist(), "w": (factor * w).tolist()}
        file = {"cases": {"one": case}, "entries": [{**entry, "expected": expected}]}
        report = golden.check(file, "float32")
        assert bool(report.failures) == bad, str(report)
        assert bool(report.lost) != bad
        assert bool(golden.check(file, "float64").failures) == bad


@pytest.mark.parametrize(
    ("found", "expected", "good"),
    [
        ([[1.0, 0.0], [0.0, 1e-3]], [[1.0, 0.0], [0.0, 1e-3]], True),
        ([[1.0, 0.0], [0.0, 1e-3]], [[1.0, 0.0], [0.0, 1.1e-3]], False),
        ([np.nan, 1.0], [1.0, 1.0], False),
        ([1.0, 1.0], [np.inf, 1.0], False),
    ],
)
def test_a_comparison_looks_at_every_row(found, expected, good):
    for norm in ("length", "largest"):
        check = golden_checks.Check("d", found, expected, 1e-3, norm=norm)
        assert (check.wrong() is None) == good


def test_wrong_golden_values_of_every_strategy_are_found(public):
    """One entry a strategy, with each comparable value off by a hundredth."""
    entries, seen = [], set()
    for entry in public["entries"]:
        rel = golden_checks.relative(entry, "float64")
        known = rel is not None and entry["case"].startswith(("normal_T3", "seq_T3"))
        if known and entry["strategy"] not in seen and not entry.get("optional"):
            seen.add(entry["strategy"])
            entries.append(copy.deepcopy(entry))
    for entry in entries:
        for key in ("d", "w"):
            if key in entry["expected"]:
                entry["expected"][key] = (
                    1.01 * np.array(entry["expected"][key])
                ).tolist()
    file = {"cases": public["cases"], "entries": entries}
    report = golden.check(file, "float64")
    assert len(entries) > 30
    assert sorted(report.failures) == sorted(e["id"] for e in entries)


def test_a_wrong_leak_is_found(public):
    entry = next(
        e
        for e in public["entries"]
        if e["strategy"] == "graddrop" and np.max(e["expected"]["d_std"]) > 0.5
    )
    case, check = public["cases"][entry["case"]], golden_strategies.graddrop
    wrong = {**entry, "hyper": {"leak": [0.1] * case["T"]}}
    with jax.enable_x64(True):
        assert all(c.wrong() is None for c in check(entry, case, "float64"))
        assert any(c.wrong() for c in check(wrong, case, "float64"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "holds a list, not an object"),
        ("{", "cannot be read"),
        ('{"cases": {}}', "has no 'entries'"),
        ('{"cases": {}, "entries": []}', "has no entries"),
        ('{"cases": {}, "entries": [1]}', "entry 0 is a int"),
        ('{"cases": {"a": {"T": 2, "D": 1, "J": [[1]]}}, "entries": [{}]}', "shape"),
        ('{"cases": {"a": {}}, "entries": [{}]}', "case 'a' has no number of tasks"),
        (
            '{"cases": {}, "entries": [{"id": "x", "strategy": "sum", "case": "b",'
            ' "hyper": {}}]}',
            "no case 'b'",
        ),
    ],
)
def test_a_file_of_another_kind_is_an_error(text, error, tmp_path, capsys):
    file = tmp_path / "file.json"
    file.write_text(text)
    assert golden.main([str(file)]) == 2
    assert error in capsys.readouterr().err
    assert golden.main([str(tmp_path / "none.json")]) == 2


def test_the_command(tmp_path):
    file = tmp_path / "golden.json"
    file.write_text(json.dumps(small()))
    done = subprocess.run(
        [sys.executable, golden.__file__, str(file), "--dtype", "float32"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "checked 1, failed 0, skipped 0\n"

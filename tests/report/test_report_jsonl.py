import json

import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.report import atomic, jsonl


def row(step, **numbers):
    return {"step": step, "epoch": 1, "split": "train", **numbers}


def steps(path):
    return [r["step"] for r in jsonl.read(path)]


def test_rows_come_back_and_are_on_the_disk_before_close(tmp_path):
    writer = jsonl.JsonlWriter(tmp_path / "deep" / "m.jsonl", resume_from=None)
    writer.write(row(1, **{"digit/loss": 0.5}))
    assert jsonl.read(writer.path) == [row(1, **{"digit/loss": 0.5})]
    writer.close()
    writer.close()


def test_non_finite_numbers_are_null_and_arrays_are_numbers(tmp_path):
    path = tmp_path / "m.jsonl"
    with jsonl.JsonlWriter(path, resume_from=None) as writer:
        writer.write(
            row(
                np.int64(7),
                a=float("nan"),
                b=jnp.inf * jnp.ones(()),
                c=np.float32(0.5),
                d=[1.0, -np.inf],
                e=jnp.float32(0.25),
            )
        )

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found == row(7, a=None, b=None, c=0.5, d=[1.0, None], e=0.25)


def test_a_new_run_replaces_and_a_resumed_run_keeps_what_the_checkpoint_has(tmp_path):
    path = tmp_path / "m.jsonl"
    with jsonl.JsonlWriter(path, resume_from=None) as writer:
        for step in (10, 20, 30, 40):
            writer.write(row(step))
    with jsonl.JsonlWriter(path, resume_from=20) as writer:
        writer.write(row(30, again=True))
    assert steps(path) == [10, 20, 30]
    assert jsonl.read(path)[-1]["again"]
    jsonl.JsonlWriter(path, resume_from=None).close()
    assert steps(path) == []


@pytest.mark.parametrize(
    "tail", [b'{"step": 30, "digit/lo', b"{", b"\x00\x00\x00", b'"text', b"\xff\xfe"]
)
def test_a_half_written_last_line_is_dropped(tmp_path, tail):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 10}\n{"step": 20}\n' + tail)
    assert steps(path) == [10, 20]
    with jsonl.JsonlWriter(path, resume_from=20) as writer:
        writer.write(row(30))
    assert steps(path) == [10, 20, 30]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_broken_line_in_the_middle_is_an_error_and_loses_nothing(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 10}\nnonsense\n{"step": 20}\n')
    before = path.read_text()
    with pytest.raises(ValueError, match="line 2, is not a metrics row"):
        jsonl.JsonlWriter(path, resume_from=10)
    assert path.read_text() == before


def test_resuming_without_a_file_starts_one(tmp_path):
    with jsonl.JsonlWriter(tmp_path / "m.jsonl", resume_from=5) as writer:
        writer.write(row(6))
    assert steps(tmp_path / "m.jsonl") == [6]


def test_a_crash_while_replacing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o640

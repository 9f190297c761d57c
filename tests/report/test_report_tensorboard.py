import struct

import pytest
from tensorboardX.proto import event_pb2

from mtl_jax.report import tensorboard


def events(path):
    raw = path.read_bytes()
    found, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<Q", raw, at)
        found.append(event_pb2.Event.FromString(raw[at + 12 : at + 12 + length]))
        at += 12 + length + 4
    return found


def scalars(path):
    return {
        (value.tag, event.step): value.simple_value
        for event in events(path)
        for value in event.summary.value
    }


def test_every_number_is_a_scalar_and_there_before_close(tmp_path):
    writer = tensorboard.EventWriter(tmp_path / "tb", resume_from=None)
    writer.write(
        {
            "step": 20,
            "epoch": 1,
            "split": "train",
            "digit/loss": 0.5,
            "digit/weight": None,
            "five/loss": float("nan"),
            "examples_per_second": 1000,
        }
    )
    writer.write({"step": 30, "epoch": 1, "split": "validation", "digit/accuracy": 0.9})
    (path,) = (tmp_path / "tb").iterdir()
    assert scalars(path) == {
        ("train/digit/loss", 20): 0.5,
        ("train/examples_per_second", 20): 1000.0,
        ("validation/digit/accuracy", 30): pytest.approx(0.9),
    }
    assert events(path)[0].file_version == "brain.Event:2"
    assert all(event.wall_time > 1e9 for event in events(path))
    writer.close()
    writer.close()


def test_resuming_hides_later_steps_and_keeps_the_first_file(tmp_path):
    with tensorboard.EventWriter(tmp_path, resume_from=None) as writer:
        for step in (1, 2, 3):
            writer.write({"step": step, "split": "train", "a/loss": float(step)})
    (first,) = tmp_path.iterdir()
    with tensorboard.EventWriter(tmp_path, resume_from=2) as writer:
        writer.write({"step": 3, "split": "train", "a/loss": 30.0})
    (second,) = set(tmp_path.iterdir()) - {first}
    assert scalars(first)[("train/a/loss", 3)] == 3.0
    assert scalars(second) == {("train/a/loss", 3): 30.0}
    start = event_pb2.SessionLog.START
    purges = [e.step for e in events(second) if e.session_log.status == start]
    assert purges == [3]
    assert all(e.session_log.status != start for e in events(first))

import itertools
import sys

import numpy as np
import pytest

from mtl_jax import data

SOURCE = data.ArraySource(np.arange(50)[:, None], {"y": np.arange(50)})


def test_the_batches_are_those_of_batches():
    pytest.importorskip("grain", reason="the extra mtl-jax[grain] is not installed")
    plain = data.Batches(50, 8, seed=2)
    for threads in (1, 4):
        stream = data.GrainBatches(SOURCE, 8, seed=2, threads=threads)
        for step, batch in enumerate(itertools.islice(stream.iterate(), 20)):
            np.testing.assert_array_equal(batch["labels"]["y"], plain.indices(step))
            np.testing.assert_array_equal(batch["inputs"][:, 0], plain.indices(step))


def test_it_resumes_at_any_step():
    pytest.importorskip("grain", reason="the extra mtl-jax[grain] is not installed")
    stream = data.GrainBatches(SOURCE, 8, seed=2)
    whole = [batch["labels"]["y"] for batch in stream.iterate(0, 15)]
    assert len(whole) == 15
    for start in (1, 6, 13):
        again = data.GrainBatches(SOURCE, 8, seed=2)
        again.check_position(stream.position(start))
        rest = [batch["labels"]["y"] for batch in again.iterate(start, 15)]
        np.testing.assert_array_equal(rest, whole[start:])
    with pytest.raises(ValueError, match="seed was 2, is 3"):
        data.GrainBatches(SOURCE, 8, seed=3).check_position(stream.position(4))


def test_from_disk(digits_root):
    pytest.importorskip("grain", reason="the extra mtl-jax[grain] is not installed")
    source = data.open_source("digits", "train", data_dir=digits_root)
    memory = data.load("digits", data_dir=digits_root).train
    stream = data.GrainBatches(source, 64, seed=0)
    for step, batch in enumerate(stream.iterate(0, 5)):
        expected = memory.take(data.Batches(len(memory), 64, seed=0).indices(step))
        np.testing.assert_array_equal(batch["inputs"], expected["inputs"])
        np.testing.assert_array_equal(
            batch["labels"]["label"], expected["labels"]["label"]
        )


def test_without_grain(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r"pip install 'mtl-jax\[grain\]'"):
        data.GrainBatches(SOURCE, 8, seed=0)

import dataclasses
import gzip
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from mtl_jax import data
from mtl_jax.data import locate, preparation, registry
from mtl_jax.data.builders import idx

# Prepares digits as usual, but stops for ever in the middle of the first split.
STOP_HALF_WAY = """
import dataclasses, sys, time
from mtl_jax import data

spec = data.DATASETS["digits"]

def slow(examples):
    for number, item in enumerate(examples):
        if number == 100:
            print("half way", file=sys.stderr, flush=True)
            time.sleep(600)
        yield item

def read(folder):
    return {name: slow(part) for name, part in spec.read(folder).items()}

data.DATASETS["digits"] = dataclasses.replace(spec, read=read)
data.prepare("digits", data_dir=sys.argv[1])
"""

MNIST = registry.get("mnist")
PREPARE = "import sys; from mtl_jax import data; data.prepare('digits', data_dir={!r})"


def visible(root):
    return sorted(path.name for path in root.iterdir() if path.name != preparation.LOCK)


def test_digits_are_those_of_scikit_learn(digits_root):
    from sklearn import datasets

    made = data.load("digits", data_dir=digits_root)
    parts = [made.split(name) for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [1258, 269, 270]
    images = np.concatenate([part.inputs for part in parts])
    assert images.dtype == np.uint8
    assert images.shape[1:] == (8, 8, 1)
    labels = np.concatenate([part.labels["label"] for part in parts])
    above = np.concatenate([part.labels["above_five"] for part in parts])
    np.testing.assert_array_equal(above, labels > 5)
    original = datasets.load_digits()
    found = {(i.tobytes(), int(label)) for i, label in zip(images, labels, strict=True)}
    pixels = original.images.astype(np.uint8)
    expected = {
        (image.tobytes(), int(label))
        for image, label in zip(pixels, original.target, strict=True)
    }
    assert found == expected
    for part, share in zip(parts, (0.70, 0.15, 0.15), strict=True):
        counts = np.bincount(part.labels["label"]) / np.bincount(labels)
        np.testing.assert_allclose(counts, share, atol=0.005)


def test_digits_prepared_again_are_the_same(digits_root, tmp_path):
    first = data.load("digits", data_dir=digits_root)
    second = data.load("digits", data_dir=tmp_path)  # prepares on first use
    assert data.is_prepared("digits", tmp_path)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(
            first.split(name).inputs, second.split(name).inputs
        )


def test_what_the_registry_says_is_true(digits_root):
    import tensorflow_datasets

    spec = registry.get("digits")
    builder = tensorflow_datasets.builder_from_directory(digits_root / "digits/1.0.0")
    assert {n: s.num_examples for n, s in builder.info.splits.items()} == spec.splits
    for name, described in spec.features.items():
        feature = builder.info.features[name]
        assert feature.shape == described["shape"]
        assert np.dtype(feature.np_dtype).name == described["dtype"]
    found = data.info("digits", digits_root)
    assert found["prepared"]
    assert found["path"] == digits_root / "digits" / "1.0.0"
    assert found["tasks"]["above_five"] == {"kind": "binary"}


def test_listing(digits_root):
    rows = {row["name"]: row for row in data.listing(digits_root)}
    assert list(rows) == list(registry.DATASETS)
    assert rows["digits"]["prepared"]
    assert rows["digits"]["bytes"] > 100_000
    assert not rows["mnist"]["prepared"]
    assert rows["mnist"]["bytes"] == 0


def test_the_default_directory_is_that_of_tfds(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert data.info("digits")["path"] == tmp_path / "digits" / "1.0.0"
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate.data_root() == tmp_path / "tensorflow_datasets"


def test_killed_half_way_and_prepared_again(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", STOP_HALF_WAY, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("half way" in line for line in child.stderr)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stderr.close()
    assert not data.is_prepared("digits", tmp_path)
    leftovers = visible(tmp_path)
    assert len(leftovers) == 1  # a hidden staging folder, and nothing else
    assert leftovers[0].startswith(".mtl_jax_preparing_digits_")
    data.prepare("digits", data_dir=tmp_path)
    assert visible(tmp_path) == ["digits"]
    assert len(data.load("digits", data_dir=tmp_path).train) == 1258


def test_two_processes_prepare_at_once(tmp_path):
    code = PREPARE.format(str(tmp_path))
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert visible(tmp_path) == ["digits"]
    assert data.is_prepared("digits", tmp_path)


def test_a_failed_preparation_leaves_nothing(tmp_path, monkeypatch):
    spec = registry.get("digits")

    def fail(folder):
        yield next(iter(spec.read(folder)["train"]))
        raise RuntimeError("no more")

    broken = dataclasses.replace(spec, read=lambda folder: {"train": fail(folder)})
    with monkeypatch.context() as patch:
        patch.setitem(data.DATASETS, "digits", broken)
        with pytest.raises(RuntimeError, match="no more"):
            data.prepare("digits", data_dir=tmp_path)
    assert visible(tmp_path) == []


def test_unknown_name(tmp_path):
    with pytest.raises(
        ValueError, match=r"unknown dataset 'digit'\. Did you mean 'dig"
    ):
        data.prepare("digit", data_dir=tmp_path)


def test_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot create the data directory"):
        data.prepare("digits", data_dir=tmp_path / "file" / "below")


def test_directory_in_the_way(digits_root, tmp_path):
    target = tmp_path / "digits" / "1.0.0"
    target.mkdir(parents=True)
    with pytest.raises(ValueError, match="exists but is not a prepared set"):
        data.prepare("digits", data_dir=tmp_path)
    shutil.copytree(digits_root / "digits" / "1.0.0", target, dirs_exist_ok=True)
    (target / "digits-test.array_record-00000-of-00001").unlink()
    assert not data.is_prepared("digits", tmp_path)
    with pytest.raises(
        ValueError, match=r"is incomplete: digits-test\.array_record-0000"
    ):
        data.load("digits", data_dir=tmp_path)


def test_mnist_says_what_to_run(tmp_path):
    names = [file.name for file in MNIST.files]
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", data_dir=tmp_path)
    text = str(caught.value)
    assert f"mtl-jax data prepare mnist --from DIR --data-dir {tmp_path}" in text
    assert all(name in text for name in names)
    with pytest.raises(ValueError, match="mtl-jax data prepare mnist --from DIR"):
        data.prepare("mnist", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere is not a directory"):
        data.prepare("mnist", source_dir=tmp_path / "nowhere", data_dir=tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / names[0]).write_bytes(b"")
    (source / names[3].removesuffix(".gz")).write_bytes(b"")
    with pytest.raises(FileNotFoundError) as caught:
        data.prepare("mnist", source_dir=source, data_dir=tmp_path)
    assert f"lacks 2 of the 4 files of 'mnist': {names[1]}, {names[2]}." in str(
        caught.value
    )


HEADER = bytes([0, 0, 8, 1, 0, 0, 0, 3])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"file is not an idx file: it starts with the bytes \(empty\)"),
        (b"<html>", "starts with the bytes 3c 68 74 6d"),
        (HEADER + bytes(2), "holds 2 bytes of data, its header promises 3"),
        (HEADER + bytes(4), "holds 4 bytes of data, its header promises 3"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 4, *range(4)]), r"shape \(4,\), expected \(3,\)"),
    ],
)
def test_what_is_no_idx_file(content, text):
    with pytest.raises(ValueError, match=text):
        idx.parse(content, (3,), "file")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.float32])
def test_idx_dtypes_are_read_in_native_order(dtype):
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13}
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    header = bytes([0, 0, codes[array.dtype.name], 2, 0, 0, 0, 2, 0, 0, 0, 3])
    body = array.astype(array.dtype.newbyteorder(">")).tobytes()
    found = idx.parse(header + body, (2, 3), "file")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_damaged_mnist_files(mnist_source, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for file in MNIST.files:
        (source / file.name).symlink_to(mnist_source / file.name)
    first, labels = (MNIST.files[i].name for i in (0, 1))

    def replaced(name, content):
        (source / name).unlink()
        (source / name).write_bytes(content)
        with pytest.raises(ValueError) as caught:
            data.prepare("mnist", source_dir=source, data_dir=tmp_path / "tfds")
        (source / name).unlink()
        (source / name).symlink_to(mnist_source / name)
        assert visible(tmp_path / "tfds") in ([], ["mnist"])
        assert not data.is_prepared("mnist", tmp_path / "tfds")
        return str(caught.value)

    cut = (mnist_source / first).read_bytes()[:-1000]
    assert "train-images-idx3-ubyte.gz (9911422 bytes) is a damaged or incom" in (
        replaced(first, cut)
    )
    content = bytearray(gzip.decompress((mnist_source / labels).read_bytes()))
    content[1000] ^= 1
    text = replaced(labels, bytes(content))  # one wrong label, not zipped
    assert "train-labels-idx1-ubyte.gz is not the published file of MNIST" in text
    assert "Fashion-MNIST" in text
    swapped = (mnist_source / MNIST.files[3].name).read_bytes()
    assert "shape (10000,), expected (60000,)" in replaced(labels, swapped)


@pytest.mark.slow
def test_mnist_is_mnist(mnist_source, mnist_root):
    made = data.load("mnist", data_dir=mnist_root)
    assert made.validation is None
    originals = {}
    for split, part in (("train", "train"), ("t10k", "test")):
        images = gzip.decompress(
            (mnist_source / f"{split}-images-idx3-ubyte.gz").read_bytes()
        )
        labels = gzip.decompress(
            (mnist_source / f"{split}-labels-idx1-ubyte.gz").read_bytes()
        )
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28 * 28)
        originals[part] = np.c_[pixels, np.frombuffer(labels, np.uint8, offset=8)]
    for part, expected in originals.items():
        split = made.split(part)
        assert split.inputs.shape == (len(expected), 28, 28, 1)
        assert split.inputs.dtype == np.uint8
        found = np.c_[split.inputs.reshape(len(expected), -1), split.labels["label"]]
        assert found.dtype == np.int64
        found = found.astype(np.uint8)  # TFDS shuffles: compare as multisets
        order = [np.lexsort(rows.T) for rows in (found, expected)]
        np.testing.assert_array_equal(found[order[0]], expected[order[1]])
    # The order in which stock TFDS 4.9.10 writes the same files.
    assert made.test.labels["label"][:8].tolist() == [2, 0, 4, 8, 7, 6, 0, 6]


@pytest.mark.slow
def test_mnist_has_the_face_of_the_stock_set(mnist_root):
    import tensorflow_datasets as tfds

    stock = tfds.builder("mnist", data_dir=mnist_root)  # the builder of TFDS itself
    assert stock.is_prepared()
    assert str(stock.info.features) == str(
        tfds.builder_from_directory(mnist_root / "mnist/3.0.1").info.features
    )
    assert {n: s.num_examples for n, s in stock.info.splits.items()} == MNIST.splits
    carved = data.load("mnist", data_dir=mnist_root, validation_fraction=0.1, seed=1)
    assert (len(carved.train), len(carved.validation)) == (54000, 6000)

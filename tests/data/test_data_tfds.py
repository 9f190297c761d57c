import io
import json
import os
import shutil

import numpy as np
import pytest

from mtl_jax import data
from mtl_jax.data import cache, locate, records, tfds

ROWS = 60


def png(image):
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="png")
    return buffer.getvalue()


def example(row):
    rng = np.random.default_rng(row)
    shape = (6, 5, 3) if row % 5 else (6, 5)  # some files are grey
    return {
        "image": png(rng.integers(0, 256, shape, dtype=np.uint8)),
        "depth": png(rng.integers(0, 256, (6, 5), dtype=np.uint8)),
        "label": row % 4,
        "attributes": {"young": bool(row % 2), "smiling": bool(row % 3)},
        "box": rng.normal(size=4).astype(np.float32),
        "angle": float(row) / 3,
        "packed": rng.integers(0, 9, (2, 2)).astype(np.int32),
        "words": f"row {row}",
        "free": np.arange(row % 5),
    }


@pytest.fixture(scope="module")
def stock_root(tmp_path_factory):
    """A set with the features of a stock image set, written by TFDS's own writer."""
    import tensorflow_datasets as tfds

    f = tfds.features

    class StockLike(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "stock_like"
        VERSION = tfds.core.Version("2.1.0")

        def _info(self):
            features = {
                "image": f.Image(shape=(6, 5, 3)),
                "depth": f.Image(shape=(6, 5, 1)),
                "label": f.ClassLabel(names=["a", "b", "c", "d"]),
                "attributes": {"young": np.bool_, "smiling": np.bool_},
                "box": f.Tensor(shape=(4,), dtype=np.float32),
                "angle": f.Scalar(dtype=np.float64),
                "packed": f.Tensor(shape=(2, 2), dtype=np.int32, encoding="zlib"),
                "words": f.Text(),
                "free": f.Tensor(shape=(None,), dtype=np.int64),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=f.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            parts = {"train": range(40), "val": range(40, 50), "test": range(50, ROWS)}
            return {n: self._generate_examples(rows) for n, rows in parts.items()}

        def _generate_examples(self, rows):
            for row in rows:
                yield row, example(row)

    root = tmp_path_factory.mktemp("stock")
    builder = StockLike(data_dir=root, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return root


def by_tfds(root, split):
    """The same split as TFDS decodes it, one example at a time."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(root / "stock_like" / "2.1.0")
    return list(builder.as_data_source(split))


FAST = ("label", "depth", "box", "attributes/young", "attributes/smiling", "angle")


@pytest.mark.parametrize("label_keys", [FAST, (*FAST, "packed"), None])
def test_a_stock_directory_reads_as_tfds_reads_it(stock_root, label_keys, monkeypatch):
    monkeypatch.setattr(records, "CHUNK", 7)
    path = stock_root / "stock_like" / "2.1.0"
    made = data.load(path, label_keys=label_keys)
    names = label_keys or (*FAST, "packed")
    assert set(made.train.labels) == set(names)  # neither text nor free shapes
    for split, stored in (("train", "train"), ("validation", "val"), ("test", "test")):
        part, reference = made.split(split), by_tfds(stock_root, stored)
        assert len(part) == len(reference)
        for key, found in {"image": part.inputs, **part.labels}.items():
            expected = reference
            for step in key.split("/"):
                expected = [entry[step] for entry in expected]
            expected = np.stack(expected)
            np.testing.assert_array_equal(found, expected)
            assert found.shape == expected.shape
            assert found.dtype == expected.dtype


def test_palettes_and_alpha_channels_become_colours():
    import PIL.Image
    from tensorflow_datasets.proto import tf_feature_pb2

    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    image = PIL.Image.fromarray(colours)
    palette = image.quantize(256)
    for stored, expected in (
        (image.convert("RGBA"), colours),
        (palette, np.asarray(palette.convert("RGB"))),
    ):
        buffer = io.BytesIO()
        stored.save(buffer, format="png")
        proto = tf_feature_pb2.Feature()
        proto.bytes_list.value.append(buffer.getvalue())
        np.testing.assert_array_equal(records._image_reader("RGB")(proto), expected)


def test_names_versions_and_parents(stock_root):
    names = ["stock_like", "stock_like:2.1.0", stock_root / "stock_like"]
    for name in names:
        assert len(data.load(name, data_dir=stock_root).train) == 40
    with pytest.raises(FileNotFoundError):
        data.load("stock_like:2.2.0", data_dir=stock_root)


def test_the_newest_version_and_configs(tmp_path):
    for place in ("a/1.9.0", "a/1.10.0", "b/small/1.0.0", "c/x/1.0.0", "c/y/1.0.0"):
        (tmp_path / place).mkdir(parents=True)
        for name in (locate.INFO, locate.FEATURES):
            (tmp_path / place / name).write_text("{}")
    assert locate.find("a", tmp_path).name == "1.10.0"
    assert locate.find("a:1.9.0", tmp_path).name == "1.9.0"
    assert locate.find("b", tmp_path) == tmp_path / "b/small/1.0.0"
    assert locate.find("c/y", tmp_path) == tmp_path / "c/y/1.0.0"
    with pytest.raises(
        ValueError, match=r"several configs: x, y. Name one, as in 'c/x'"
    ):
        locate.find("c", tmp_path)


def test_chosen_splits(stock_root):
    made = data.load(
        "stock_like",
        data_dir=stock_root,
        splits={
            "train": "train[:75%]",
            "validation": "train[75%:]",
            "test": "val+test",
        },
    )
    sizes = [len(made.split(n)) for n in ("train", "validation", "test")]
    assert sizes == [30, 10, 20]
    whole = data.load("stock_like", data_dir=stock_root).train
    rows = np.concatenate([made.train.inputs, made.validation.inputs])
    np.testing.assert_array_equal(rows, whole.inputs)


def test_carved_validation(stock_root):
    def carved(seed):
        return data.load(
            "stock_like",
            data_dir=stock_root,
            splits={"train": "train"},
            validation_fraction=0.25,
            seed=seed,
        )

    first, again, other = carved(0), carved(0), carved(1)
    assert (len(first.train), len(first.validation)) == (30, 10)
    np.testing.assert_array_equal(first.validation.inputs, again.validation.inputs)
    assert not np.array_equal(first.validation.inputs, other.validation.inputs)
    rows = {image.tobytes() for image in first.train.inputs}
    assert not rows & {image.tobytes() for image in first.validation.inputs}
    for bad in (0.01, 1.0, -0.5):
        with pytest.raises(ValueError, match="leaves train or validation empty"):
            data.load(
                "stock_like",
                data_dir=stock_root,
                splits={"train": "train"},
                validation_fraction=bad,
            )


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"input_key": "images"}, "unknown feature of 'stock_like' 'images'. Did you"),
        ({"label_keys": ["lable"]}, "Did you mean 'label'? Known: angle, attributes/"),
        ({"splits": {"training": "train"}}, "unknown split 'training'. Did you mean"),
        (
            {"splits": {"train": "tarin"}},
            "split 'tarin', asked for as train, is not in",
        ),
        ({"splits": {"test": "test"}}, "none is train. Say which is, as in splits={"),
        ({"label_keys": ["words"]}, "'words' (Text) holds no numbers"),
        ({"input_key": "words"}, "Features of numbers: angle, attributes/smiling, at"),
        ({"label_keys": ["free"]}, "feature 'free' has examples of different shapes"),
    ],
)
def test_bad_requests(stock_root, request_, text):
    with pytest.raises(ValueError) as caught:
        data.load("stock_like", data_dir=stock_root, **request_)
    assert text in str(caught.value)


def test_a_name_that_is_not_on_disk_fails_at_once(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        data.load("minst", data_dir=tmp_path)
    text = str(caught.value)
    assert "nothing is downloaded" in text
    assert "Did you mean 'mnist'? Known: adult, bike_sharing," in text
    assert f"tfds.builder('minst', data_dir='{tmp_path}')" in text
    assert "file_format='array_record'" in text
    with pytest.raises(FileNotFoundError, match="is not the directory of a prepared"):
        data.load(tmp_path)


def test_tfrecord_directories_say_how_to_prepare_again(digits_root, tmp_path):
    for name, command in (
        ("digits", "mtl-jax data prepare digits --data-dir OTHER_DIR"),
        ("celeb", "tfds.builder('celeb', data_dir='OTHER_DIR')"),
    ):
        path = tmp_path / name / "1.0.0"
        shutil.copytree(digits_root / "digits" / "1.0.0", path)
        info = json.loads((path / locate.INFO).read_text())
        info |= {"fileFormat": "tfrecord", "name": name}
        (path / locate.INFO).write_text(json.dumps(info))
        for asked in (name, path):
            with pytest.raises(ValueError) as caught:
                data.load(asked, data_dir=tmp_path)
            assert "cannot be read without TensorFlow" in str(caught.value)
            assert command in str(caught.value)


def test_damaged_files(digits_root, tmp_path):
    path = tmp_path / "digits" / "1.0.0"
    shutil.copytree(digits_root / "digits" / "1.0.0", path)
    shard = path / "digits-train.array_record-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[5000:60000] = bytes(55000)
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="cannot read split 'train' in"):
        data.load(path)
    (path / locate.INFO).write_text("{")
    with pytest.raises(ValueError, match=r"dataset_info\.json is damaged"):
        data.load(path)


def test_open_source_reads_the_same_rows(stock_root):
    source = data.open_source("stock_like", "train", data_dir=stock_root)
    whole = data.load("stock_like", data_dir=stock_root).train
    batch, expected = source.take([7, 3, 7]), whole.take([7, 3, 7])
    np.testing.assert_array_equal(batch["inputs"], expected["inputs"])
    for name, value in expected["labels"].items():
        np.testing.assert_array_equal(batch["labels"][name], value)
    for bad in ([-1], [40]):
        with pytest.raises(IndexError):
            source.take(bad)


def test_the_cache_is_used_and_never_stale(stock_root, tmp_path, monkeypatch):
    root = tmp_path / "tfds"
    shutil.copytree(stock_root, root)
    path = root / "stock_like" / "2.1.0"
    fresh = data.load("stock_like", data_dir=root)
    assert not (path / cache.FOLDER).exists()  # fast enough without one

    monkeypatch.setattr(tfds, "CACHE_AFTER_SECONDS", -1.0)
    data.load("stock_like", data_dir=root)
    entries = sorted((path / cache.FOLDER).iterdir())
    assert len(entries) == 3  # one a split

    def unused(self):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr(data.RecordSource, "read_all", unused)
        cached = data.load("stock_like", data_dir=root)
        for name in ("train", "validation", "test"):
            first, second = fresh.split(name), cached.split(name)
            rows = np.arange(len(first))
            np.testing.assert_array_equal(first.inputs, second.inputs)
            assert type(second.take(rows)["inputs"]) is np.ndarray
            for label, value in first.labels.items():
                np.testing.assert_array_equal(value, second.labels[label])
        with pytest.raises(AssertionError, match="decoded again"):
            data.load("stock_like", data_dir=root, label_keys=["label"])
        # Prepared again: other times, so the cache is of no use any more.
        shard = path / "stock_like-train.array_record-00000-of-00001"
        os.utime(shard, ns=(1, 1))
        with pytest.raises(AssertionError, match="decoded again"):
            data.load("stock_like", data_dir=root)
    (path / cache.FOLDER / "tmp-killed").mkdir()
    os.utime(path / cache.FOLDER / "tmp-killed", (1, 1))
    data.load("stock_like", data_dir=root)
    left = set((path / cache.FOLDER).iterdir())
    assert len(left) == 3
    assert not left & set(entries)  # the stale ones and the killed one are gone


def test_a_cache_that_cannot_be_written_is_no_error(stock_root, tmp_path, monkeypatch):
    shutil.copytree(stock_root, tmp_path / "tfds")
    monkeypatch.setattr(tfds, "CACHE_AFTER_SECONDS", -1.0)
    (tmp_path / "tfds" / "stock_like" / "2.1.0" / cache.FOLDER).write_text("in the way")
    assert len(data.load("stock_like", data_dir=tmp_path / "tfds").train) == 40

"""Columns of a prepared split, of our sets and of those with stock features."""

import subprocess
import sys

import numpy as np
import pytest

from mtl_jax import data


def example(row):
    return {
        "tokens": [f"word{i}" for i in range(row % 4)],
        "ner": [i % 3 for i in range(row % 4)],
        "text": f"ligne n° {row}",
        "label": row % 2,
        "scores": np.arange(3, dtype=np.float32) * row,
        "free": np.arange(row % 5),
        "pair": {"flag": bool(row % 2), "note": "" if row % 3 else "note"},
        "boxes": [{"x": i, "name": f"box {i}"} for i in range(row % 3)],
    }


@pytest.fixture(scope="module")
def stock_root(tmp_path_factory):
    """A set with the features of stock text sets, written by TFDS's own writer."""
    import tensorflow_datasets as tfds

    f = tfds.features

    class StockText(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "stock_text"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "tokens": f.Sequence(f.Text()),
                "ner": f.Sequence(f.ClassLabel(names=["O", "B", "I"])),
                "text": f.Text(),
                "label": f.ClassLabel(names=["neg", "pos"]),
                "scores": f.Tensor(shape=(3,), dtype=np.float32),
                "free": f.Tensor(shape=(None,), dtype=np.int64),
                "pair": {"flag": np.bool_, "note": f.Text()},
                "boxes": f.Sequence({"x": np.int64, "name": f.Text()}),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=f.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for row in range(30):
                yield row, example(row)

    root = tmp_path_factory.mktemp("stock_text")
    builder = StockText(data_dir=root, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return root


def as_plain(value):
    """What TFDS decodes, as Python's own types."""
    if isinstance(value, dict):
        return {key: as_plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [as_plain(entry) for entry in value]
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    "wanted", [("tokens", "ner", "text", "label", "scores", "pair/note"), None]
)
def test_columns_as_tfds_reads_them(stock_root, wanted):
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(stock_root / "stock_text" / "1.0.0")
    expected = [as_plain(entry) for entry in source.as_data_source("train")]
    found = data.read_columns("stock_text", columns=wanted, data_dir=stock_root)
    names = ["boxes", "free", "label", "ner", "pair/flag", "pair/note"]
    names += ["scores", "text", "tokens"]
    assert list(found) == list(wanted or names)
    for name, column in found.items():
        values = expected
        for step in name.split("/"):
            values = [value[step] for value in values]
        made = column.tolist() if isinstance(column, np.ndarray) else column
        assert [as_plain(value) for value in made] == values
    assert isinstance(found["label"], np.ndarray)
    assert found["scores"].shape == (30, 3)
    assert found["scores"].dtype == np.float32
    assert all(isinstance(word, str) for words in found["tokens"] for word in words)
    assert {entry.dtype for entry in found["ner"]} == {np.dtype(np.int64)}


def test_a_slice_of_a_split(stock_root):
    whole = data.read_columns("stock_text", columns=["text"], data_dir=stock_root)
    part = data.read_columns(
        "stock_text", "train[10:14]", columns=["text"], data_dir=stock_root
    )
    assert part["text"] == whole["text"][10:14]


def test_columns_that_are_not_there(stock_root, digits_root, tmp_path):
    with pytest.raises(
        ValueError, match=r"unknown feature .* 'txt'\. Did you mean 'te"
    ):
        data.read_columns("stock_text", columns=["txt"], data_dir=stock_root)
    with pytest.raises(
        ValueError, match=r"unknown split of 'digits' 'dev'.*validation"
    ):
        data.read_columns("digits", "dev", data_dir=digits_root)
    with pytest.raises(FileNotFoundError, match="mtl-jax data prepare ewt --from DIR"):
        data.read_columns("ewt", data_dir=tmp_path)


def test_the_order_is_that_of_the_spec_in_every_process(digits_root):
    code = (
        "from mtl_jax import data; "
        f"print(*data.read_columns('digits', 'test', data_dir={str(digits_root)!r}), "
        f"*data.load('digits', data_dir={str(digits_root)!r}).test.labels)"
    )
    lines = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert lines == {"image label above_five above_five label\n"}


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("celeb_a", ["40 attributes", "tfds.builder('celeb_a', data_dir='{root}')"]),
        ("conll2003", ["import tensorflow_datasets.text.conll2003; tfds.builder"]),
        ("cityscapes", ["leftImg8bit_trainvaltest.zip", "{root}/downloads/manual"]),
        ("nyu_depth_v2", ["pip install tensorflow tensorflow-datasets h5py"]),
        ("imdb_reviews:1.0.0", ["copy its directory imdb_reviews into {root}"]),
    ],
)
def test_well_known_sets_say_how_to_get_there(tmp_path, name, texts):
    with pytest.raises(FileNotFoundError) as caught:
        data.load(name, data_dir=tmp_path)
    found = str(caught.value)
    assert f"not on disk under {tmp_path}, and nothing is downloaded" in found
    assert "file_format='array_record'" in found
    for text in texts:
        assert text.format(root=tmp_path) in found
    assert "Did you mean" not in found


def test_well_known_sets_are_in_the_catalogue():
    import importlib

    import tensorflow_datasets as tfds

    from mtl_jax.data import catalogue

    present = set(tfds.list_builders(with_community_datasets=False))
    for name, stock in catalogue.STOCK.items():
        if stock.module:
            importlib.import_module(stock.module)
            present |= set(tfds.list_builders(with_community_datasets=False))
        assert name in present

"""The real sets: what their readers find, against an independent look at the files."""

import collections
import csv
import gzip
import io
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mtl_jax import data
from mtl_jax.data import registry
from mtl_jax.data.builders import ewt
from mtl_jax.data.tables import encode, split

SMALL = ("uci_sentiment", "student", "parkinsons", "tox21", "omniglot_small", "wnut17")
"""Sets that are prepared in about two seconds each."""


@pytest.fixture(scope="module")
def originals(shared_dir):
    folder = shared_dir / "data"
    if not folder.is_dir():
        pytest.skip("the original files are not in ../shared/data")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds_sets")


def columns_of(examples):
    """The columns of examples as a reader gives them."""
    columns = collections.defaultdict(list)
    for _, example in examples:
        for name, value in example.items():
            columns[name].append(value)
    return dict(columns)


def readings(originals, name, split=None):
    """The examples of a set straight from its reader, without TFDS."""
    spec = registry.get(name)
    made = {n: columns_of(part) for n, part in spec.read(originals).items()}
    sizes = {n: len(next(iter(columns.values()))) for n, columns in made.items()}
    assert sizes == spec.splits
    for columns in made.values():
        assert list(columns) == list(spec.features)
    return made if split is None else made[split]


def unzipped(path):
    return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize("name", registry.DATASETS)
def test_a_spec_is_whole(name):
    spec = registry.get(name)
    assert re.fullmatch(r"\d+\.\d+\.\d+", spec.version)
    assert spec.licence and spec.source
    assert len(spec.summary) <= 80
    for task, described in spec.tasks.items():
        column = described.get("column", task)
        assert column in spec.features
        assert set(described.get("hides", ())) <= set(spec.features)
        for feature, value in described.get("where", {}).items():
            assert value in spec.features[feature]["classes"]
    for file in spec.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    known = {"shape", "dtype", "num_classes", "classes", "names", "categorical"}
    for feature in spec.features.values():
        assert set(feature) <= known | {"role", "encoding"}


def test_the_documentation_lists_every_set():
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*?\| ([\d,]+)", text, re.M)
    sizes = {n: sum(spec.splits.values()) for n, spec in registry.DATASETS.items()}
    assert {name: int(size.replace(",", "")) for name, size in rows} == sizes


@pytest.mark.parametrize("name", SMALL)
def test_prepared_columns_are_those_of_the_reader(originals, root, name):
    data.prepare(name, source_dir=originals, data_dir=root)
    assert data.is_prepared(name, root)
    spec, made = registry.get(name), readings(originals, name)
    for part, columns in made.items():
        found = data.read_columns(name, part, data_dir=root)
        assert list(found) == list(spec.features)
        rows = collections.Counter()
        for source, sign in ((columns, 1), (found, -1)):
            plain = {key: comparable(spec, key, source[key]) for key in source}
            for row in zip(*plain.values(), strict=True):
                rows[row] += sign
        assert not any(rows.values())  # TFDS shuffles: the same rows, as a multiset


def comparable(spec, name, values):
    """Hashable forms of the values of a feature, read or prepared."""
    feature = spec.features[name]
    if feature.get("encoding") == "png":
        import PIL.Image

        return [
            np.asarray(PIL.Image.open(io.BytesIO(v)).convert("L")).tobytes()
            if isinstance(v, bytes)
            else v.tobytes()
            for v in values
        ]
    if "classes" in feature and isinstance(values[0], str):
        return [feature["classes"].index(value) for value in values]
    if feature["dtype"] == "float32":
        return np.asarray(values, np.float32).tolist()
    if feature["shape"] not in ((), (None,)):
        return [np.asarray(value).tobytes() for value in values]
    return [tuple(v) if isinstance(v, list) else v for v in values]


def test_a_set_is_refused_by_file(originals, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(originals / "student", source, copy_function=shutil.copyfile)
    source.chmod(0o755)
    path = source / "student-por.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"student-por\.csv is not the published file"):
        data.prepare("student", source_dir=source, data_dir=tmp_path / "tfds")
    path.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(ValueError, match=r"student-por\.csv .* incomplete gzip file"):
        data.prepare("student", source_dir=source, data_dir=tmp_path / "tfds")
    path.unlink()
    (source / "student-por.csv.gz").write_bytes(gzip.compress(whole))
    data.prepare("student", source_dir=source, data_dir=tmp_path / "tfds")
    (source / "student-por.csv.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks 1 of the 2 .* student-por\.csv"
    ):
        data.prepare("student", source_dir=source, data_dir=tmp_path / "other")


def test_student(originals):
    found = readings(originals, "student", "train")
    assert collections.Counter(found["course"]) == {
        "mathematics": 395,
        "portuguese": 649,
    }
    # Mean and deviation of the grades as the UCI page's users report them.
    grade = np.array(found["G3"])[:395]
    np.testing.assert_allclose(
        [grade.mean(), grade.std(ddof=1)], [10.42, 4.58], atol=0.01
    )
    assert min(found["age"]) == 15 and max(found["age"]) == 22


def test_uci_sentiment(originals):
    found = readings(originals, "uci_sentiment", "train")
    counts = collections.Counter(zip(found["domain"], found["label"], strict=True))
    assert set(counts.values()) == {500} and len(counts) == 6
    assert not any("\t" in text or "\n" in text for text in found["text"])
    assert found["text"][1] == "Good case, Excellent value."
    # Some reviews contain NEL, which is no end of a line.
    assert sum("\x85" in text for text in found["text"]) == 2


def test_omniglot(originals):
    found = readings(originals, "omniglot_small", "train")
    spec = registry.get("omniglot_small")
    pictures = {}
    for number in (1, 2):
        name = f"images_background_small{number}.zip"
        with zipfile.ZipFile(originals / "omniglot_small" / name) as archive:
            for path in archive.namelist():
                if path.endswith(".png"):
                    pictures[path.partition("/")[2]] = archive.read(path)
    assert len(pictures) == len(found["image"]) == 4840
    keys = zip(*(found[n] for n in ("alphabet", "character", "drawer")), strict=True)
    for image, (alphabet, character, drawer) in zip(found["image"], keys, strict=True):
        (path,) = (p for p in (f"{alphabet}/character{character + 1:02}",))
        assert image in pictures.values()
        assert any(
            name.startswith(path) and name.endswith(f"_{drawer:02}.png")
            for name, content in pictures.items()
            if content == image
        )
    for task in spec.tasks.values():
        rows = np.array(found["alphabet"]) == task["where"]["alphabet"]
        characters = np.array(found["character"])[rows]
        counts = np.bincount(characters)
        assert (counts == 20).all()  # every drawer once
        assert len(counts) == task["num_classes"]


def test_qmnist(originals):
    spec = registry.get("qmnist")
    made = {}
    for part, examples in spec.read(originals).items():
        first = [example for _, (_, example) in zip(range(50), examples, strict=False)]
        name = {"train": "train", "test": "t10k"}[part]
        images = unzipped(originals / "mnist" / f"{name}-images-idx3-ubyte.gz")
        raw = unzipped(
            originals / "qmnist_labels" / f"qmnist-{part}-labels-idx2-int.gz"
        )
        table = np.frombuffer(raw, ">i4", offset=12).reshape(60000, 8)
        for row, example in enumerate(first):
            import PIL.Image

            pixels = np.asarray(PIL.Image.open(io.BytesIO(example["image"])))
            start = 16 + row * 784
            assert pixels.tobytes() == images[start : start + 784]
            label, series, writer = table[row, :3]
            assert example["label"] == label
            assert (example["series"], example["writer"]) == (series, writer)
        made[part] = table[: spec.splits[part]]
    assert not set(made["train"][:, 2]) & set(made["test"][:, 2])
    assert set(made["train"][:, 1]) == {0, spec.tasks["series"]["positive"]}


@pytest.fixture(scope="module")
def treebank(originals):
    return readings(originals, "ewt")


def test_ewt_against_the_words_of_the_file(originals, treebank):
    for part, name in (("validation", "dev"), ("test", "test")):
        path = originals / "ud_ewt" / f"en_ewt-ud-{name}.conllu.gz"
        text = unzipped(path).decode()
        rows = re.findall(r"^\d+\t(.*)$", text, re.M)
        cells = list(zip(*(row.split("\t") for row in rows), strict=True))
        for column, index in (("words", 0), ("upos", 2), ("xpos", 3), ("deprel", 6)):
            flat = [tag for sentence in treebank[part][column] for tag in sentence]
            assert flat == list(cells[index])


def test_ewt_tags(treebank):
    spec = registry.get("ewt")
    for task, described in spec.tasks.items():
        tags = {t for part in treebank.values() for s in part[task] for t in s} - {""}
        assert len(tags) == described["num_classes"]
    missing = {}
    for part, columns in treebank.items():
        for words, ner in zip(columns["words"], columns["ner"], strict=True):
            assert len(words) == len(ner)
            assert len({tag == "" for tag in ner}) == 1  # all of a sentence or none
        missing[part] = sum(ner[0] == "" for ner in columns["ner"])
    assert missing == {"train": 15, "validation": 3, "test": 3}


@pytest.mark.parametrize(
    ("task", "accuracy"),
    [("upos", 0.862), ("xpos", 0.838), ("deprel", 0.609), ("ner", 0.949)],
)
def test_the_most_frequent_tag_of_a_word(treebank, task, accuracy):
    counts = collections.defaultdict(collections.Counter)
    for words, tags in zip(
        treebank["train"]["words"], treebank["train"][task], strict=True
    ):
        for word, tag in zip(words, tags, strict=True):
            counts[word][tag] += bool(tag)
    overall = sum(counts.values(), collections.Counter())
    best = {word: count.most_common(1)[0][0] for word, count in counts.items()}
    right = [
        best.get(word, overall.most_common(1)[0][0]) == tag
        for words, tags in zip(
            treebank["test"]["words"], treebank["test"][task], strict=True
        )
        for word, tag in zip(words, tags, strict=True)
        if tag
    ]
    # Of the tags that are equally frequent, the order of the sentences decides.
    assert abs(np.mean(right) - accuracy) < 0.0015


def test_entities_that_do_not_align():
    tagged = {
        "sent_id": ["a", "b"],
        "words": [["in", "Rome"], ["do", "not"]],
        "ner": [["B-O", "B-LOC"], ["O", "O"]],
    }
    wanted = [["in", "Rome"], ["don't"], ["new"]]
    found = ewt.aligned(["a", "b", "c"], wanted, tagged)
    assert found == [["O", "B-LOC"], [""], [""]]


def test_wnut17(originals):
    found = readings(originals, "wnut17")
    tags = {t for part in found.values() for s in part["ner"] for t in s}
    assert len(tags) == registry.get("wnut17").tasks["ner"]["num_classes"]
    entities = {
        part: sum(t[0] == "B" for s in columns["ner"] for t in s)
        for part, columns in found.items()
    }
    assert entities == {"train": 1975, "validation": 836, "test": 1079}  # of the paper
    assert any(w.startswith("#") for s in found["train"]["words"] for w in s)


def test_adult(originals):
    found = readings(originals, "adult")
    for part, columns in found.items():
        assert set(columns["income"]) == {">50K", "<=50K"}
        missing = {n: columns[n].count("") for n in ("workclass", "native_country")}
        expected = {"train": (1836, 583), "test": (963, 274)}[part]
        assert tuple(missing.values()) == expected
        assert not any("?" in value for value in columns["occupation"])
    with gzip.open(originals / "adult" / "adult.test.gz", "rt") as file:
        ages = [int(line.split(",")[0]) for line in file if line[0].isdigit()]
    assert found["test"]["age"] == ages


@pytest.mark.parametrize(
    ("task", "area"), [("income", 0.857), ("never_married", 0.870)]
)
def test_adult_encoded_for_logistic_regression(originals, task, area):
    from sklearn import linear_model, metrics, preprocessing

    spec, made = registry.get("adult"), readings(originals, "adult")
    hidden = {t.get("column", name) for name, t in spec.tasks.items()}
    hidden |= {name for t in spec.tasks.values() for name in t.get("hides", ())}
    hidden |= {name for name, f in spec.features.items() if "role" in f}
    columns = {n: v for n, v in made["train"].items() if n not in hidden}
    encoder = encode.fit(columns)
    one_hot = preprocessing.OneHotEncoder(
        categories=[range(n) for n in encoder.facts()["cardinalities"]]
    )
    arrays, labels = [], []
    for part in ("train", "test"):
        inputs = encoder.encode(made[part])
        categories = one_hot.fit_transform(inputs["categories"]).toarray()
        arrays.append(np.c_[inputs["numeric"], categories])
        column = spec.tasks[task].get("column", task)
        labels.append(np.array(made[part][column]) == spec.tasks[task]["positive"])
    model = linear_model.LogisticRegression(max_iter=200).fit(arrays[0], labels[0])
    scores = model.decision_function(arrays[1])
    assert round(metrics.roc_auc_score(labels[1], scores), 3) == area


def test_census_income(originals):
    found = readings(originals, "census_income_kdd", "test")
    assert collections.Counter(found["income"]) == {"- 50000.": 93576, "50000+.": 6186}
    assert found["marital_status"].count("Never married") == 43143
    assert found["migration_code_change_in_msa"].count("") == 49946
    assert found["hispanic_origin"].count("NA") == 405
    assert found["instance_weight"][0] == 1032.38
    assert sum(found["veterans_benefits"]) == 2 * 75297 + 1027
    inputs = set(found) - {"income", "marital_status"}
    inputs -= {
        n for n, f in registry.get("census_income_kdd").features.items() if "role" in f
    }
    assert len(inputs) == 39


def test_parkinsons(originals):
    found = readings(originals, "parkinsons", "train")
    path = originals / "parkinsons" / "parkinsons_updrs.data.gz"
    table = np.genfromtxt(
        io.StringIO(unzipped(path).decode()), delimiter=",", comments=None
    )
    table = table[1:]
    assert table.shape == (5875, 22)
    np.testing.assert_array_equal(np.stack(list(found.values()), 1), table)
    assert len(set(found["subject"])) == 42
    parts = split.by_group(found["subject"], (0.7, 0.15, 0.15), seed=1)
    people = [set(np.array(found["subject"])[rows]) for rows in parts.values()]
    assert sum(map(len, people)) == 42


def test_bike_sharing(originals):
    found = readings(originals, "bike_sharing", "train")
    np.testing.assert_array_equal(
        np.add(found["casual"], found["registered"]), found["cnt"]
    )
    assert found["instant"] == list(range(1, 17380))
    assert sorted(set(found["hr"])) == list(range(24))
    assert len(set(found["dteday"])) == 731


def test_tox21(originals):
    found = readings(originals, "tox21", "train")
    text = unzipped(originals / "molnet" / "tox21.csv.gz").decode()
    rows = {row["mol_id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == 8014
    spec = registry.get("tox21")
    for molecule, smiles, labels in zip(
        found["molecule"], found["smiles"], found["labels"], strict=True
    ):
        row = rows[molecule]
        assert row["smiles"] == smiles
        expected = [row[assay] for assay in spec.features["labels"]["names"]]
        assert [{-1: ""}.get(n, str(n)) for n in labels.tolist()] == expected
    assert round(np.mean(np.array(found["labels"]) == -1), 2) == 0.17
    bits = np.stack(found["fingerprint"])
    assert bits.dtype == np.uint8 and bits.shape == (8006, 1024)
    assert 25 < bits.sum(1).mean() < 35
    by_smiles = collections.defaultdict(set)
    for smiles, row in zip(found["smiles"], bits, strict=True):
        by_smiles[smiles].add(row.tobytes())
    assert {len(rows) for rows in by_smiles.values()} == {1}

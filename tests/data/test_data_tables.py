"""Tables: readers, kinds, encoders, splits."""

import gzip

import numpy as np
import pytest

from mtl_jax.data.tables import columns, encode, read, split

EXPECTED = {"age": ["30", "41"], "job": ["clerk", "?"], "note": ["a, b; c", "\x85"]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("zipped", [False, True])
def test_delimited_text(tmp_path, delimiter, zipped):
    lines = [["age", "job", "note"], ["30", " clerk ", '"a, b; c"'], [], ["41", "?"]]
    lines[3].append("\x85")
    text = "\ufeff" + "\r\n".join(delimiter.join(line) for line in lines)
    path = tmp_path / "table.csv"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    found = read.read(path)
    assert list(found) == list(EXPECTED)
    assert found["age"] == EXPECTED["age"]
    assert found["job"] == EXPECTED["job"]
    assert found["note"][0] == "a, b; c"
    assert read.read(path, delimiter=delimiter) == found


def test_text_without_a_header(tmp_path):
    path = tmp_path / "adult.data"
    path.write_text("|1x3 Cross validator\n30, clerk\n41, ?\n")
    found = read.read(path, names=["age", "job"], skip_lines=1)
    assert found == {"age": ["30", "41"], "job": ["clerk", "?"]}
    path.write_text("one\n1\n2\n")  # a single column
    assert read.read(path) == {"one": ["1", "2"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n3\n", r"t\.csv, line 4 has 1 columns, expected 2: '3'"),
        ("a,b\n1,2\n3,4,5\n", r"t\.csv, line 3 has 3 columns, expected 2"),
        ("a,a\n1,2\n", r"t\.csv: columns named twice: a\."),
        ("a,b\n", r"t\.csv has no rows"),
        ('a,b\n1,"2\n', r"t\.csv, line 2: .*Correct the quotes"),
    ],
)
def test_texts_that_are_no_table(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read.read(path)


def test_npz(tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, age=np.array([30.0, np.nan]), job=np.array(["clerk", "cook"]))
    found = read.read(path)
    np.testing.assert_array_equal(found["age"], [30.0, np.nan])
    assert found["job"] == ["clerk", "cook"]
    with pytest.raises(ValueError, match="is no delimited text"):
        read.read(path, delimiter=",")
    np.savez(path, age=np.zeros(3), job=np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"found age \(3,\), job \(3, 2\)"):
        read.read(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"table\.npz .* incomplete \.npz"):
        read.read(path)


def test_parquet(tmp_path, monkeypatch):
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r"pip install 'mtl-jax\[parquet\]'"):
            read.read(path)
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    with pytest.raises(ValueError, match=r"table\.parquet .* incomplete Parquet"):
        read.read(path)
    table = {"age": [30, None], "sex": [True, False], "job": ["clerk", None]}
    parquet.write_table(pyarrow.table(table), path)
    found = read.read(path)
    np.testing.assert_array_equal(found["age"], [30.0, np.nan])
    np.testing.assert_array_equal(found["sex"], [True, False])
    assert found["job"] == ["clerk", ""]
    with pytest.raises(FileNotFoundError):
        read.read(tmp_path / "nowhere.parquet")


def test_kinds_of_columns():
    table = {
        "texts": ["1", " 2.5 ", "?", "", "NaN"],
        "words": ["1", "2", "three", "4", "5"],
        "floats": np.array([1.0, np.nan, 3, 4, 5]),
        "mixed": [1, None, "2", 3.5, float("nan")],
        "nothing": ["", "?", "", "", ""],
        "infinite": ["1", "inf", "2", "3", "4"],
        "flags": np.array([True, False, True, True, False]),
        "month": [1, 2, 3, 4, 12],
    }
    assert columns.kinds(table, categorical=["month"]) == {
        "texts": "numeric",
        "words": "categorical",
        "floats": "numeric",
        "mixed": "numeric",
        "nothing": "categorical",
        "infinite": "categorical",
        "flags": "numeric",
        "month": "categorical",
    }
    expected = [1.0, 2.5, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(columns.numbers(table["texts"]), expected)
    found = columns.is_missing(table["mixed"])
    np.testing.assert_array_equal(found, [False, True, False, False, True])
    with pytest.raises(
        ValueError, match=r"unknown column 'mont'\. Did you mean 'month"
    ):
        columns.kinds(table, categorical=["mont"])
    with pytest.raises(ValueError, match="both categorical and numeric: month"):
        columns.kinds(table, categorical=["month"], numeric=["month"])
    with pytest.raises(ValueError, match="column 'words', row 2: 'three' is no finite"):
        columns.numbers(table["words"], "words")
    with pytest.raises(ValueError, match=r"column 'x', row 1: .*inf.* is no finite"):
        columns.numbers(np.array([0.0, np.inf]), "x")


def some_table(rows, seed):
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 12, rows)
    age[rng.random(rows) < 0.2] = np.nan
    return {
        "age": age,
        "hours": [str(h) for h in rng.integers(1, 60, rows)],
        "constant": np.full(rows, 7),
        "job": [("clerk", "cook", "?", "driver")[i] for i in rng.integers(0, 4, rows)],
        "year": rng.integers(94, 96, rows).astype(float),
    }


def test_encoding_against_scikit_learn():
    from sklearn import impute, preprocessing

    train, test = some_table(200, 0), some_table(80, 1)
    test["job"][0] = "astronaut"
    kinds = columns.kinds(train, categorical=["year"])
    encoder = encode.fit(train, kinds)
    for table in (train, test):
        found = encoder.encode(table)
        both = [
            np.stack(
                [t["age"], np.array(t["hours"], float), t["constant"].astype(float)], 1
            )
            for t in (train, table)
        ]
        scaler = preprocessing.StandardScaler().fit(both[0])
        filler = impute.SimpleImputer(add_indicator=True).fit(both[0])
        filled = filler.transform(both[1])
        expected = np.c_[scaler.transform(filled[:, :3]), filled[:, 3:]]
        assert found["numeric"].dtype == np.float32
        np.testing.assert_allclose(found["numeric"], expected, atol=1e-5)
        names = preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1
        ).fit([[job] for job in train["job"] if job != "?"])
        jobs = names.transform([[job] for job in table["job"]])[:, 0] + 1
        assert found["categories"].dtype == np.int32
        np.testing.assert_array_equal(found["categories"][:, 0], jobs)
        np.testing.assert_array_equal(found["categories"][:, 1], table["year"] - 93)
    assert encoder.facts() == {
        "numeric_names": ("age", "hours", "constant", "age is missing"),
        "category_names": ("job", "year"),
        "cardinalities": (4, 3),
    }


def test_encoding_learns_from_train_alone():
    train = {"age": [20.0, 40.0], "job": ["clerk", "cook"]}
    encoder = encode.fit(train)
    found = encoder.encode({"age": [np.nan, 1000.0], "job": ["pilot", None]})
    np.testing.assert_allclose(found["numeric"][:, 0], [0.0, 97.0])
    assert found["categories"].tolist() == [[0], [0]]
    filled = {"age": [20.0, np.nan, 40.0]}
    assert encode.fit(filled).encode(filled)["numeric"].shape == (3, 2)
    plain = encode.fit(filled, indicators=False).encode(filled)
    assert plain["numeric"].tolist() == [[-1.0], [0.0], [1.0]]
    assert "categories" not in plain
    rare = encode.fit({"job": ["cook", "cook", "clerk"]}, min_count=2)
    assert rare.encode({"job": ["clerk", "cook"]})["categories"].tolist() == [[0], [1]]


def test_what_cannot_be_encoded():
    encoder = encode.fit({"age": [1, 2], "job": ["a", "b"]})
    with pytest.raises(ValueError, match="unknown column of the table 'job'"):
        encoder.encode({"age": [1], "jobs": ["a"]})
    with pytest.raises(ValueError, match="column 'age', row 0: 'old' is no finite"):
        encoder.encode({"age": ["old"], "job": ["a"]})
    with pytest.raises(ValueError, match="found age 1, job 2"):
        encode.fit({"age": [1], "job": ["a", "b"]})
    with pytest.raises(ValueError, match="unknown kind of column 'age' 'number'"):
        encode.fit({"age": [1]}, {"age": "number"})
    with pytest.raises(ValueError, match="unknown column 'ages'"):
        encode.fit({"age": [1]}, {"ages": "numeric"})
    with pytest.raises(ValueError, match="found none"):
        encode.fit({})


def assert_partition(parts, count):
    together = np.concatenate(list(parts.values()))
    np.testing.assert_array_equal(np.sort(together), np.arange(count))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.7, 0.0, 0.3), (1.0, 0, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_splits(fractions, seed):
    rng = np.random.default_rng(9)
    groups = rng.integers(0, 60, 900)
    for parts in (
        split.by_row(900, fractions, seed),
        split.by_group(groups, fractions, seed),
    ):
        assert_partition(parts, 900)
        shares = dict(zip(("train", "validation", "test"), fractions, strict=True))
        assert set(parts) == {name for name, share in shares.items() if share}
        for name, rows in parts.items():
            assert abs(len(rows) / 900 - shares[name]) < 0.03
    seen = [set(groups[rows]) for rows in split.by_group(groups, fractions).values()]
    assert sum(map(len, seen)) == len(set(groups))  # no group in two splits


def test_splits_depend_on_the_seed():
    groups = np.repeat(np.arange(30), 3).astype(str)
    for make in (
        lambda s: split.by_row(90, seed=s),
        lambda s: split.by_group(groups, seed=s),
    ):
        first, same, other = make(0), make(0), make(1)
        np.testing.assert_array_equal(first["test"], same["test"])
        assert not np.array_equal(first["test"], other["test"])


def test_splits_that_cannot_be():
    with pytest.raises(ValueError, match="expected three non-negative numbers"):
        split.by_row(10, (0.5, 0.1, 0.1))
    with pytest.raises(ValueError, match="expected three non-negative numbers"):
        split.by_group(["a"], (0.0, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"'test' would be empty: 0\.1 of 3 rows"):
        split.by_row(3)
    with pytest.raises(ValueError, match=r"'test' would be empty: 0\.1 of 2 groups"):
        split.by_group(["a", "b", "a"])

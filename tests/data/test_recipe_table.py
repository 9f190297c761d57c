"""Your own table: what becomes of its columns, and what must not leak."""

import csv

import numpy as np
import pytest

from mtl_jax import build, config
from mtl_jax.data import recipes
from mtl_jax.data.tables import labels

ROWS = 200


def shop(seed=0):
    """Columns of every kind, some of them with gaps."""
    random = np.random.default_rng(seed)
    size = random.normal(50, 10, ROWS)
    texts = {
        "row": [str(n) for n in range(ROWS)],
        "size": [f"{value:.3f}" for value in size],
        "town": random.choice(["Rome", "Oslo", "?", "Bern"], ROWS).tolist(),
        "month": random.integers(1, 13, ROWS).astype(str).tolist(),
        "owner": random.integers(0, 25, ROWS).astype(str).tolist(),
        "sales": [f"{2 * value + random.normal():.3f}" for value in size],
        "open": random.choice(["no", "yes"], ROWS).tolist(),
        "stars": random.integers(1, 6, ROWS).astype(str).tolist(),
        "visits": random.poisson(20, ROWS).astype(str).tolist(),
        "kind": random.choice(["food", "books", "toys"], ROWS).tolist(),
    }
    for name, gap in (("sales", ""), ("open", "?"), ("stars", "nan"), ("size", "")):
        for row in random.integers(0, ROWS, 20):
            texts[name][row] = gap
    return texts


TARGETS = ("sales", "open", "stars", "visits", "kind")


def write(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(path)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "shop.csv", shop())


def made(path, **arguments):
    return recipes.make("table", path=path, **{"targets": TARGETS, **arguments})


def splits(data):
    return {name: data.split(name) for name in ("train", "validation", "test")}


def test_kinds_and_labels(path):
    data = made(path, kinds={"visits": "count"}, categorical=["month"], drop="owner")
    tasks = data.facts["tasks"]
    assert {name: task["kind"] for name, task in tasks.items()} == {
        "sales": "regression",
        "open": "binary",
        "stars": "classification",
        "visits": "count",
        "kind": "classification",
    }
    assert tasks["open"]["labels"] == ("no", "yes")
    assert tasks["stars"]["labels"] == ("1", "2", "3", "4", "5")
    assert tasks["kind"] == {
        "kind": "classification",
        "labels": ("books", "food", "toys"),
        "num_classes": 3,
    }
    assert data.facts["numeric_names"] == ("row", "size", "size is missing")
    assert data.facts["category_names"] == ("town", "month")
    assert data.facts["model"]["cardinalities"] == (4, 13)
    assert [len(part) for part in splits(data).values()] == [160, 20, 20]


def test_labels_and_masks_are_those_of_the_file(path):
    """Row by row, found again by the number of the row among the inputs."""
    table = shop()
    data = made(path, categorical=["row"], standardise=False, drop=["size"])
    seen = []
    for part in splits(data).values():
        ids = part.inputs["categories"][:, data.facts["category_names"].index("row")]
        assert not ids.any(), "what train has once is unknown"
        for row in range(len(part)):
            visits = part.labels["visits"][row]
            seen.append(visits)
            if part.masks["sales"][row]:
                value = f"{part.labels['sales'][row]:.3f}"
                assert any(
                    abs(float(v or 0) - float(value)) < 2e-3 for v in table["sales"]
                )
    assert sorted(seen) == sorted(map(float, table["visits"]))
    known = sum(part.masks["sales"].sum() for part in splits(data).values())
    assert known == sum(value != "" for value in table["sales"])
    known = sum(part.masks["open"].sum() for part in splits(data).values())
    assert known == sum(value != "?" for value in table["open"])
    assert "kind" not in data.train.masks, "no label is missing"
    yes = sum(part.labels["open"].sum() for part in splits(data).values())
    assert yes == table["open"].count("yes")


def test_standardised_labels_say_their_units(path):
    raw, made_so = made(path, standardise=False), made(path)
    mask = raw.train.masks["sales"]
    mean, deviation = made_so.facts["tasks"]["sales"]["units"]
    known = raw.train.labels["sales"][mask].astype(np.float64)
    np.testing.assert_allclose(
        [mean, deviation], [known.mean(), known.std()], rtol=1e-6
    )
    for name, part in splits(made_so).items():
        mask = part.masks["sales"]
        np.testing.assert_allclose(
            part.labels["sales"][mask] * deviation + mean,
            raw.split(name).labels["sales"][mask],
            rtol=1e-5,
        )
    assert "units" not in raw.facts["tasks"]["sales"]


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_depends_on_a_label(tmp_path, target):
    first = made(write(tmp_path / "shop.csv", shop()))
    table = shop()
    table[target] = table[target][::-1]
    second = made(write(tmp_path / "other.csv", table))
    for name, part in splits(first).items():
        other = second.split(name)
        for key, array in part.inputs.items():
            np.testing.assert_array_equal(array, other.inputs[key])
    assert (first.train.labels[target] != second.train.labels[target]).any()


def test_encoder_and_units_are_those_of_train_alone(tmp_path):
    table = shop()
    first = made(write(tmp_path / "shop.csv", table))
    rows = np.random.default_rng(0).permutation(ROWS)[160:]  # not of train, by contract
    for row in rows:
        table["size"][row], table["sales"][row] = "9999", "-7777"
        table["town"][row] = "Atlantis"
    second = made(write(tmp_path / "other.csv", table))
    assert first.facts == second.facts
    for key, array in first.train.inputs.items():
        np.testing.assert_array_equal(array, second.train.inputs[key])
    np.testing.assert_array_equal(
        first.train.labels["sales"], second.train.labels["sales"]
    )
    town = second.facts["category_names"].index("town")
    assert not second.test.inputs["categories"][:, town].any(), "unknown in train"
    assert (second.test.inputs["numeric"][:, 1] > 100).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_group_is_in_two_splits(tmp_path, seed):
    table = shop()
    table["echo"] = table["owner"]  # not the group by name, so that it can be seen
    path = write(tmp_path / "shop.csv", table)
    data = made(path, group="owner", categorical=["echo"], seed=seed)
    assert "owner" not in (*data.facts["numeric_names"], *data.facts["category_names"])
    echo = data.facts["category_names"].index("echo")
    seen = [
        set(p.inputs["categories"][:, echo].tolist()) for p in splits(data).values()
    ]
    assert seen[1] == seen[2] == {0}, "owners that train does not know"
    several = made(path, group=("owner", "open"), seed=seed, targets=("sales",))
    assert "open" in several.facts["category_names"], "several columns stay inputs"


def test_groups_of_several_columns(tmp_path):
    table = {
        "a": [str(n % 7) for n in range(140)],
        "b": [str(n % 3) for n in range(140)],
        "y": [f"{7 * (n % 3) + n % 7}.5" for n in range(140)],  # one value a group
    }
    path = write(tmp_path / "pairs.csv", table)
    data = made(path, targets=("y",), group=("a", "b"), standardise=False)
    seen = [set(part.labels["y"].tolist()) for part in splits(data).values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 21


def test_each_value_of_a_column_is_a_task(tmp_path):
    table = shop()
    table["town"][3] = "North/South"
    for row in range(10, 60):
        table["town"][row] = "North/South"
    path = write(tmp_path / "shop.csv", table)
    data = made(path, targets=("sales",), task_column="town", standardise=False)
    names = ["town_Bern", "town_North_South", "town_Oslo", "town_Rome"]
    assert list(data.facts["tasks"]) == list(data.train.labels) == names
    total = 0
    for part in splits(data).values():
        masks = np.stack([part.masks[name] for name in names])
        assert (masks.sum(0) <= 1).all()
        total += masks.sum()
        for name, length in zip(names, part.groups, strict=True):
            assert 0 < part.masks[name].sum() <= length
    rows = zip(table["town"], table["sales"], strict=True)
    assert total == sum(town != "?" and sales != "" for town, sales in rows)
    assert "town" not in data.facts["category_names"]
    both = made(path, targets=("sales", "visits"), task_column="town")
    assert list(both.facts["tasks"])[:2] == ["sales_town_Bern", "visits_town_Bern"]


def test_parquet_and_npz_are_the_same_table(tmp_path, path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    table = shop()
    numbers = {"row", "size", "month", "owner", "sales", "stars", "visits"}
    as_arrays = {
        name: np.array([float(v or "nan") for v in values])
        if name in numbers
        else np.array(values)
        for name, values in table.items()
    }
    np.savez(tmp_path / "shop.npz", **as_arrays)
    columns = {
        name: [None if v != v else v for v in array.tolist()]
        for name, array in as_arrays.items()
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "shop.parquet")
    first = made(path, categorical=["month"])
    for name in ("shop.npz", "shop.parquet"):
        other = made(str(tmp_path / name), categorical=["month"])
        assert other.facts == first.facts
        for key, array in first.test.inputs.items():
            np.testing.assert_array_equal(array, other.test.inputs[key])
        for task, array in first.test.labels.items():
            np.testing.assert_array_equal(array, other.test.labels[task])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": None}, r"a table needs a file: .*--set data\.path=FILE\.csv"),
        ({"targets": ()}, r"no targets: .*data\.targets=COLUMN.*columns: row, size"),
        ({"targets": ("sale",)}, r"unknown column of the table 'sale'\. Did you mean"),
        ({"group": "onwer"}, r"unknown column of the table 'onwer'.*'owner'"),
        ({"drop": "twon"}, r"unknown column of the table 'twon'.*'town'"),
        ({"group": "sales"}, r"'sales' is a target; rows cannot be grouped"),
        ({"task_column": "open"}, r"'open' is a target; rows cannot be grouped"),
        ({"kinds": {"sale": "count"}}, r"unknown target 'sale'"),
        ({"kinds": {"sales": "counts"}}, r"unknown kind of target 'sales' 'counts'"),
        (
            {"kinds": {"town": "count"}, "targets": ("town",)},
            "'town', row 1: 'Rome' is",
        ),
        ({"positive": {"kind": "toy"}}, r"value of target 'kind' 'toy'.*'toys'"),
        (
            {"kinds": {"kind": "binary"}},
            r"'kind' is binary, but has 3 different values",
        ),
        ({"kinds": {"sales": "classification"}}, r"'sales' has \d+ different values"),
        ({"fractions": (0.5, 0.5, 0.5)}, "fractions"),
        (
            {"task_column": "row", "targets": ("sales",)},
            r"task '0': split 'validation' would",
        ),
        (
            {"targets": ("row", *TARGETS), "drop": ["size", "town", "month", "owner"]},
            "no column is left as an input",
        ),
    ],
)
def test_errors(path, arguments, message):
    with pytest.raises(ValueError, match=message):
        made(**{"path": path, **arguments})


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no file .*shop\.csv, and it is an unk"
    ):
        made(str(tmp_path / "shop.csv"))
    with pytest.raises(
        FileNotFoundError, match="mtl-jax data prepare adult --from DIR"
    ):
        made("adult", targets=(), data_dir=tmp_path)
    with pytest.raises(ValueError, match="'mnist' is no table: its feature 'image'"):
        made("mnist", data_dir=tmp_path)


def test_labels_of_a_column():
    train = np.ones(4, bool)
    found = labels.make([3, 1, 2, 1], train, name="level", kind="ordinal")
    assert found.values.tolist() == [2, 0, 1, 0]
    assert found.facts == {
        "kind": "ordinal",
        "labels": ("1", "2", "3"),
        "num_levels": 3,
    }
    found = labels.make(["b", "a", "c", "?"], train, name="b", positive="b")
    assert found.values.tolist() == [1, 0, 0, 0]
    assert found.facts["labels"] == ("not b", "b")
    found = labels.make([5.0, 7.0, np.nan, 5.0], train, name="x", positive=7)
    assert found.values.tolist() == [0, 1, 0, 0]
    found = labels.make(
        [2.0, 2.0, 2.0, 8.0], train ^ (np.arange(4) == 3), name="y", kind="regression"
    )
    assert found.values.tolist() == [0, 0, 0, 6] and found.facts["units"] == (2.0, 1.0)
    with pytest.raises(ValueError, match="'y' is a count, but row 1 has -1"):
        labels.make([0, -1, 2, 3], train, name="y", kind="count")
    with pytest.raises(ValueError, match="'y' has no label in train"):
        labels.make([np.nan, 1, 2, 3], np.arange(4) < 1, name="y")
    assert labels.infer(list(range(11))) == "regression"
    assert labels.infer(list(range(10))) == "classification"
    assert labels.infer([True, False, True]) == "binary"


def test_from_the_command_line_to_the_tasks(path):
    plain = config.Config("mine", config.DataConfig("table"))
    settings = config.override(
        plain,
        [
            f"data.path={path}",
            "data.targets=sales, kind,visits",
            "data.args.drop=month,owner",
            "data.args.kinds={'visits': 'count'}",
            "data.args.fractions=0.5,0.25,0.25",
            "model.trunk=tabular_embedding",
        ],
    )
    assert settings.data.targets == ("sales", "kind", "visits")
    data = build.build_data(settings)
    assert len(data.train) == 100
    assert not {"month", "owner"} & set(data.facts["numeric_names"])
    parts = build.build(settings, data.facts)
    kinds = {task.name: task.loss.name for task in parts.tasks}
    assert kinds == {
        "sales": "mse",
        "kind": "softmax_cross_entropy",
        "visits": "poisson",
    }
    assert parts.tasks[0].units == data.facts["tasks"]["sales"]["units"]
    with pytest.raises(ValueError, match=r"data\.args\.drop' takes a list of str"):
        build.build_data(config.override(settings, ["data.args.drop=3"]))
    with pytest.raises(ValueError, match="a table needs a file"):
        build.build_data(plain)

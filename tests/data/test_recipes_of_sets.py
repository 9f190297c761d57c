"""Recipes of prepared sets: on made-up rows, and on the real files where they are."""

import numpy as np
import pytest
from data import tiny_sets

from mtl_jax import data
from mtl_jax.data import recipes, registry

HIDDEN = {
    "adult": {"income", "marital_status", "relationship", "fnlwgt"},
    "census_income_kdd": {"income", "marital_status", "instance_weight"},
    "parkinsons": {"subject", "motor_UPDRS", "total_UPDRS"},
    "bike_sharing": {"instant", "dteday", "casual", "registered", "cnt"},
    "student": {"G1", "G2", "G3"},
}
"""Labels, what gives them away, weights and identifiers; by hand."""
CATEGORIES = {"parkinsons": 1, "bike_sharing": 8, "student": 18}
TABLES = sorted(HIDDEN)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Made-up rows of every set, and what they are."""
    root = tmp_path_factory.mktemp("tiny_sets")
    names = (*TABLES, "tox21", "omniglot_small")
    return root, {name: tiny_sets.prepare(name, root) for name in names}


@pytest.fixture(scope="module")
def real(shared_dir, tmp_path_factory):
    """The real sets that are prepared in a few seconds."""
    if not (shared_dir / "data").is_dir():
        pytest.skip("the original files are not in ../shared/data")
    root = tmp_path_factory.mktemp("real_sets")
    for name in ("parkinsons", "student", "tox21", "omniglot_small"):
        data.prepare(name, source_dir=shared_dir / "data", data_dir=root)
    return root


def made(name, root, **arguments):
    if name in recipes.RECIPES:
        return recipes.make(name, root, **arguments)
    return recipes.make("table", root, path=name, **arguments)


def splits(found):
    names = ("train", "validation", "test")
    return {n: getattr(found, n) for n in names if getattr(found, n) is not None}


def column(found, name, kind="categories"):
    """An input of all splits by its name."""
    names = found.facts["category_names" if kind == "categories" else "numeric_names"]
    place = names.index(name)
    return {n: part.inputs[kind][:, place] for n, part in splits(found).items()}


@pytest.mark.parametrize("name", TABLES)
def test_what_is_no_input(tiny, name):
    found = made(name, tiny[0])
    numeric, categories = found.facts["numeric_names"], found.facts["category_names"]
    inputs = {*numeric, *categories}
    assert inputs == set(registry.get(name).features) - HIDDEN[name]
    assert len(inputs) == len(numeric) + len(categories)
    assert len(categories) == CATEGORIES.get(name, len(categories))
    for part in splits(found).values():
        assert part.inputs["numeric"].shape[1] == len(numeric)
        assert part.inputs["categories"].shape[1] == len(categories)
        limit = np.array(found.facts["model"]["cardinalities"])
        assert (part.inputs["categories"] < limit).all()
    assert list(found.facts["tasks"]) == list(registry.get(name).tasks)


def test_adult_keeps_its_test_split(tiny):
    root, columns = tiny
    found = made("adult", root, validation=0.25)
    assert {n: len(p) for n, p in splits(found).items()} == {
        "train": 630,
        "validation": 210,
        "test": 120,
    }
    for task, key, positive in (
        ("income", "income", ">50K"),
        ("never_married", "marital_status", "Never-married"),
    ):
        expected = columns["adult"]["test"][key].count(positive)
        assert found.test.labels[task].sum() == expected
        expected = columns["adult"]["train"][key].count(positive)
        total = sum(found.split(n).labels[task].sum() for n in ("train", "validation"))
        assert total == expected
    other = made("adult", root, drop="occupation", seed=1)
    assert "occupation" not in other.facts["category_names"]


def test_census_is_divided(tiny):
    found = made("census_income_kdd", tiny[0])
    assert [len(part) for part in splits(found).values()] == [72, 12, 36]
    assert "year" in found.facts["category_names"], "a number that is a name"
    assert "age" in found.facts["numeric_names"]


def test_a_missing_integer_is_missing(tmp_path, monkeypatch):
    values = tiny_sets.values
    monkeypatch.setattr(
        tiny_sets,
        "values",
        lambda name, key, *rest: (
            [-1, *values(name, key, *rest)[1:]]
            if key in ("age", "weekday")
            else values(name, key, *rest)
        ),
    )
    tiny_sets.prepare("bike_sharing", tmp_path)
    tiny_sets.prepare("student", tmp_path)
    found = made("student", tmp_path, fractions=(1, 0, 0))
    missing = column(found, "age is missing", "numeric")["train"]
    assert missing.sum() == 1
    assert abs(column(found, "age", "numeric")["train"][missing == 1]) < 1e-6
    found = made("bike_sharing", tmp_path, fractions=(1, 0, 0))
    assert column(found, "weekday")["train"].min() == 0


def test_tox21_labels_and_masks(tiny):
    root, columns = tiny
    found = made("tox21", root, fractions=(0.5, 0.2, 0.3))
    answers = np.stack(columns["tox21"]["train"]["labels"])
    names = registry.get("tox21").features["labels"]["names"]
    for place, name in enumerate(names):
        known = sum(p.masks[name].sum() for p in splits(found).values())
        assert known == (answers[:, place] >= 0).sum()
        positive = sum(p.labels[name].sum() for p in splits(found).values())
        assert positive == (answers[:, place] == 1).sum()
        assert set(np.unique(found.train.labels[name])) == {0, 1}
    # Row by row, by the fingerprint.
    bits = np.stack(columns["tox21"]["train"]["fingerprint"])
    answer_of = {row.tobytes(): a for row, a in zip(bits, answers, strict=True)}
    for part in splits(found).values():
        for row, fingerprint in enumerate(part.inputs):
            expected = answer_of[fingerprint.tobytes()]
            present = np.array([part.masks[n][row] for n in names])
            labels = np.array([part.labels[n][row] for n in names])
            np.testing.assert_array_equal(np.where(present, labels, -1), expected)


def test_omniglot_labels_and_masks(tiny):
    found = made("omniglot", tiny[0], validation_drawers=2)
    tasks = found.facts["tasks"]
    assert list(tasks) == list(found.train.labels)
    assert [t["num_classes"] for t in tasks.values()] == [
        24,
        22,
        24,
        47,
        40,
        26,
        42,
        17,
    ]
    for part in splits(found).values():
        assert part.inputs.dtype == np.uint8 and part.inputs.shape[1:] == (28, 28, 1)
        masks = np.stack([part.masks[name] for name in tasks])
        assert (masks.sum(0) == 1).all()
        assert tuple(masks.sum(1)) == part.groups
    with pytest.raises(ValueError, match="test_drawers=20 and validation_drawers=0 of"):
        made("omniglot", tiny[0], test_drawers=20)


def test_parkinsons_by_subject(real):
    found = made(
        "parkinsons",
        real,
        group="subject",
        fractions=(0.7, 0.15, 0.15),
        standardise=False,
    )
    raw = data.read_columns("parkinsons", data_dir=real)
    scores = ("motor_UPDRS", "total_UPDRS")
    # A patient is known by the scores, which no two patients share as a pair.
    patient = {}
    for row in zip(*(raw[n].tolist() for n in (*scores, "subject")), strict=True):
        assert patient.setdefault(row[:2], row[2]) == row[2]
    seen = [
        {
            patient[pair]
            for pair in zip(*(part.labels[n].tolist() for n in scores), strict=True)
        }
        for part in splits(found).values()
    ]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 42
    assert min(map(len, seen)) >= 5


def test_parkinsons_subjects_as_tasks(real):
    found = made(
        "parkinsons", real, targets=("motor_UPDRS",), task_column="subject", seed=3
    )
    raw = data.read_columns("parkinsons", data_dir=real)
    names = [f"subject_{n}" for n in range(1, 43)]
    assert list(found.facts["tasks"]) == names
    assert len({task["units"] for task in found.facts["tasks"].values()}) == 1
    for number in (1, 17, 42):
        rows = raw["subject"] == number
        name = f"subject_{number}"
        known = sum(part.masks[name].sum() for part in splits(found).values())
        assert known == rows.sum()
        mean, deviation = found.facts["tasks"][name]["units"]
        labels = found.test.labels[name][found.test.masks[name]] * deviation + mean
        assert set(labels.round(2)) <= set(raw["motor_UPDRS"][rows].round(2))


def test_pupils_of_both_courses_are_in_one_split(real):
    keys = "school sex age address famsize Pstatus Medu Fedu Mjob Fjob reason nursery"
    keys = (*keys.split(), "internet")
    raw = data.read_columns("student", data_dir=real)
    pupils = list(zip(*(map(str, raw[key]) for key in keys), strict=True))
    assert len(pupils) - len(set(pupils)) > 300
    found = made(
        "student", real, group=keys, drop=["absences"], fractions=(0.7, 0.15, 0.15)
    )
    assert set(keys) <= {*found.facts["numeric_names"], *found.facts["category_names"]}
    columns = []
    for key in keys:
        kind = "numeric" if key in found.facts["numeric_names"] else "categories"
        columns.append(column(found, key, kind))
    seen = {
        n: set(zip(*(c[n].round(4).tolist() for c in columns), strict=True))
        for n in splits(found)
    }
    assert sum(map(len, seen.values())) == len(set.union(*seen.values()))
    assert len(set.union(*seen.values())) == len(set(pupils))


def test_tox21_molecules_are_in_one_split(real):
    found = made("tox21", real)
    seen = [{row.tobytes() for row in part.inputs} for part in splits(found).values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 7437
    parts = splits(found).values()
    known = sum(mask.sum() for part in parts for mask in part.masks.values())
    assert sum(map(len, parts)) == 8006
    assert round(1 - known / (8006 * 12), 2) == 0.17


def test_omniglot_by_the_nearest_neighbour(real):
    """Accuracies that were measured from the archives, in another program."""
    expected = [0.29, 0.47, 0.48, 0.40, 0.29, 0.42, 0.22, 0.46]
    found = made("omniglot", real)
    assert found.train.groups == tuple(
        14 * task["num_classes"] for task in found.facts["tasks"].values()
    )
    for name, accuracy in zip(found.facts["tasks"], expected, strict=True):
        train, test = (
            part.inputs[part.masks[name]].reshape(-1, 784).astype(np.float32)
            for part in (found.train, found.test)
        )
        labels = [p.labels[name][p.masks[name]] for p in (found.train, found.test)]
        distance = (train**2).sum(1) - 2 * test @ train.T
        right = labels[0][distance.argmin(1)] == labels[1]
        assert abs(right.mean() - accuracy) < 0.006

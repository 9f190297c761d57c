"""The trunk of tables against NumPy, and what it says of tables that do not fit."""

import jax
import numpy as np
import pytest
from models.trunk_cases import TABLE

from mtl_jax import models

NUMERIC, CATEGORIES = TABLE["numeric"], TABLE["categories"]


def test_numbers_and_categories():
    mean, std = (0.5, 1.0, -2.0), (2.0, 1.0, 0.5)
    trunk = models.TabularEmbedding((3, 5), (6, 4), embedding=4, mean=mean, std=std)
    variables = trunk.init(jax.random.key(0), TABLE)
    p = variables["params"]
    assert p["column0"]["embedding"].shape == (3, 3)  # not wider than its categories
    columns = [(NUMERIC - np.array(mean)) / np.array(std)]
    for i in (0, 1):
        table = np.asarray(p[f"column{i}"]["embedding"])
        columns.append(table[CATEGORIES[:, i]])
    x = np.concatenate(columns, 1)
    assert x.shape[1] == 3 + 3 + 4
    for name in ("Dense_0", "Dense_1"):
        x = np.maximum(x @ p[name]["kernel"] + p[name]["bias"], 0)
    found = trunk.apply(variables, TABLE)
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-6)


def test_either_may_be_absent():
    for inputs, cardinalities, width in (
        ({"numeric": NUMERIC}, (), 3),
        ({"categories": CATEGORIES}, (3, 5), 3 + 5),
    ):
        trunk = models.TabularEmbedding(cardinalities, (4,))
        params = trunk.init(jax.random.key(0), inputs)["params"]
        assert params["Dense_0"]["kernel"].shape == (width, 4)


def test_large_numbers_are_standardised_before_they_are_rounded():
    rows = {"numeric": np.array([[10_001.0], [10_003.0]], np.float32)}
    trunk = models.TabularEmbedding(
        (), (1,), mean=(10_002.0,), std=(1.0,), activation=lambda x: x, dtype="bfloat16"
    )
    out = trunk.init_with_output(jax.random.key(0), rows)[0].astype(np.float32)
    assert out[0, 0] == -out[1, 0] != 0


def test_ids_beyond_the_cardinality_are_not_passed_over():
    trunk = models.TabularEmbedding((3, 5), (4,), activation=lambda x: x)
    variables = trunk.init(jax.random.key(0), TABLE)
    wrong = CATEGORIES.copy()
    wrong[2, 0] = 3
    out = trunk.apply(variables, {**TABLE, "categories": wrong})
    assert np.isnan(out).all(1).tolist() == [False, False, True, False]


def test_tables_that_do_not_fit():
    def fails(inputs, *parts, cardinalities=(3, 5), **fields):
        trunk = models.TabularEmbedding(cardinalities, (4,), **fields)
        with pytest.raises(ValueError) as error:
            jax.eval_shape(trunk.init, jax.random.key(0), inputs)
        for part in parts:
            assert part in str(error.value)

    fails(NUMERIC, "reads {'categories': [B, n] integers}", "(4, 3) and dtype float32")
    fails({"numeric": NUMERIC}, "Give a dict with 'categories'.")
    fails(NUMERIC, "'numeric' [B, n]", "found an array", cardinalities=())
    fails({}, "'numeric' [B, n], 'categories' [B, m]", cardinalities=())
    fails(TABLE, "given 3 cardinalities", "2 columns", cardinalities=(3, 5, 7))
    fails(TABLE, "given 0 cardinalities", "2 columns", cardinalities=())
    floats = {"categories": CATEGORIES.astype(np.float32)}
    fails(floats, "'categories': [4, 2] float32", "int32 ids")
    fails(TABLE, "given mean of 2 columns", "'numeric' with 3", mean=(0.0, 1.0))
    fails(TABLE, "std=(1.0, 0.0, 2.0); give positive", std=(1.0, 0.0, 2.0))
    alone = {"categories": CATEGORIES}
    fails(alone, "Give a dict with 'numeric'.", mean=(0.0, 1.0, 2.0))
    flat = {"numeric": NUMERIC[:, 0]}
    fails(flat, "'numeric': [4] float32", "two axes", cardinalities=())

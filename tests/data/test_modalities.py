"""Inputs of two kinds: the recipe, and hiding one of them through the settings."""

import json

import numpy as np
import pytest
from data import tiny_sets

from mtl_jax import build, cli, config, data, run, trained
from mtl_jax.data import recipes
from mtl_jax.data.text import smiles

TASKS = ("NR-AR", "SR-p53")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Made-up molecules, and where they are prepared."""
    root = tmp_path_factory.mktemp("tiny_modalities")
    return root, tiny_sets.prepare("tox21", root)["train"]


def settings(root, **changes):
    trunks = {
        "fingerprint": {"trunk": "mlp", "features": (4,)},
        "smiles": {"trunk": "bag_of_embeddings", "width": 4},
    }
    arguments = {"trunks": trunks, "reads": {"smiles": {"tokens": "smiles"}}}
    model = {"trunk": "cross_modal", "trunk_args": {**arguments, "width": 4}}
    return config.Config(
        name="two",
        data=config.DataConfig("tox21_smiles", data_dir=str(root), **changes),
        tasks=tuple(config.TaskConfig(name, "binary") for name in TASKS),
        model=config.ModelConfig(**model),
        train=config.TrainConfig(epochs=1, batch_size=64, parallel="jit"),
    )


def test_tokens_of_molecules():
    found = smiles.tokens("C[C@@H](Br)c1ccc(Cl)cc1%10")
    assert found[:5] == ["C", "[C@@H]", "(", "Br", ")"]
    assert found[-3:] == ["c", "1", "%10"] and "Cl" in found


def test_both_modalities_are_of_the_same_molecule(tiny):
    root, columns = tiny
    both = recipes.make("tox21_smiles", root, length=4, min_count=1)
    plain = recipes.make("tox21", root)
    words = both.facts["vocabulary"].to_list()
    text_of = {
        bits.tobytes(): text
        for bits, text in zip(columns["fingerprint"], columns["smiles"], strict=True)
    }
    for name in ("train", "validation", "test"):
        part, other = both.split(name), plain.split(name)
        np.testing.assert_array_equal(part.inputs["fingerprint"], other.inputs)
        for task, labels in other.labels.items():
            np.testing.assert_array_equal(part.labels[task], labels)
            np.testing.assert_array_equal(part.masks[task], other.masks[task])
        for bits, ids in zip(other.inputs, part.inputs["smiles"], strict=True):
            text = "".join(words[i] for i in ids if i)
            assert text == text_of[bits.tobytes()][:4]
        assert part.inputs["smiles_present"].all()
    assert both.facts["model"] == {"vocabulary": len(words)}


def test_a_run_is_evaluated_without_a_modality(tiny, tmp_path, capsys):
    root, _ = tiny
    run.train_run(settings(root), tmp_path, level="error")

    def loss(*options):
        capsys.readouterr()
        assert cli.main(["evaluate", str(tmp_path), "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)["SR-p53/loss"]

    part = build.build_data(settings(root)).test
    inputs = {**part.inputs, "smiles_present": np.zeros(len(part), bool)}
    inputs["smiles"] = inputs["smiles"][::-1]  # nobody looks at it
    out = trained.predict_run(tmp_path, inputs)["SR-p53/outputs"][:, 0]
    labels, known = part.labels["SR-p53"], part.masks["SR-p53"]
    each = np.logaddexp(0, np.float64(out)) - labels * out
    without = loss("--set", "data.missing=smiles")
    assert without == pytest.approx(each[known].mean(), rel=1e-4)
    assert without != pytest.approx(loss(), rel=1e-4)


def test_what_cannot_be_hidden(tiny):
    root, _ = tiny
    with pytest.raises(ValueError, match=r"unknown modality in data\.missing 'smile'"):
        build.build_data(settings(root, missing=("smile",)))
    other = config.override(settings(root), ["model.trunk=mlp", "data.missing=smiles"])
    with pytest.raises(ValueError, match=r"data\.missing=smiles hides .* is 'mlp'"):
        build.build_data(other)
    one = data.ArraySource(np.ones((3, 2)), {"y": np.zeros(3)})
    with pytest.raises(
        ValueError, match=r"the modalities a cannot be taken out of one"
    ):
        data.without(one, ["a"])


def test_hidden_in_every_split(tiny):
    root, _ = tiny
    found = build.build_data(settings(root, missing=("fingerprint",)))
    for name in ("train", "validation", "test"):
        inputs = found.split(name).inputs
        assert (
            not inputs["fingerprint_present"].any() and inputs["smiles_present"].all()
        )

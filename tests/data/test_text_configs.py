"""The recipes and configs of text on their real sets."""

import collections
import gzip
from pathlib import Path

import jax
import numpy as np
import pytest

from mtl_jax import build, config, data, objective, train
from mtl_jax.data import recipes

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = (
    *("sentiment", "alternating_domains", "domain_adaptation"),
    *("ewt", "words_and_documents", "conll", "masked_words"),
)


@pytest.fixture(scope="module")
def originals(shared_dir):
    folder = shared_dir / "data"
    if not (folder / "ud_ewt").is_dir():
        pytest.skip("the original files are not in ../shared/data")
    return folder


@pytest.fixture(scope="module")
def root(originals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text_sets")
    for name in ("uci_sentiment", "ewt"):
        data.prepare(name, source_dir=originals, data_dir=folder)
    return folder


@pytest.fixture(scope="module")
def treebank(root):
    return recipes.make("ewt_tags", data_dir=root)


def sentences(path, column):
    """Column `column` of a CoNLL-U or IOB2 file, read with nothing of ours."""
    found = []
    for block in gzip.decompress(path.read_bytes()).decode().split("\n\n"):
        rows = [line.split("\t") for line in block.split("\n") if line[:1].isdigit()]
        if rows:
            found.append([row[column] for row in rows if row[0].isdigit()])
    return found


def test_the_treebank(treebank, originals):
    folder = originals / "ud_ewt"
    texts = {
        name: sentences(folder / f"en_ewt-ud-{file}.conllu.gz", 1)
        for name, file in (("train", "train"), ("validation", "dev"), ("test", "test"))
    }
    counts = {n: t["num_classes"] for n, t in treebank.facts["tasks"].items()}
    assert counts == {"upos": 17, "xpos": 49, "deprel": 51, "ner": 9}
    for name, found in texts.items():
        longest = 40 if name == "train" else max(map(len, found))
        part = treebank.split(name)
        tokens = part.inputs["tokens"]
        assert tokens.shape == (len(found), longest)
        assert (tokens > 0).sum() == sum(min(len(text), longest) for text in found)
        for label in ("upos", "xpos", "deprel"):
            np.testing.assert_array_equal(part.labels[label] >= 0, tokens > 0)
        assert (part.labels["ner"][tokens == 0] == -1).all()
        missing = (part.labels["ner"] < 0).all(1).sum()
        assert missing == {"train": 15, "validation": 3, "test": 3}[name]
    total = sum(map(len, texts["train"]))
    cut = sum(max(len(text) - 40, 0) for text in texts["train"]) / total
    assert treebank.facts["text"]["cut"]["train"] == pytest.approx(cut, abs=1e-4)
    assert treebank.facts["text"]["cut"]["test"] == 0


def test_the_words_of_the_treebank_are_those_of_train(treebank, originals):
    folder = originals / "ud_ewt"
    seen = collections.Counter(
        "".join("0" if c.isdigit() else c for c in word)
        for text in sentences(folder / "en_ewt-ud-train.conllu.gz", 1)
        for word in text
    )
    words = [w for w in treebank.facts["vocabulary"].words if w in seen]
    assert set(words) == {w for w, count in seen.items() if count >= 2}
    other = set(treebank.facts["vocabulary"].words) - set(words)
    assert all(word[0] + word[-1] == "<>" for word in other)  # shapes


def test_the_entities_by_path_are_those_of_the_prepared_set(treebank, originals):
    made = recipes.make(
        "conll",
        path=originals / "uner_ewt",
        files={
            "train": "en_ewt-ud-train.iob2.gz",
            "test": "en_ewt-ud-test.iob2.gz",
        },
        columns={"words": 1, "ner": 2},
        ids=0,
        separator="\t",
    )
    counts = {}
    for name, of in (("path", made), ("prepared", treebank)):
        labels = of.facts["tasks"]["ner"]["labels"]
        found = collections.Counter(of.test.labels["ner"][of.test.labels["ner"] >= 0])
        counts[name] = {labels[i]: n for i, n in found.items() if labels[i] != "O"}
    # Three of 2,077 sentences differ, and B-O is no entity in the prepared set.
    counts["path"].pop("B-O", None)
    assert counts["path"].keys() == counts["prepared"].keys()
    for tag, count in counts["prepared"].items():
        assert counts["path"][tag] == pytest.approx(count, abs=8)


def test_the_sentences_of_three_sites(root):
    for arguments in ({}, {"folds": 5, "fold": 2}):
        made = recipes.make("sentiment", data_dir=root, **arguments)
        parts = [made.split(name) for name in ("train", "validation", "test")]
        for site in ("amazon", "imdb", "yelp"):
            assert sum(int(p.masks[site].sum()) for p in parts) == 1000
            positive = sum(int(p.labels[site][p.masks[site]].sum()) for p in parts)
            assert positive == 500
        assert parts[2].inputs["tokens"].shape[0] == pytest.approx(600, abs=12)
    assert made.facts["tasks"]["imdb"]["labels"] == ("negative", "positive")
    with pytest.raises(ValueError, match="unknown target of sentiment 'imbd'"):
        recipes.make("sentiment", targets=("imbd",), data_dir=root)
    with pytest.raises(ValueError, match="unknown target of ewt_tags 'pos'"):
        recipes.make("ewt_tags", targets=("pos",), data_dir=root)


def test_labels_of_one_site_for_another(root):
    """The sentences of a split are those of `sentiment`; labels are there or not."""
    fractions = {"fractions": (0.5, 0.1, 0.4), "data_dir": root}
    both = recipes.make("sentiment", targets=("imdb", "yelp"), **fractions)
    for labelled, tested in (("source", "target"), ("target", "source")):
        made = recipes.make(
            "sentiment_adaptation",
            source="imdb",
            target="yelp",
            labelled=labelled,
            tested=tested,
            **fractions,
        )
        for name in ("train", "validation", "test"):
            part, other = made.split(name), both.split(name)
            np.testing.assert_array_equal(part.inputs["tokens"], other.inputs["tokens"])
            here = tested if name == "test" else labelled
            site = {"source": "imdb", "target": "yelp"}[here]
            mask = part.masks["sentiment"]
            np.testing.assert_array_equal(mask, other.masks[site])
            assert mask.sum() == pytest.approx(len(part) / 2, abs=12)
            np.testing.assert_array_equal(
                part.labels["sentiment"][mask], other.labels[site][mask]
            )
            np.testing.assert_array_equal(part.labels["domain"], other.masks["yelp"])
            assert set(part.masks) == {"sentiment"} and part.groups == other.groups
    with pytest.raises(ValueError, match="from 'imdb' to itself"):
        recipes.make("sentiment_adaptation", source="imdb", target="imdb")
    with pytest.raises(ValueError, match="labelled is 'both'; it is 'source' or"):
        recipes.make("sentiment_adaptation", labelled="both")
    with pytest.raises(ValueError, match="unknown target of sentiment 'ebay'"):
        recipes.make("sentiment_adaptation", target="ebay", data_dir=root)


def test_vectors_of_glove(root, originals):
    files = sorted((originals / "glove50_subset").glob("*.gz"))
    made = recipes.make(
        "sentiment", vectors=[str(file) for file in files], data_dir=root
    )
    table, words = made.facts["model"]["vectors"], made.facts["vocabulary"].to_list()
    assert table.shape == (len(words), 50)
    line = gzip.decompress(files[0].read_bytes()).partition(b"\n")[0].decode().split()
    wanted = np.array(line[1:], np.float32)
    np.testing.assert_array_equal(table[words.index(line[0])], wanted)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_learns_on_a_slice_of_its_data(name, root, originals):
    settings = config.load(CONFIGS / f"{name}.py")
    assignments = [f"data.data_dir={root}"]
    if name == "conll":
        assignments += [f"data.path={originals / 'wnut17'}"]
    settings = config.override(settings, assignments)
    dataset = build.build_data(settings)
    parts = build.build(settings, dataset.facts)
    named = [task.name for task in settings.tasks]
    assert [task.name for task in parts.tasks] == named
    made = {task.name for task in parts.tasks if task.pretext is not None}
    assert set(named) - made <= set(dataset.train.labels)
    # Some examples of every corpus, their first 12 words.
    rows = data.order(dataset.train, 24, seed=0).indices(0)
    batch = dataset.train.take(rows)
    batch["inputs"] = {"tokens": batch["inputs"]["tokens"][:, :12]}
    batch["labels"] = {
        n: label[:, :12] if label.ndim > 1 else label
        for n, label in batch["labels"].items()
    }
    optimizer = build.build_optimizer(settings.optimizer, 100)
    state = train.state.initial(
        parts.model, parts.method, optimizer, batch["inputs"], len(parts.tasks), 0
    )
    step = train.make_train_step(
        objective.make_losses(parts.model, parts.tasks),
        parts.method,
        optimizer,
        at=settings.method.at,
        parallel="jit",
        steps_per_epoch=10,
    )
    losses = []
    for _ in range(12):
        state, output = step(state, batch)
        losses.append(np.asarray(jax.device_get(output.losses)))
    assert losses[0].shape == (len(named),)
    assert np.isfinite(losses).all()
    present = np.asarray(output.present)
    one = settings.data.args.get("policy") == "round_robin"
    assert present.sum() == (1 if one else len(named))
    if settings.model.architecture == "domain_adversarial":
        present = present & (
            np.array(named) != "domain"
        )  # which the trunk works against
    assert (losses[-1] < losses[0])[present].all(), "the loss of every task falls"

"""Recipes of text: what goes in, what comes out, and what must not leak."""

import dataclasses
import gzip

import numpy as np
import pytest

from mtl_jax import build, config, data, run, train, trained
from mtl_jax.data import recipes
from mtl_jax.data.recipes import corpora
from mtl_jax.data.tables import split
from mtl_jax.data.text import shapes, tokenize, vocabulary

TINY = corpora.Corpus(
    words={
        "train": [["Rome", "fell", "in", "476"], ["Why", "fell", "Rome", "?", "so"]],
        "validation": [["rome", "rose", "in", "1984"]],
        "test": [["Who", "fell", "?", "so", "in", "Rome", "so"]],
    },
    tags={
        "ner": {
            "train": [["B-LOC", "O", "O", "O"], ["O", "O", "B-LOC", "O", "O"]],
            "validation": [["B-LOC", "O", "O", ""]],
            "test": [["O", "O", "O", "O", "O", "B-ORG", "I-ORG"]],
        }
    },
)
REVIEWS = corpora.Corpus(
    words={
        "train": [["so", "good"], ["so", "bad"], ["bad"]],
        "validation": [["good"]],
        "test": [["terrible"]],
    },
    classes={
        "stars": {
            "train": ["good", "bad", ""],
            "validation": ["good"],
            "test": ["awful"],
        }
    },
)
PLAIN = {"length": 4, "min_count": 1, "lower": False}


def of_tiny(**more):
    return corpora.dataset("tiny", {"a": TINY}, **{**PLAIN, **more})


def test_a_corpus_of_tags():
    made = of_tiny()
    assert made.name == "tiny"
    tokens = {n: made.split(n).inputs["tokens"] for n in ("train", "validation")}
    tokens["test"] = made.test.inputs["tokens"]
    assert {n: (t.shape, t.dtype) for n, t in tokens.items()} == {
        "train": ((2, 4), np.int32),  # cut
        "validation": ((1, 4), np.int32),
        "test": ((1, 7), np.int32),  # not cut
    }
    words = made.facts["vocabulary"].to_list()
    assert sorted(words) == sorted(
        ["<pad>", "<unk>", "Rome", "fell", "in", "000", "Why", "?", "so"]
    )
    # An independent look-up: digits are alike; what is unknown so, in lower case.
    assert [words[i] for i in tokens["validation"][0]] == [
        *("<unk>", "<unk>", "in", "<unk>")
    ]
    assert [words[i] for i in tokens["test"][0]] == [
        *("<unk>", "fell", "?", "so", "in", "Rome", "so")
    ]
    labels = made.facts["tasks"]["ner"]["labels"]
    assert labels == ("O", "B-LOC", "B-ORG", "I-ORG")  # those of every split
    assert made.train.labels["ner"].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    assert made.validation.labels["ner"].tolist() == [[1, 0, 0, -1]]
    assert made.test.labels["ner"].tolist() == [[0, 0, 0, 0, 0, 2, 3]]
    assert made.facts["tasks"]["ner"]["num_classes"] == 4
    assert made.facts["model"] == {"vocabulary": 9}
    assert made.facts["text"] == {
        "cut": {"train": 0.1111, "validation": 0.0, "test": 0.0},
        "unknown": {"train": 0.0, "validation": 0.75, "test": 0.1429},
    }


def test_padding_is_zero_and_its_label_is_missing():
    made = of_tiny(length=99)
    assert made.train.inputs["tokens"].shape == (2, 5)
    assert made.train.inputs["tokens"][0, 4] == 0
    assert made.train.labels["ner"][0, 4] == -1
    assert (made.train.inputs["tokens"] > 0).sum() == 9


def test_the_vocabulary_is_of_train_alone():
    for lower in (False, True):
        made = of_tiny(lower=lower)
        known = {w.lower() for w in made.facts["vocabulary"].words}
        assert not known & {"rose", "who", "0000"}
    # Whatever the other splits hold, train stays as it is.
    other = TINY._replace(
        words={**TINY.words, "test": [["never", "seen"] * 3 + ["either"]]}
    )
    again = corpora.dataset("tiny", {"a": other}, **PLAIN)
    assert again.facts["vocabulary"] == of_tiny().facts["vocabulary"]
    assert (again.test.inputs["tokens"] == vocabulary.UNKNOWN).all()
    rare = of_tiny(min_count=2)
    assert set(rare.facts["vocabulary"].words) == {"Rome", "fell"}
    assert (rare.train.inputs["tokens"] == vocabulary.UNKNOWN).sum() == 4


def test_a_word_that_is_unknown_as_it_stands_is_looked_up_in_lower_case():
    known = vocabulary.Vocabulary(("so", "Rome"), fall_back=True)
    assert known.ids(["SO", "so", "rome", "ROME", "Rome"]) == [2, 2, 1, 1, 3]
    assert vocabulary.Vocabulary(("so",)).ids(["SO"]) == [1]
    made = vocabulary.Vocabulary.from_list(known.to_list(), fall_back=True)
    assert made == known


def test_an_unknown_word_is_looked_up_by_its_shape():
    rare = [[f"Land{c}ville", f"run{c}ning", f"{c}-7"] for c in "abcdefghijkl"]
    made = vocabulary.build(
        [*rare, ["the"] * 9, ["Odd!"] * 9], min_count=2, digits=True, fall_back=True
    )
    words = made.to_list()
    # Twelve of each among those left out; "Odd!" is known.
    assert words[:4] == ["<pad>", "<unk>", "Odd!", "the"]
    assert words[4:] == ["<Aa>", "<Aa~lle>", "<a0->", "<a>", "<a~ing>"]
    asked = ["Nashville", "Boston", "sing", "SING", "walking", "f-9", "The", "b2"]
    found = [words[i] for i in made.ids(asked)]
    assert found == [
        *("<Aa~lle>", "<Aa>", "<a>", "<unk>", "<a~ing>", "<a0->", "the", "<unk>")
    ]
    plain = vocabulary.build([*rare, ["the"] * 9], min_count=2)
    assert plain.words == ("the",)
    assert plain.ids(["Nashville", "The"]) == [1, 1]


@pytest.mark.parametrize(
    ("word", "shape", "ending"),
    [
        ("Rome", "<Aa>", ""),
        ("walked", "<a>", "~ked"),
        ("NATO", "<A>", ""),
        ("iPhone", "<aA>", "~one"),
        ("@user_7", "<a0@>", ""),
        ("B-52", "<A0->", ""),
        ("1984", "<0>", ""),
        ("...", "<.>", ""),
        ("Zürich", "<Aa>", "~ich"),
    ],
)
def test_shapes(word, shape, ending):
    long = shape[:-1] + ending + ">"
    assert shapes.shapes(word) == (long, shape)


def test_two_corpora_share_a_vocabulary_and_have_tasks_of_their_own():
    made = corpora.dataset("both", {"a": TINY, "b": REVIEWS}, **PLAIN)
    words = made.facts["vocabulary"].words
    assert {"Rome", "good"} <= set(words)
    assert len(words) == len(set(words))
    assert made.train.groups == (2, 3)
    assert made.train.inputs["tokens"].shape == (5, 4)
    assert made.test.inputs["tokens"].shape == (2, 7)
    assert made.test.labels["ner"].shape == (2, 7)
    assert made.train.masks["ner"].tolist() == [True] * 2 + [False] * 3
    assert made.train.masks["stars"].tolist() == [False, False, True, True, False]
    so = made.facts["vocabulary"].ids(["so"])[0]
    assert made.test.inputs["tokens"][0, 3] == made.train.inputs["tokens"][2, 0] == so
    assert made.facts["tasks"]["stars"] == {
        "kind": "classification",
        "num_classes": 3,
        "labels": ("awful", "bad", "good"),
    }
    assert made.train.labels["stars"][2:4].tolist() == [2, 1]
    with pytest.raises(ValueError, match="two corpora have a task 'ner'"):
        corpora.dataset("both", {"a": TINY, "b": TINY}, **PLAIN)


def test_vectors_from_a_file(tmp_path):
    path = tmp_path / "glove.txt.gz"
    rows = {"rome": [1.0, 2.0], "fell": [3.0, 5.0], "who": [7.0, -1.0]}
    text = "".join(f"{w} {a} {b}\n" for w, (a, b) in rows.items())
    path.write_bytes(gzip.compress(text.encode()))
    made = of_tiny(vectors=str(path))
    table, words = made.facts["model"]["vectors"], made.facts["vocabulary"].to_list()
    assert table.shape == (len(words), 2)
    assert table.dtype == np.float32
    assert made.facts["model"]["vocabulary"] == len(words)
    assert not table[0].any()
    assert table[words.index("Rome")].tolist() == rows["rome"]  # its lower-case form
    assert table[words.index("fell")].tolist() == rows["fell"]
    assert "who" not in words  # train does not have it
    more = of_tiny(vectors=[str(path)], all_vectors=True)
    words = more.facts["vocabulary"].to_list()
    assert more.facts["model"]["vectors"][words.index("who")].tolist() == rows["who"]
    first = more.test.inputs["tokens"][0, 0]
    assert words[first] == "who"  # written Who there
    assert words[more.validation.inputs["tokens"][0, 0]] == "rome"
    same = of_tiny(vectors=str(path), seed=1).facts["model"]["vectors"]
    assert not np.array_equal(same, table)  # words without a vector are drawn


NAMES = [f"w{chr(ord('a') + i)}" for i in range(24)]  # digits would be alike


# ---- columns -------------------------------------------------------------------------


def as_iob1(tags):
    """IOB2 to IOB1: B only behind a chunk of the same type, written from its rule."""
    out = []
    for i, tag in enumerate(tags):
        before = tags[i - 1][2:] if i and tags[i - 1] != "O" else None
        out.append("I" + tag[1:] if tag[0] == "B" and tag[2:] != before else tag)
    return out


def random_chunks(seed, count=40):
    rng = np.random.default_rng(seed)
    sentences = []
    for _ in range(count):
        tags = []
        while len(tags) < 9:
            kind = rng.choice(["O", "PER", "LOC"])
            inside = [] if kind == "O" else [f"I-{kind}"] * rng.integers(0, 3)
            tags += ["O"] if kind == "O" else [f"B-{kind}", *inside]
        sentences.append(tags[:9])
    return sentences


def write_columns(path, sentences, separator=" "):
    lines = []
    for n, tags in enumerate(sentences):
        # Words that tell the tag.
        words = [NAMES[ord(tag[-1]) % 20 + (tag[0] == "B") + n % 2] for tag in tags]
        rows = [(words[i], f"P{i % 3}", tag) for i, tag in enumerate(tags)]
        lines += [separator.join(row) for row in rows] + [""]
    path.write_text("\n".join(lines))


COLUMNS = {"words": 0, "pos": 1, "ner": 2}


def test_iob1_gives_the_labels_of_iob2(tmp_path):
    chunks = random_chunks(0)
    old = [as_iob1(tags) for tags in chunks]
    assert old != chunks
    write_columns(tmp_path / "iob2.txt", chunks)
    write_columns(tmp_path / "iob1.txt", old)
    a, b = (
        recipes.make("conll", path=tmp_path / name, columns=COLUMNS)
        for name in ("iob2.txt", "iob1.txt")
    )
    for name in ("train", "validation", "test"):
        for task in ("pos", "ner"):
            one, other = (d.split(name).labels[task] for d in (a, b))
            np.testing.assert_array_equal(one, other)
    names = a.facts["tasks"]["ner"]["labels"]
    assert names == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
    assert b.facts["tasks"]["ner"]["labels"] == names
    found = [[names[i] for i in row] for row in a.train.labels["ner"].tolist()]
    rows = split.by_row(40, (0.8, 0.1, 0.1), 0)["train"]
    assert found == [chunks[i] for i in rows]


def test_files_of_a_folder_and_what_is_made_of_a_column(tmp_path):
    chunks = {name: random_chunks(i, 6) for i, name in enumerate(("train", "test"))}
    chunks["test"][0][0] = "_"
    for name, sentences in chunks.items():
        write_columns(tmp_path / f"{name}.tsv", sentences, "\t")
    made = recipes.make(
        "conll",
        path=str(tmp_path),
        files={"train": "train.tsv", "test": "test.tsv"},
        columns={"words": 0, "pos": 1, "ner": -1},
        targets=("ner",),
        separator="\t",
        missing="_",
        boundaries={"segment": "ner"},
    )
    assert made.validation is None
    assert list(made.facts["tasks"]) == ["ner", "segment"]
    assert made.facts["tasks"]["segment"]["labels"] == ("O", "B", "I")
    names = made.facts["tasks"]["ner"]["labels"]
    for name, part in (("train", made.train), ("test", made.test)):
        ner, segment = part.labels["ner"], part.labels["segment"]
        for row, tags in enumerate(chunks[name]):
            for i, tag in enumerate(tags):
                if tag == "_":
                    assert ner[row, i] == segment[row, i] == -1
                    continue
                assert names[ner[row, i]][2:] == tag[2:]
                assert "OBI"[segment[row, i]] == names[ner[row, i]][0]


def test_what_is_wrong_with_columns_is_said(tmp_path):
    path = tmp_path / "tiny.txt"
    write_columns(path, random_chunks(0, 10))

    def made(**more):
        return recipes.make("conll", **{"path": path, "columns": COLUMNS, **more})

    with pytest.raises(ValueError, match="must say which one holds the 'words'"):
        made(columns={"ner": 2})
    with pytest.raises(ValueError, match="must say which one holds the 'words'"):
        made(columns={"words": 0})
    with pytest.raises(ValueError, match=r"unknown target in columns 'nre'.*'ner'"):
        made(targets=("nre",))
    with pytest.raises(ValueError, match="is a folder: say which files to read"):
        made(path=tmp_path)
    with pytest.raises(ValueError, match="unknown split in files 'dev'"):
        made(path=tmp_path, files={"dev": "tiny.txt"})
    with pytest.raises(ValueError, match="has no training sentences"):
        made(path=tmp_path, files={"test": "tiny.txt"})
    with pytest.raises(ValueError, match="unknown task that 'segment' is made of 'x'"):
        made(boundaries={"segment": "x"})
    with pytest.raises(ValueError, match="line 1 has 3 columns, too few for column 3"):
        made(columns={"words": 0, "ner": 3})
    with pytest.raises(ValueError, match="unknown hyper-parameter of recipe 'conll'"):
        made(sep=" ")
    with pytest.raises(FileNotFoundError):
        made(path=tmp_path / "none.txt")


# ---- documents -----------------------------------------------------------------------


def write_documents(folder):
    rng = np.random.default_rng(0)
    for name, classes in (("books", ["bad", "good"]), ("films", ["a", "b", "c"])):
        lines = []
        for n in range(30):
            own = NAMES[n % len(classes) :: len(classes)]  # words that tell the class
            text = " ".join(rng.choice(own, rng.integers(3, 8)))
            lines.append(f"{name} {n % 25}: {text}\t{classes[n % len(classes)]}")
        lines[7] = lines[3].rpartition("\t")[0] + "\tgood"  # the same text twice
        lines[11] = "no class here\t"
        if name == "films":
            lines[7] = lines[3]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return {"books": "books.tsv", "films": "films.tsv"}


def texts_of(part, task, words):
    rows = np.flatnonzero(part.masks[task])
    tokens = part.inputs["tokens"][rows]
    return [" ".join(words[i] for i in row if i) for row in tokens]


def test_documents_by_path(tmp_path):
    files = write_documents(tmp_path)
    made = recipes.make("documents", path=tmp_path, files=files, min_count=1)
    kinds = {n: t["kind"] for n, t in made.facts["tasks"].items()}
    assert kinds == {"books": "binary", "films": "classification"}
    assert made.facts["tasks"]["films"]["labels"] == ("a", "b", "c")
    words = made.facts["vocabulary"].to_list()
    total = 0
    for name in ("train", "validation", "test"):
        part = made.split(name)
        assert not (part.masks["books"] & part.masks["films"]).any()
        total += int(part.masks["books"].sum())
    assert total == 29  # one has no class
    # Texts and classes belong together: read the file again, cut by hand.
    lines = (tmp_path / "films.tsv").read_text().strip().split("\n")
    wanted = {
        tuple(tokenize.words(text, lower=True)): label
        for text, _, label in (line.rpartition("\t") for line in lines)
    }
    part = made.train
    for row in np.flatnonzero(part.masks["films"]):
        text = [words[i] for i in part.inputs["tokens"][row] if i]
        classes = made.facts["tasks"]["films"]["labels"]
        label = classes[part.labels["films"][row]]
        found = {
            label
            for known, label in wanted.items()
            if [_as_zeros(w) for w in known] == text
        }
        assert label in found


def _as_zeros(word):
    return "".join("0" if c.isdigit() else c for c in word)


def test_equal_texts_are_in_one_split_and_folds_cover_everything(tmp_path):
    files = write_documents(tmp_path)
    arguments = {"path": tmp_path, "files": files, "min_count": 1}
    tests = []
    for fold in range(3):
        made = recipes.make("documents", folds=3, fold=fold, **arguments)
        tests.append(sum(len(made.split(n)) for n in ("train", "validation", "test")))
        # A tenth of the texts that are left, of each task.
        assert len(np.unique(made.validation.inputs["tokens"], axis=0)) == 4
        parts = [made.split(n).inputs["tokens"] for n in ("train", "validation")]
        seen = {tuple(i for i in row if i) for part in parts for row in part.tolist()}
        tested = made.test.inputs["tokens"].tolist()
        shared = made.facts["vocabulary"].ids(["no", "class", "here"])
        assert {tuple(i for i in row if i) for row in tested} & seen <= {tuple(shared)}
    assert tests == [60] * 3
    for folds, fold in ((1, 0), (3, 3), (99, 0)):
        with pytest.raises(ValueError, match=f"fold {fold} of {folds} of"):
            recipes.make("documents", folds=folds, fold=fold, **arguments)
    with pytest.raises(ValueError, match="was given no files"):
        recipes.make("documents", path=tmp_path, files={})
    (tmp_path / "odd.tsv").write_text("fine\t1\nno tab\n")
    with pytest.raises(ValueError, match="line 2 has no tab: 'no tab'"):
        recipes.make("documents", path=tmp_path, files={"odd": "odd.tsv"})


def test_folds_are_disjoint_and_whole():
    groups = [f"g{i % 17}" for i in range(50)]
    tests = []
    for fold in range(4):
        parts = split.by_fold(groups, 4, fold, validation=0.25, seed=3)
        rows = np.concatenate([parts[n] for n in ("train", "validation", "test")])
        assert sorted(rows.tolist()) == list(range(50))
        of = [{groups[i] for i in part} for part in parts.values()]
        assert not (of[0] & of[1] or of[0] & of[2] or of[1] & of[2])
        tests.append(parts["test"])
    assert sorted(np.concatenate(tests).tolist()) == list(range(50))
    assert set(split.by_fold(groups, 4, 0)) == {"train", "test"}
    with pytest.raises(ValueError, match="validation is 1"):
        split.by_fold(groups, 4, 0, validation=1)


# ---- lengths -------------------------------------------------------------------------


def tokens_of(count, length):
    return {"tokens": np.ones((count, length), np.int32)}


def test_texts_of_one_split_may_be_longer_than_those_of_another():
    labels = {"a": np.zeros(2, np.int32)}
    made = data.from_splits((tokens_of(2, 3), labels), test=(tokens_of(2, 9), labels))
    assert made.test.inputs["tokens"].shape == (2, 9)
    with pytest.raises(ValueError, match="an input of train has shape"):
        data.from_splits(
            ({"numeric": np.ones((2, 3))}, labels),
            test=({"numeric": np.ones((2, 9))}, labels),
        )


def test_labels_of_words_are_as_long_as_the_joined_texts():
    words = data.from_splits(
        (tokens_of(2, 3), {"tag": np.ones((2, 3), np.int32)}),
        test=(tokens_of(2, 7), {"tag": np.ones((2, 7), np.int32)}),
    )
    texts = data.from_splits(
        (tokens_of(2, 5), {"class": np.ones(2, np.int32)}),
        test=(tokens_of(2, 4), {"class": np.ones(2, np.int32)}),
    )
    both = data.per_task({"words": words, "texts": texts})
    assert both.train.inputs["tokens"].shape == both.train.labels["tag"].shape == (4, 5)
    assert both.test.inputs["tokens"].shape == both.test.labels["tag"].shape == (4, 7)
    assert both.train.labels["tag"][:2].tolist() == [[1, 1, 1, -1, -1]] * 2


# ---- training ------------------------------------------------------------------------


def settings_of(folder, **model):
    """Tags and documents from files of the user, a run of a few steps."""
    write_columns(folder / "tags.txt", random_chunks(1, 60))
    files = write_documents(folder)
    vectors = folder / "vectors.txt"
    rows = np.random.default_rng(0).normal(size=(len(NAMES), 4)).round(3).tolist()
    lines = [
        f"{name} {' '.join(map(str, row))}\n"
        for name, row in zip(NAMES, rows, strict=True)
    ]
    vectors.write_text("".join(lines))
    return config.Config(
        name="tiny",
        data=config.DataConfig(
            name="words_and_documents",
            args={
                "tags": {"path": str(folder / "tags.txt"), "columns": COLUMNS},
                "documents": {"path": str(folder), "files": files},
                "vectors": [str(vectors)],
                "length": 7,
            },
        ),
        tasks=(
            config.TaskConfig("ner", "tokens"),
            config.TaskConfig("books", "binary"),
            config.TaskConfig("films", "classification"),
        ),
        model=config.ModelConfig(trunk="bilstm", trunk_args=model),
        optimizer=config.OptimizerConfig("adam", 0.03),
        train=config.TrainConfig(epochs=6, batch_size=24, parallel="jit", log_every=99),
    )


def test_a_run_over_files_of_the_user(tmp_path):
    settings = settings_of(tmp_path, width=4, hidden=5, freeze=True)
    result = run.train_run(settings, tmp_path / "run", level="error")
    losses = [row for row in result.history if row["split"] == "train"]
    for task in ("ner", "books", "films"):
        assert losses[-1][f"{task}/loss"] < losses[0][f"{task}/loss"]
    assert {"ner/span_f1", "books/auc", "films/f1"} <= set(result.test)
    again = trained.evaluate_run(tmp_path / "run", "test")
    assert again["ner/loss"] == pytest.approx(result.test["ner/loss"], rel=1e-6)
    # New texts, of another length than in training.
    known = build.build_data(settings).facts["vocabulary"]
    texts = [known.ids(tokenize.words("wa wb wc said nobody"))]
    found = trained.predict_run(tmp_path / "run", {"tokens": np.array(texts, np.int32)})
    assert found["ner/prediction"].shape == (1, 5)
    assert found["books/prediction"].shape == (1,)


def test_a_task_can_be_trained_alone(tmp_path):
    settings = settings_of(tmp_path, width=4, hidden=5)
    alone = dataclasses.replace(settings, tasks=settings.tasks[1:2])
    dataset = build.build_data(alone)
    parts = build.build(alone, dataset.facts)
    result = train.fit(
        parts.model, parts.tasks, dataset, epochs=1, batch_size=24, parallel="jit"
    )
    assert {key.partition("/")[0] for key in result.test} >= {"books"}
    assert not any(key.startswith(("ner", "films")) for key in result.test)
    assert np.isfinite(result.test["books/loss"])

"""Readers of words, tags and vectors; vocabularies; encoding."""

import collections
import gzip
import itertools

import numpy as np
import pytest

from mtl_jax.data.text import conll, encode, tokenize, vectors, vocabulary

CONLL = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
 \t
# NN I-NP O
of IN I-PP O
"""

CONLLU = """# sent_id = one
# text = I don't.
1\tI\tPRON\t_
2-3\tdon't\t_\t_
2\tdo\tAUX\t_
3\tn't\tPART\t_
3.1\tknow\tVERB\t_
4\tNew York\tPROPN\t_

# text = no identifier here
1\tWhy\tADV\t_
"""


@pytest.mark.parametrize("zipped", [False, True])
def test_columns_of_words(tmp_path, zipped):
    path = tmp_path / "tiny.txt"
    content = CONLL.replace("\n", "\r\n").encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = conll.read(path, {"words": 0, "pos": 1, "ner": -1})
    assert found == {
        "words": [["EU", "rejects"], ["#", "of"]],  # here # is a word
        "pos": [["NNP", "VBZ"], ["NN", "IN"]],
        "ner": [["I-ORG", "O"], ["O", "O"]],
    }
    commented = conll.read(path, {"words": 0}, comment="#")
    assert commented["words"] == [["EU", "rejects"], ["of"]]


def test_conllu(tmp_path):
    path = tmp_path / "tiny.conllu"
    path.write_text(CONLLU)
    found = conll.read(
        path, {"words": 1, "upos": 2}, separator="\t", ids=0, metadata=["sent_id"]
    )
    assert found["words"] == [["I", "do", "n't", "New York"], ["Why"]]
    assert found["upos"] == [["PRON", "AUX", "PART", "PROPN"], ["ADV"]]
    assert found["sent_id"] == ["one", ""]


def test_lines_that_are_wrong_are_named(tmp_path):
    path = tmp_path / "bad.conll"
    path.write_text("EU NNP O\nrejects VBZ\n")
    with pytest.raises(ValueError, match=r"bad\.conll, line 2 has 2 columns, too few"):
        conll.read(path, {"words": 0, "ner": 2})
    with pytest.raises(ValueError, match=r"line 2 has 2 columns, the first line has 3"):
        conll.read(path, {"words": 0, "ner": -1})
    assert conll.read(path, {"words": 0})["words"] == [["EU", "rejects"]]
    path.write_bytes("EU O\ncafé O\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"bad\.conll, line 2: not UTF-8 .* iconv"):
        conll.read(path, {"words": 0})
    path.write_bytes(gzip.compress(b"EU O\n" * 999)[:-10])
    with pytest.raises(ValueError, match=r"bad\.conll .* incomplete gzip"):
        conll.read(path, {"words": 0})


def spans(tags):
    """Entities by the definition of IOB1, which IOB2 also satisfies."""
    found, start = [], None
    for i, tag in enumerate([*tags, "O"]):
        before = tags[i - 1] if i else "O"
        goes_on = tag.startswith("I-") and before != "O" and before[2:] == tag[2:]
        if start is not None and not goes_on:
            found.append((start, i, tags[start][2:]))
            start = None
        if tag != "O" and start is None:
            start = i
    return found


def test_iob2_keeps_the_entities():
    rng = np.random.default_rng(0)
    names = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    for _ in range(300):
        tags = [names[i] for i in rng.integers(0, len(names), rng.integers(1, 9))]
        made = conll.iob2(tags)
        assert spans(made) == spans(tags)
        starts = {start for start, _, _ in spans(tags)}
        assert {i for i, tag in enumerate(made) if tag[0] == "B"} == starts
        assert conll.iob2(made) == made
    with pytest.raises(ValueError, match="tag 'PER' is not of the scheme IOB"):
        conll.iob2(["O", "PER"])


def test_vocabulary_against_a_count_by_hand():
    rng = np.random.default_rng(0)
    sentences = [[f"w{i}" for i in rng.zipf(1.5, 12) % 40] for _ in range(60)]
    counts = collections.Counter(word for s in sentences for word in s)
    made = vocabulary.build(sentences, min_count=3, max_size=20)
    words = made.to_list()
    assert words[:2] == ["<pad>", "<unk>"]
    assert len(made) == len(words) == 20
    frequencies = [counts[word] for word in words[2:]]
    assert frequencies == sorted(frequencies, reverse=True)
    left_out = set(counts) - set(words)
    assert max(counts[word] for word in left_out) <= min(frequencies)
    assert min(frequencies) >= 3
    for a, b in itertools.pairwise(words[2:]):
        assert counts[a] > counts[b] or a < b
    assert vocabulary.build(reversed(sentences), min_count=3, max_size=20) == made
    ids = made.ids([*words[2:], "other", words[2]])
    assert ids == [*range(2, 20), 1, 2]
    assert vocabulary.Vocabulary.from_list(words) == made


def test_vocabulary_normalises():
    made = vocabulary.build([["In", "1984", "in"]], lower=True, digits=True)
    assert made.words == ("in", "0000")
    assert made.ids(["IN", "2026", "20"]) == [2, 3, 1]
    with pytest.raises(ValueError, match="'in' comes twice"):
        vocabulary.Vocabulary.from_list(["in", "in"])
    with pytest.raises(ValueError, match="max_size is 2: padding and unknown words"):
        vocabulary.build([["a"]], max_size=2)


def test_encoding():
    known = vocabulary.build([["to", "be", "or", "not", "to", "be"]])
    sentences = [["to", "be", "or"], ["whale"], []]
    tags = [["O", "B-PER", "O"], ["O"], []]
    whole = encode.tokens(sentences, known)
    assert whole.dtype == np.int32
    words = known.to_list()
    assert [[words[i] for i in row] for row in whole] == [
        ["to", "be", "or"],
        ["<unk>", "<pad>", "<pad>"],
        ["<pad>"] * 3,
    ]
    for length in (1, 2, 5):
        tokens = encode.tokens(sentences, known, length)
        classes = encode.tags(tags, ["O", "B-PER"], length)
        assert tokens.shape == classes.shape == (3, length)
        assert classes.dtype == np.int32
        np.testing.assert_array_equal(tokens == 0, classes == -1)
        keep = min(length, 3)
        np.testing.assert_array_equal(tokens[:, :keep], whole[:, :keep])
    missing = encode.tags([["", "O"]], ["O"])
    assert missing.tolist() == [[-1, 0]]
    with pytest.raises(ValueError, match=r"unknown tag 'B-PRE'\. Did you mean 'B-PER'"):
        encode.tags([["B-PRE"]], ["O", "B-PER"])
    with pytest.raises(ValueError, match="length is 0"):
        encode.tokens(sentences, known, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Don't panic!", ["Do", "n't", "panic", "!"]),
        ("can’t we’ll", ["ca", "n’t", "we", "’ll"]),
        ("<br /><br>3 < 4 > 2", ["3", "<", "4", ">", "2"]),
        ("1,000.50 at 12:30, 3rd", ["1,000.50", "at", "12:30", ",", "3rd"]),
        ("state-of-the-art...", ["state-of-the-art", "..."]),
        ("Zoë, naïve", ["Zoë", ",", "naïve"]),
    ],
)
def test_documents_to_words(text, expected):
    assert tokenize.words(text) == expected
    assert tokenize.words(text, lower=True) == [word.lower() for word in expected]


def write_vectors(path, words, rows, *, header=False):
    lines = [
        f"{w} {' '.join(map(str, row))}" for w, row in zip(words, rows, strict=True)
    ]
    if header:
        lines.insert(0, f"{len(words)} {len(rows[0])}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_vectors_of_several_files(tmp_path):
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    first, second = tmp_path / "a.txt", tmp_path / "b.txt.gz"
    write_vectors(first, ["the", "of", ". . ."], rows[:3], header=True)
    write_vectors(tmp_path / "b.txt", ["naïve", "the"], rows[3:])
    second.write_bytes(gzip.compress((tmp_path / "b.txt").read_bytes()))
    words, table = vectors.read([first, second])
    assert words == ["the", "of", ". . .", "naïve"]  # the first vector of "the" counts
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table, rows[:4])
    words, table = vectors.read([first, second], keep={"naïve", "of", "zebra"})
    assert words == ["of", "naïve"]
    np.testing.assert_array_equal(table, rows[[1, 3]])
    with pytest.raises(ValueError, match=r"a\.txt: 3 words, none of them wanted"):
        vectors.read(first, keep=set())


@pytest.mark.parametrize(
    "line", ["short 0.5", "text 0.5 one 2", "nan 0.5 nan 2", "0.5 1 2"]
)
def test_malformed_vectors_are_named(tmp_path, line):
    path = tmp_path / "vectors.txt"
    path.write_text(f"the 0.5 1 2\n{line}\n")
    with pytest.raises(
        ValueError, match=r"vectors\.txt, line 2: expected a word and 3"
    ):
        vectors.read(path)


def test_vectors_in_another_encoding(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"\x96 0.5 1\ncaf\xc3\xa9 1 2\n")
    assert vectors.read(path)[0] == ["\N{EN DASH}", "café"]


def test_a_table_of_embeddings():
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(400)]
    rows = rng.normal(2.0, 3.0, (400, 2))
    known = vocabulary.Vocabulary.from_list(
        ["W7", *words[::2], *(f"new{i}" for i in range(2000))]
    )
    table, found = vectors.table(known, words, rows, seed=3)
    assert table.shape == (len(known), 2)
    assert table.dtype == np.float32
    np.testing.assert_array_equal(table[0], 0.0)
    np.testing.assert_array_equal(table[2], rows[7].astype(np.float32))  # lower case
    np.testing.assert_array_equal(table[3:203], rows[::2].astype(np.float32))
    assert found.sum() == 201
    drawn = table[~found][1:]
    sample = rows[[7, *range(0, 400, 2)]]
    np.testing.assert_allclose(drawn.mean(0), sample.mean(0), atol=0.25)
    np.testing.assert_allclose(drawn.std(0), sample.std(0), atol=0.25)
    again, _ = vectors.table(known, words, rows, seed=3)
    np.testing.assert_array_equal(table, again)
    with pytest.raises(ValueError, match="none of the 1 words of the vocabulary"):
        vectors.table(vocabulary.Vocabulary(("x",)), words, rows)
    with pytest.raises(ValueError, match=r"400 words but vectors of shape \(2,\)"):
        vectors.table(known, words, rows[0])


def test_glove_as_distributed(shared_dir):
    folder = shared_dir / "data" / "glove50_subset"
    if not folder.is_dir():
        pytest.skip("the GloVe vectors are not in ../shared/data/glove50_subset")
    words, table = vectors.read(sorted(folder.glob("*.gz")))
    assert table.shape == (len(words), 50) == (2446 + 5403, 50)
    the = table[words.index("the")]
    np.testing.assert_allclose(the[:3], [0.418, 0.24968, -0.41242])

    def cosine(a, b):
        a, b = table[words.index(a)], table[words.index(b)]
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    assert cosine("king", "queen") > 0.7 > 0.3 > cosine("king", "water")

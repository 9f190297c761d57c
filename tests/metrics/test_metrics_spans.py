"""F1 of chunks, against the rules of conlleval word by word, and cases by hand."""

import gzip

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import splits

from mtl_jax import metrics, tasks
from mtl_jax.metrics import tags

IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
IOBES = (*(f"{p}-{t}" for t in ("PER", "LOC", "ORG") for p in "BIES"), "O")
BARE = ("I", "O", "B")
IOE = ("O", "I-NP", "E-NP", "I-VP", "E-VP")


def parts(tag):
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def a_chunk_ends(before, now):
    (prefix, kind), (next_prefix, next_kind) = parts(before), parts(now)
    if prefix in ("E", "S"):
        return True
    if prefix in ("B", "I") and next_prefix in ("B", "S", "O"):
        return True
    return prefix != "O" and kind != next_kind


def a_chunk_starts(before, now):
    (prefix, kind), (next_prefix, next_kind) = parts(before), parts(now)
    if next_prefix in ("B", "S"):
        return True
    if prefix in ("E", "S", "O") and next_prefix in ("E", "I"):
        return True
    return next_prefix != "O" and kind != next_kind


def conlleval(sentences):
    """`{type: [correct, guessed, actual]}` of sentences of (truth, guess) pairs.

    As the script does it: one pass over the words, with O at each sentence's ends, that
    remembers whether the present chunk has been right so far.
    """
    table = {}

    def count(kind, column):
        table.setdefault(kind, [0, 0, 0])[column] += 1

    going = False
    before = ("O", "O")
    for words in sentences:
        for now in [*words, ("O", "O")]:
            (truth, guess), (last_truth, last_guess) = now, before
            ends = a_chunk_ends(last_truth, truth), a_chunk_ends(last_guess, guess)
            if going:
                if all(ends) and parts(last_truth)[1] == parts(last_guess)[1]:
                    going = False
                    count(parts(last_truth)[1], 0)
                elif ends[0] != ends[1] or parts(truth)[1] != parts(guess)[1]:
                    going = False
            starts = (
                a_chunk_starts(last_truth, truth),
                a_chunk_starts(last_guess, guess),
            )
            if all(starts) and parts(truth)[1] == parts(guess)[1]:
                going = True
            if starts[0]:
                count(parts(truth)[1], 2)
            if starts[1]:
                count(parts(guess)[1], 1)
            before = now
    return table


def rates(correct, guessed, actual):
    precision = correct / guessed if guessed else 0.0
    recall = correct / actual if actual else 0.0
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def logits_of(guess, classes):
    rng = np.random.default_rng(16)
    scores = rng.uniform(size=(*guess.shape, classes))
    np.put_along_axis(scores, guess[..., None], 2, -1)
    return scores.astype(np.float32)


def check(names, guess, labels, mask, cuts=()):
    """All metrics against the loop over the words that count."""
    sentences = [
        [(names[y], names[g]) for y, g in zip(*row, strict=True) if y >= 0]
        for row in zip(labels[mask], guess[mask], strict=True)
    ]
    table = conlleval(sentences)
    outputs = logits_of(guess, len(names))
    overall = rates(*np.sum([[0, 0, 0], *table.values()], axis=0))
    for rate, expected in overall.items():
        metric = metrics.make(f"span_{rate}", labels=names)
        found = splits.value(metric, outputs, labels, mask, cuts=cuts)
        assert found == pytest.approx(expected, abs=1e-12)
    metric = metrics.span_per_type(names)
    found = splits.value(metric, outputs, labels, mask, cuts=cuts)
    kinds = {parts(name)[1] for name in names} - {""}
    expected = {
        f"span_per_type_{kind}_{rate}": value
        for kind in kinds
        for rate, value in rates(*table.get(kind, (0, 0, 0))).items()
    }
    assert found == pytest.approx(expected, abs=1e-12)
    return overall


@pytest.mark.parametrize("names", [IOB, IOBES, BARE, IOE], ids=["iob", "es", "b", "e"])
@pytest.mark.parametrize("cuts", splits.CUTS)
@pytest.mark.parametrize("gaps", ["none", "end", "inside"])
def test_random_tags_well_formed_or_not(names, cuts, gaps):
    rng = np.random.default_rng(17)
    labels = rng.integers(0, len(names), (12, 25))
    guess = np.where(
        rng.uniform(size=labels.shape) < 0.7,
        labels,
        rng.integers(0, len(names), labels.shape),
    )
    if gaps == "end":
        labels[np.arange(25) >= rng.integers(0, 26, (12, 1))] = -1
        labels[3] = -1
    elif gaps == "inside":
        labels[rng.uniform(size=labels.shape) < 0.3] = -1
    found = check(names, guess, labels, np.arange(12) % 5 != 1, cuts)
    assert 0.1 < found["f1"] < 0.9


def numbers(names, *sentences):
    """Sentences of tags as classes, padded with -1."""
    rows = [[names.index(tag) for tag in sentence.split()] for sentence in sentences]
    width = max(map(len, rows)) + 2
    return np.array([row + [-1] * (width - len(row)) for row in rows])


def measured(names, truth, guess):
    labels, guess = numbers(names, *truth), np.maximum(numbers(names, *guess), 0)
    return check(names, guess, labels, np.ones(len(labels), bool))


def test_the_sentence_of_the_chunking_task():
    # "He reckons the current account deficit will narrow to only # 1.8 billion in
    # September .", the example of the CoNLL-2000 task: 8 chunks before the full stop.
    names = ("O", "B-NP", "I-NP", "B-VP", "I-VP", "B-PP", "I-PP")
    truth = (
        "B-NP B-VP B-NP I-NP I-NP I-NP B-VP I-VP B-PP B-NP I-NP I-NP I-NP B-PP B-NP O"
    )
    assert measured(names, [truth], [truth])["recall"] == 1
    # One word of a chunk lost: neither its start nor its end is enough.
    lost = truth.replace("I-NP I-NP I-NP B-VP", "I-NP I-NP O B-VP")
    found = measured(names, [truth], [lost])
    assert found["precision"] == found["recall"] == 7 / 8
    # "to only # 1.8 billion" as one chunk: two chunks for one.
    joined = truth.replace("B-PP B-NP I-NP I-NP I-NP", "B-NP I-NP I-NP I-NP I-NP")
    found = measured(names, [truth], [joined])
    assert found["precision"] == 6 / 7 and found["recall"] == 6 / 8


@pytest.mark.parametrize(
    "truth, guess, correct, guessed, actual",
    [
        # IOB1 and IOB2 tell the same chunks: B there only parts neighbours of one type.
        ("B-PER I-PER O B-LOC", "I-PER I-PER O I-LOC", 2, 2, 2),
        ("I-PER B-PER O O", "B-PER B-PER O O", 2, 2, 2),
        # An I of another type starts a chunk.
        ("B-PER I-PER I-LOC O", "B-PER I-PER B-LOC O", 2, 2, 2),
        ("B-PER I-LOC I-LOC O", "B-PER B-LOC I-LOC O", 2, 2, 2),
        # One that starts in the middle of an actual one is wrong, and so is the rest.
        ("B-PER I-PER I-PER O", "B-PER I-PER B-PER O", 0, 2, 1),
        ("B-PER I-PER I-PER O", "B-PER I-PER O O", 0, 1, 1),
        ("B-PER I-PER O O", "B-PER I-PER I-PER O", 0, 1, 1),
        ("B-PER I-PER O O", "B-LOC I-LOC O O", 0, 1, 1),
        # The type of the first word decides nothing alone.
        ("B-PER I-PER O O", "B-PER I-LOC O O", 0, 2, 1),
        # Chunks end with the sentence.
        ("O O B-PER I-PER", "O O I-PER I-PER", 1, 1, 1),
        ("O O O O", "O O O O", 0, 0, 0),
        ("O O O O", "O B-PER O O", 0, 1, 0),
        ("O B-PER O O", "O O O O", 0, 0, 1),
    ],
)
def test_iob_by_hand(truth, guess, correct, guessed, actual):
    assert measured(IOB, [truth], [guess]) == rates(correct, guessed, actual)


@pytest.mark.parametrize(
    "truth, guess, correct, guessed, actual",
    [
        ("B-PER E-PER S-PER O", "B-PER E-PER S-PER O", 2, 2, 2),
        ("B-PER I-PER E-PER O", "I-PER I-PER I-PER O", 1, 1, 1),
        ("S-PER S-PER O O", "B-PER B-PER O O", 2, 2, 2),
        # E and S end a chunk whatever follows.
        ("S-PER I-PER E-PER O", "S-PER B-PER E-PER O", 2, 2, 2),
        ("B-PER E-PER I-PER O", "B-PER E-PER S-PER O", 2, 2, 2),
        ("E-PER E-PER O O", "S-PER S-PER O O", 2, 2, 2),
        ("B-PER S-PER O O", "B-PER I-PER O O", 0, 1, 2),
        ("B-PER E-LOC O O", "S-PER S-LOC O O", 2, 2, 2),
    ],
)
def test_iobes_by_hand(truth, guess, correct, guessed, actual):
    assert measured(IOBES, [truth], [guess]) == rates(correct, guessed, actual)


def test_no_chunk_goes_on_in_the_next_sentence():
    truth = ["O B-PER", "I-PER O"]
    found = measured(IOB, truth, ["O B-PER", "B-PER O"])
    assert found == rates(2, 2, 2)


def test_skipped_words_are_not_there():
    # As with word pieces of which only the first has a label.
    labels = np.array([[1, -1, -1, 2, 0, -1, 3, -1]])
    guess = np.array([[1, 0, 3, 2, 0, 3, 3, 4]])
    found = check(IOB, guess, labels, np.ones(1, bool))
    assert found == rates(2, 2, 2)


def test_conventions_where_there_is_nothing():
    outputs, labels = logits_of(np.zeros((2, 3), int), 5), np.zeros((2, 3), int)
    for name in ("span_f1", "span_precision", "span_recall"):
        metric = metrics.make(name, labels=IOB)
        assert splits.value(metric, outputs, labels, [True, True]) == 0
        assert np.isnan(splits.value(metric, outputs, labels, [False, False]))
        assert np.isnan(splits.value(metric, outputs, labels - 1, [True, True]))
    metric = metrics.span_per_type(IOB)
    found = splits.value(metric, outputs, labels, [True, True])
    assert list(found.values()) == [0.0] * 6
    found = splits.value(metric, outputs, labels, [False, False])
    assert np.isnan(list(found.values())).all()


def test_eight_devices_agree_with_one():
    rng = np.random.default_rng(18)
    labels, guess = rng.integers(0, 5, (2, 16, 9))
    outputs, mask = logits_of(guess, 5), np.arange(16) % 3 > 0
    metric = metrics.span_f1(IOB)
    cut = [a.reshape(8, 2, *a.shape[1:]) for a in (outputs, labels, mask)]
    stacked = jax.pmap(metric.update)(*cut)
    states = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(8)]
    found = metrics.evaluate(metric, states)["span_f1"]
    assert found == splits.value(metric, outputs, labels, mask) > 0


def test_several_tasks_at_once():
    rng = np.random.default_rng(19)
    labels, guess = rng.integers(-1, 5, (3, 4, 9)), rng.integers(0, 5, (3, 4, 9))
    metric = metrics.span_f1(list(IOB))
    assert metric.update is metrics.span_recall(IOB).update
    outputs, mask = logits_of(guess, 5), np.ones((3, 4), bool)
    together = jax.vmap(metric.update)(*map(jnp.asarray, (outputs, labels, mask)))
    for i in range(3):
        alone = metric.update(outputs[i], labels[i], mask[i])
        row = {name: leaf[i] for name, leaf in together.items()}
        jax.tree.map(np.testing.assert_array_equal, alone, row)


def test_entities_of_a_treebank(shared_dir):
    """The gold tags of a real set, with every fifth word's tag replaced."""
    kinds = ("PER", "ORG", "LOC", "OTH")
    names = ("O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))
    path = shared_dir / "data" / "uner_ewt" / "en_ewt-ud-dev.iob2.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    rows = []
    for sentence in text.strip().split("\n\n"):
        words = [w.split("\t") for w in sentence.split("\n") if w[0] != "#"]
        known = [word[2] if word[2] in names else "O" for word in words]  # B-O is O
        rows.append([names.index(tag) for tag in known][:40])
    assert len(rows) == 2001
    labels = np.array([row + [-1] * (40 - len(row)) for row in rows])
    rng = np.random.default_rng(20)
    noise = rng.integers(0, len(names), labels.shape)
    guess = np.where(rng.uniform(size=labels.shape) < 0.2, noise, np.maximum(labels, 0))
    found = check(names, guess, labels, np.ones(len(labels), bool))
    assert 0.05 < found["f1"] < 0.9
    assert check(names, np.maximum(labels, 0), labels, np.ones(2001, bool))["f1"] == 1


def test_what_tags_are():
    found = tags.parse(IOBES)
    assert found.kinds == ("PER", "LOC", "ORG") and found.outside.tolist()[-1]
    assert found.begins.tolist()[:4] == [True, False, False, True]
    assert found.ends.tolist()[:4] == [False, False, True, True]
    assert found.kind.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0]
    assert tags.parse(("O", "B-a-b")).kinds == ("a-b",)
    assert tags.parse(BARE).kinds == ("",)
    assert tags.are_tags(IOB) and tags.are_tags(BARE)
    for other in (
        ("NOUN", "VERB"),
        ("O", "X"),
        ("O",),
        ("B-PER", "I-PER"),
        ("O", "B-"),
    ):
        assert not tags.are_tags(other)


@pytest.mark.parametrize(
    "labels, text",
    [
        (("O", "PER"), "the label 'PER' is no chunk tag. Tags are O, and B, I, E or S"),
        (("O", "X-PER"), "'X-PER' is no chunk tag"),
        (("O", "B-"), "'B-' is no chunk tag"),
        (("O", "O-PER"), "'O-PER' is no chunk tag"),
        (("O",), r"\['O'\] have no chunk tag but O"),
    ],
)
def test_labels_that_are_no_tags_are_named(labels, text):
    with pytest.raises(ValueError, match=text):
        metrics.span_f1(labels)


def test_another_number_of_outputs_is_explained():
    update = metrics.span_f1(IOB).update
    with pytest.raises(
        ValueError, match=r"5 tags need outputs \[B, L, 5\] .*\(2, 3, 4\)"
    ):
        update(np.zeros((2, 3, 4)), np.zeros((2, 3), int), np.ones(2))
    with pytest.raises(ValueError, match=r"labels \[B, L\], but .*\(2, 5\) and \(2,\)"):
        update(np.zeros((2, 5)), np.zeros(2, int), np.ones(2))


def test_the_task_measures_chunks_where_its_classes_are_tags():
    assert len(tasks.tokens("ner", 5, IOB).metrics) == 4
    assert len(tasks.tokens("pos", 2, ("NOUN", "VERB")).metrics) == 1

"""English Web Treebank with entities: words, two part-of-speech tags, relation, NER.

Words, `upos`, `xpos` and `deprel` are those of UD_English-EWT (Silveira et al., "A Gold
Standard Dependency Corpus for English", LREC 2014), `ner` those of UNER_English-EWT
(Mayhew et al., "Universal NER", NAACL 2024), joined by the identifier of the sentence.
Multi-word ranges (`1-2`) and empty nodes (`8.1`) are no words and left out.

UNER was annotated on an earlier release of the treebank. Where a sentence has other
words or another identifier there (15 sentences of train, 3 of validation, 3 of test),
every `ner` of it is "", that is missing. UNER's stray tag `B-O` is read as `O`; its
class `OTH` is kept.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec
from mtl_jax.data.text import conll

TREEBANK = {
    "train": originals.File(
        "en_ewt-ud-train.conllu.gz",
        "3fb78e2b55482c8ee00caa653af436c88c9e5bc9a73ce26e4ae3ddc79d2b7e7b",
    ),
    "validation": originals.File(
        "en_ewt-ud-dev.conllu.gz",
        "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
    ),
    "test": originals.File(
        "en_ewt-ud-test.conllu.gz",
        "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
    ),
}
ENTITIES = {
    "train": originals.File(
        "en_ewt-ud-train.iob2.gz",
        "2d986b063bb92df99540e37de34b1415eb2a22958b86de3e4698ec3be05e339f",
    ),
    "validation": originals.File(
        "en_ewt-ud-dev.iob2.gz",
        "6355385419f57cb8d8081c7724e3d661931bb8984a313c0700c7966a3ac794d8",
    ),
    "test": originals.File(
        "en_ewt-ud-test.iob2.gz",
        "fd324478123ce6619641b0f4bf1c382407c1d6c28c8539ed6e4a327a39ea09c6",
    ),
}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The sentences, from the three files of each treebank in `folder`."""
    splits: dict[str, Iterable[spec.Example]] = {}
    for name in TREEBANK:
        columns = {"words": 1, "upos": 3, "xpos": 4, "deprel": 7}
        trees = _parsed(folder, TREEBANK[name], columns)
        tagged = _parsed(folder, ENTITIES[name], {"words": 1, "ner": 2})
        identifiers = trees.pop("sent_id")
        splits[name] = spec.examples(
            {**trees, "ner": aligned(identifiers, trees["words"], tagged)}
        )
    return splits


def aligned(
    identifiers: list[str], words: list[list[str]], tagged: dict[str, list]
) -> list[list[str]]:
    """The entity tags of each sentence, "" for every word where they do not fit.

    Args:
        identifiers: of the sentences wanted.
        words: of the sentences wanted.
        tagged: `sent_id`, `words` and `ner` of the sentences that are annotated.

    Returns:
        As many tags as words for each sentence.

    Example:
        >>> tagged = {"sent_id": ["a"], "words": [["Rome", "!"]], "ner": [["B", "B-O"]]}
        >>> aligned(["a", "b"], [["Rome", "!"], ["So", "what"]], tagged)
        [['B', 'O'], ['', '']]
    """
    entries = zip(tagged["sent_id"], tagged["words"], tagged["ner"], strict=True)
    known = {sent_id: (found, tags) for sent_id, found, tags in entries}
    result = []
    for sent_id, sentence in zip(identifiers, words, strict=True):
        found, tags = known.get(sent_id, ([], []))
        if found != sentence:
            tags = [""] * len(sentence)
        result.append(["O" if tag == "B-O" else tag for tag in tags])
    return result


def _parsed(folder: Path, file: originals.File, columns: dict[str, int]) -> dict:
    lines = originals.read_text(folder, file, "EWT").split("\n")
    return conll.parse(
        lines, columns, file.name, separator="\t", ids=0, metadata=("sent_id",)
    )


SPEC = spec.Spec(
    name="ewt",
    version="1.0.0",
    summary="16,622 sentences: part of speech (2), dependency relation, entities",
    features={
        "words": spec.WORDS,
        "upos": spec.WORDS,
        "xpos": spec.WORDS,
        "deprel": spec.WORDS,
        "ner": spec.WORDS,
    },
    splits={"train": 12544, "validation": 2001, "test": 2077},
    tasks={
        "upos": {"kind": "tokens", "num_classes": 17},
        "xpos": {"kind": "tokens", "num_classes": 49},
        "deprel": {"kind": "tokens", "num_classes": 51},
        "ner": {"kind": "tokens", "num_classes": 9},
    },
    licence="CC BY-SA 4.0 (both treebanks)",
    source="https://github.com/UniversalDependencies/UD_English-EWT and "
    "https://github.com/UniversalNER/UNER_English-EWT",
    read=read,
    files=(*TREEBANK.values(), *ENTITIES.values()),
)

"""Sentiment Labelled Sentences: 1,000 sentences of each of three web sites.

Kotzias, Denil, De Freitas and Smyth, "From Group to Individual Labels using Deep
Features", KDD 2015; they ask for the citation. There is one split, `train`. Spaces
around a sentence are left out.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec

FILES = {
    "amazon": originals.File(
        "amazon_cells_labelled.txt",
        "47003fc0a0d4840b00e96e715b6189bad09e7443a3da41c4cbe12ffc79f86ae3",
    ),
    "imdb": originals.File(
        "imdb_labelled.txt",
        "aef2e49e3da25714d61175e3a6e68eeef74a20a2f914318dc3be9947ea86512d",
    ),
    "yelp": originals.File(
        "yelp_labelled.txt",
        "c76468b7b5c6e56a0804d728345c5f84aa2142ddb214420f61cc9cfd4c00d2ea",
    ),
}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The sentences, from the three files in `folder`."""
    columns: dict[str, list] = {"text": [], "label": [], "domain": []}
    for domain, file in FILES.items():
        # Not splitlines: some sentences contain the control character NEL.
        for line in originals.read_text(folder, file, SPEC.name).split("\n"):
            text, tab, label = line.rpartition("\t")
            if tab:
                columns["text"].append(text.strip())
                columns["label"].append(int(label))
                columns["domain"].append(domain)
    return {"train": spec.examples(columns)}


SPEC = spec.Spec(
    name="uci_sentiment",
    version="1.0.0",
    summary="3,000 sentences of product, film and restaurant reviews; a task a domain",
    features={
        "text": spec.TEXT,
        "label": spec.INTEGER,
        "domain": spec.classes(tuple(FILES)),
    },
    splits={"train": 3000},
    tasks={
        domain: {"kind": "binary", "column": "label", "where": {"domain": domain}}
        for domain in FILES
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/331",
    read=read,
    files=tuple(FILES.values()),
)

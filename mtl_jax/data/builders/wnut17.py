"""WNUT 2017: new and rare entities in noisy user-generated text.

Derczynski, Nichols, van Erp and Limsopatham, "Results of the WNUT2017 Shared Task on
Novel and Emerging Entity Recognition", W-NUT at EMNLP 2017. Tags are IOB2.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec
from mtl_jax.data.text import conll

FILES = {
    "train": originals.File(
        "wnut17train.conll",
        "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
    ),
    "validation": originals.File(
        "emerging.dev.conll",
        "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
    ),
    "test": originals.File(
        "emerging.test.annotated",
        "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
    ),
}


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The sentences, from the three files in `folder`."""
    splits: dict[str, Iterable[spec.Example]] = {}
    for name, file in FILES.items():
        text = originals.read_text(folder, file, SPEC.name)
        columns = conll.parse(
            text.split("\n"), {"words": 0, "ner": 1}, file.name, separator="\t"
        )
        splits[name] = spec.examples(columns)
    return splits


SPEC = spec.Spec(
    name="wnut17",
    version="1.0.0",
    summary="5,690 noisy sentences with person, place, group, work, product entities",
    features={"words": spec.WORDS, "ner": spec.WORDS},
    splits={"train": 3394, "validation": 1009, "test": 1287},
    tasks={"ner": {"kind": "tokens", "num_classes": 13}},
    licence="CC BY 4.0",
    source="https://github.com/leondz/emerging_entities_17",
    read=read,
    files=tuple(FILES.values()),
)

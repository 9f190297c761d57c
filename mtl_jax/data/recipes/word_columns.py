"""Files of one word a line and a column a task, as a corpus."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax import errors
from mtl_jax.data import source
from mtl_jax.data.recipes import corpora
from mtl_jax.data.tables import split as split_lib
from mtl_jax.data.text import conll

FRACTIONS = (0.8, 0.1, 0.1)
_IOB = re.compile(r"O|[BI]-.+")


def read(
    *,
    path: str | os.PathLike[str],
    columns: Mapping[str, int],
    targets: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    fractions: Sequence[float] = FRACTIONS,
    separator: str | None = None,
    ids: int | None = None,
    comment: str | None = None,
    missing: str | None = None,
    boundaries: Mapping[str, str] | None = None,
    seed: int = 0,
) -> corpora.Corpus:
    """The sentences of the files and their tags; see `conll`."""
    tasks = _tasks(columns, targets)
    wanted = {name: columns[name] for name in ("words", *tasks)}

    def one(file: Path) -> dict[str, list]:
        return conll.read(file, wanted, separator=separator, ids=ids, comment=comment)

    found: dict[str, dict[str, list]] = {}
    if files:
        for split in files:
            if split not in source.SPLITS:
                raise errors.unknown_name("split in files", split, source.SPLITS)
        found = {split: one(Path(path) / name) for split, name in files.items()}
    elif Path(path).is_dir():
        raise ValueError(
            f"{path} is a folder: say which files to read, such as "
            "files={'train': 'train.txt', 'test': 'test.txt'}, or give the path of a "
            "file."
        )
    else:
        whole = one(Path(path))
        rows = split_lib.by_row(len(whole["words"]), fractions, seed)
        for split, part in rows.items():
            found[split] = {n: [column[i] for i in part] for n, column in whole.items()}
    if not found.get("train", {}).get("words"):
        raise ValueError(
            f"{path} has no training sentences. files must name 'train', and the file "
            "hold words."
        )
    tags = {t: {split: part[t] for split, part in found.items()} for t in tasks}
    tags = {task: _normalised(by_split, missing) for task, by_split in tags.items()}
    for name, of in (boundaries or {}).items():
        if of not in tags:
            raise errors.unknown_name(f"task that {name!r} is made of", of, tags)
        tags[name] = {
            split: [[tag.partition("-")[0] for tag in sentence] for sentence in part]
            for split, part in tags[of].items()
        }
    return corpora.Corpus({s: part["words"] for s, part in found.items()}, tags)


def _tasks(columns: Mapping[str, int], targets: Sequence[str]) -> list[str]:
    there = [name for name in columns if name != "words"]
    if "words" not in columns or not there:
        raise ValueError(
            f"columns {dict(columns)} must say which one holds the 'words' and which "
            "the tags of each task, such as {'words': 0, 'ner': 3}."
        )
    for name in targets:
        if name not in there:
            raise errors.unknown_name("target in columns", name, there)
    return list(targets) or there


def _normalised(by_split: Mapping[str, Any], missing: str | None) -> dict[str, Any]:
    """Tags with "" where they are missing, chunks in IOB2."""
    plain = {
        split: [["" if tag == missing else tag for tag in tags] for tags in part]
        for split, part in by_split.items()
    }
    found = {t for part in plain.values() for tags in part for t in tags} - {""}
    if not all(map(_IOB.fullmatch, found)):
        return plain
    return {split: [_iob2(tags) for tags in part] for split, part in plain.items()}


def _iob2(tags: list[str]) -> list[str]:
    """IOB2 of a sentence; tags that are missing stay so, and end a chunk."""
    written = conll.iob2([tag or "O" for tag in tags])
    return [new if tag else "" for tag, new in zip(tags, written, strict=True)]

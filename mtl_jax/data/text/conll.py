"""Files of one word a line, blank lines between sentences: CoNLL, CoNLL-U, IOB2."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mtl_jax.data import files

DOCUMENT = "-DOCSTART-"


def read(
    path: str | Path,
    columns: Mapping[str, int],
    *,
    separator: str | None = None,
    ids: int | None = None,
    comment: str | None = None,
    metadata: Sequence[str] = (),
) -> dict[str, list]:
    """The sentences of a UTF-8 file, zipped by gzip or not.

    Args:
        path: of the file.
        columns: the names wanted, and which column each is, counted from 0. A
            negative number counts from the end; then every line has to have as many
            columns as the first.
        separator: between columns; None is any run of spaces and tabs. Give
            a tab where words contain spaces.
        ids: the column of CoNLL-U identifiers. Lines with a range (`1-2`) or an
            empty node (`8.1`) are no words and left out.
        comment: how comment lines begin; default `#` with `ids`, else none, for
            a word may be `#`.
        metadata: keys of comments `# key = value` to return, a text a sentence.

    Returns:
        For each name in `columns` a list of sentences, each a list of texts; for each
        key in `metadata` a list of texts, "" where a sentence has none. Lines that
        begin with `-DOCSTART-` and sentences without words are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line with too few columns, a damaged file, or one that is not
            UTF-8; the text names the file and the line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "tiny.conll")
        ...     _ = path.write_text("Rome NNP B-LOC\\nfell VBD O\\n\\nWhy WRB O\\n")
        ...     found = read(path, {"words": 0, "ner": -1})
        >>> found["words"], found["ner"]
        ([['Rome', 'fell'], ['Why']], [['B-LOC', 'O'], ['O']])
    """
    return parse(
        files.text(Path(path)).split("\n"),
        columns,
        str(path),
        separator=separator,
        ids=ids,
        comment=comment,
        metadata=metadata,
    )


def parse(
    lines: Iterable[str],
    columns: Mapping[str, int],
    origin: str,
    *,
    separator: str | None = None,
    ids: int | None = None,
    comment: str | None = None,
    metadata: Sequence[str] = (),
) -> dict[str, list]:
    """The sentences in `lines`; `origin` is the name of the file in error texts.

    The other arguments, the result and the errors are those of `read`.
    """
    if comment is None and ids is not None:
        comment = "#"
    result: dict[str, list] = {name: [] for name in (*columns, *metadata)}
    sentence: list[list[str]] = []
    facts = dict.fromkeys(metadata, "")
    needed = 1 + max(
        (i for i in (*columns.values(), -1 if ids is None else ids) if i >= 0),
        default=0,
    )
    width: int | None = None

    def finish() -> None:
        if sentence:
            for name, index in columns.items():
                result[name].append([cells[index] for cells in sentence])
            for key in metadata:
                result[key].append(facts[key])
        sentence.clear()
        facts.update(dict.fromkeys(metadata, ""))

    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")
        if not line.strip() or line.startswith(DOCUMENT):
            finish()
            continue
        if comment is not None and line.startswith(comment):
            key, equals, value = line.removeprefix(comment).partition("=")
            if equals and key.strip() in facts:
                facts[key.strip()] = value.strip()
            continue
        cells = line.split(separator)
        if len(cells) < needed:
            raise ValueError(
                f"{origin}, line {number} has {len(cells)} columns, too few for column "
                f"{needed - 1} (counted from 0): {line[:60]!r}. Correct the line, or "
                "say which columns and which separator the file has."
            )
        if min(columns.values()) < 0:
            width = width or len(cells)
            if len(cells) != width:
                raise ValueError(
                    f"{origin}, line {number} has {len(cells)} columns, the first line "
                    f"has {width}: {line[:60]!r}. Correct the line, or count columns "
                    "from the front."
                )
        if ids is None or cells[ids].isdigit():
            sentence.append(cells)
    finish()
    return result


def iob2(tags: Sequence[str]) -> list[str]:
    """The tags of one sentence in IOB2, from IOB1 or IOB2.

    In IOB1 (CoNLL-2003 as published) an entity begins with `I-`, and with `B-` only
    where the one before it has the same class. In IOB2 it always begins with `B-`.

    Raises:
        ValueError: a tag that is neither `O` nor `B-` or `I-` with a class.

    Example:
        >>> iob2(["I-ORG", "O", "I-PER", "I-PER", "B-PER", "I-LOC"])
        ['B-ORG', 'O', 'B-PER', 'I-PER', 'B-PER', 'B-LOC']
    """
    result: list[str] = []
    before = "O"
    for tag in tags:
        kind, dash, name = tag.partition("-")
        if tag != "O" and (kind not in ("B", "I") or not dash or not name):
            raise ValueError(
                f"tag {tag!r} is not of the scheme IOB: expected O, B-CLASS or "
                "I-CLASS, such as B-PER."
            )
        begins = kind == "I" and before != name
        result.append(f"B-{name}" if begins else tag)
        before = name if tag != "O" else "O"
    return result

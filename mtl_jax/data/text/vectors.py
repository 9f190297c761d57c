"""Word vectors in GloVe's text format: a word and its numbers on each line.

Pennington, Socher and Manning, "GloVe: Global Vectors for Word Representation",
EMNLP 2014.
"""

from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np

from mtl_jax.data import files
from mtl_jax.data.text import vocabulary as vocabulary_lib


def read(
    paths: str | Path | Sequence[str | Path],
    *,
    keep: Container[str] | None = None,
) -> tuple[list[str], np.ndarray]:
    """The vectors in one or several files, zipped by gzip or not.

    A first line of two integers (the header of word2vec) is passed over. A word may
    contain spaces. Of a word that comes twice the first vector counts. A line that is
    not UTF-8 is read as Windows-1252, as in some copies of GloVe.

    Args:
        paths: of the file or files.
        keep: the words wanted; default all.

    Returns:
        The words, and their vectors, float32 `[V, D]`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line without D finite numbers behind its word (the text names
            the file and the line), a damaged file, or no vectors.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "tiny.txt")
        ...     _ = path.write_text("the 0.5 1\\nof -1 0.25\\n")
        ...     read(path)
        (['the', 'of'], array([[ 0.5 , 1. ], [-1. , 0.25]], dtype=float32))
    """
    if isinstance(paths, (str, Path)):
        paths = [paths]
    rows: dict[str, np.ndarray] = {}
    seen: set[str] = set()
    width = 0
    for path in paths:
        for number, raw in enumerate(files.lines(Path(path)), start=1):
            cells = _decoded(raw).rstrip("\r\n ").split(" ")
            if cells == [""] or (number == 1 and _is_header(cells)):
                continue
            width = width or len(cells) - 1
            word = " ".join(cells[:-width]) if width else ""
            if not word:
                raise _malformed(path, number, width, raw)
            if word not in seen and (keep is None or word in keep):
                try:
                    rows[word] = _vector(cells[-width:])
                except ValueError:
                    raise _malformed(path, number, width, raw) from None
            seen.add(word)
    if not rows:
        found = f"{len(seen)} words, none of them wanted" if seen else "no vectors"
        raise ValueError(f"{', '.join(map(str, paths))}: {found}.")
    return list(rows), np.stack(list(rows.values()))


def table(
    vocabulary: vocabulary_lib.Vocabulary,
    words: Sequence[str],
    vectors: np.ndarray,
    *,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The initial embeddings of a vocabulary.

    A word that has no vector as it stands takes that of its lower-case form, as GloVe's
    words are. Words without a vector, and the unknown word, are drawn from a normal
    distribution with the mean and deviation of the vectors found, column by column.

    Args:
        vocabulary: of V words.
        words: of the vectors.
        vectors: float `[len(words), D]`.
        seed: of the draws.

    Returns:
        float32 `[V, D]`, its row 0 (padding) zero; and bool `[V]`, whether each word
        has a vector of its own.

    Raises:
        ValueError: other lengths, or no word of the vocabulary has a vector.

    Example:
        >>> known = vocabulary_lib.Vocabulary.from_list(["the", "Of"])
        >>> vectors = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> rows, found = table(known, ["the", "of"], vectors)
        >>> rows[[0, 2, 3]].tolist(), found.tolist()
        ([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]], [False, False, True, True])
    """
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise ValueError(
            f"{len(words)} words but vectors of shape {vectors.shape}: expected "
            "[words, dimensions]."
        )
    index = {word: row for row, word in reversed(list(enumerate(words)))}
    rows = [index.get(word, index.get(word.lower(), -1)) for word in vocabulary.words]
    reserved = len(vocabulary_lib.RESERVED)
    places = np.array([-1] * reserved + rows)
    found = places >= 0
    if not found.any():
        raise ValueError(
            f"none of the {len(vocabulary.words)} words of the vocabulary has a "
            "vector. Are they of another language, or normalised otherwise?"
        )
    known = vectors[places[found]]
    rng = np.random.default_rng(seed)
    result = rng.normal(known.mean(0), known.std(0), (len(places), vectors.shape[1]))
    result[found] = known
    result[vocabulary_lib.PADDING] = 0.0
    return result.astype(np.float32), found


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _is_header(cells: list[str]) -> bool:
    return len(cells) == 2 and all(cell.isdigit() for cell in cells)


def _vector(cells: list[str]) -> np.ndarray:
    vector = np.array(list(map(float, cells)), np.float32)
    if not np.isfinite(vector).all():
        raise ValueError("a number is not finite")
    return vector


def _malformed(path: str | Path, number: int, width: int, content: bytes) -> ValueError:
    return ValueError(
        f"{path}, line {number}: expected a word and {max(width, 1)} finite numbers, "
        f"separated by single spaces; found {content[:60]!r}. Is the file cut short, "
        "or are vectors of different lengths mixed?"
    )

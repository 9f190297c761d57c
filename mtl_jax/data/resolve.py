"""From the name of a set to its prepared directory; never the network."""

import os
from pathlib import Path
from typing import Any

from mtl_jax import errors
from mtl_jax.data import catalogue, locate, preparation, registry

PathLike = str | os.PathLike[str]


def directory(name_or_dir: PathLike, data_dir: PathLike | None = None) -> Path:
    """The directory of a prepared set; prepares `digits` if it is not there.

    Raises:
        FileNotFoundError: not on disk; the text holds the command that prepares it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     directory("digits", root).relative_to(root).as_posix()
        'digits/1.0.0'
    """
    name, root = os.fspath(name_or_dir), locate.data_root(data_dir)
    spec = registry.DATASETS.get(name.partition(":")[0])
    if spec is not None and name in (spec.name, f"{spec.name}:{spec.version}"):
        if spec.files and not locate.spec_dir(spec, root).exists():
            raise preparation.not_prepared(spec, data_dir)
        return preparation.prepare(spec.name, data_dir=data_dir)
    is_path = name.startswith((".", "~", os.sep))
    found = None if is_path else locate.find(name, root)
    found = found or locate.inside(Path(name).expanduser())
    if found is not None:
        return found
    if is_path or Path(name).is_dir():
        raise FileNotFoundError(
            f"{name} is not the directory of a prepared set: there is no "
            f"{locate.INFO} beside a {locate.FEATURES}. Give the directory with the "
            "version number, such as DATA_DIR/mnist/3.0.1."
        )
    raise FileNotFoundError(_how_to_get(name, root))


def builder(name_or_dir: PathLike, data_dir: PathLike | None = None) -> Any:
    """A TFDS builder that reads the prepared set in `directory(...)`.

    Raises:
        FileNotFoundError: not on disk; the text holds the command that prepares it.
        ValueError: a format that needs TensorFlow, or files missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     builder("digits", root).info.splits["train"].num_examples
        1258
    """
    path = directory(name_or_dir, data_dir)
    found = locate.read_info(path)
    if locate.FORMAT not in locate.formats(found):
        name = found.get("name", path.parent.name)
        ours = registry.DATASETS.get(name)
        other = Path("OTHER_DIR")
        command = catalogue.steps(name, other)
        if ours is not None:
            command = f"    {ours.command(other)}"
        raise ValueError(
            f"{path} is in the format {locate.formats(found)[0]!r}, which cannot be "
            f"read without TensorFlow. Prepare the set again as {locate.FORMAT}, in "
            f"another directory:\n{command}"
        )
    missing = locate.missing_shards(path, found)
    if missing:
        raise ValueError(
            f"{path} is incomplete: {', '.join(missing)} missing. Remove that "
            "directory and prepare the set again."
        )
    import tensorflow_datasets

    return tensorflow_datasets.builder_from_directory(path, file_format=locate.FORMAT)


def _how_to_get(name: str, root: Path) -> str:
    stock = catalogue.STOCK.get(name.partition(":")[0].partition("/")[0])
    if stock is not None:
        return (
            f"dataset {name!r} ({stock.holds}) is of the TFDS catalogue, not on disk "
            f"under {root}, and nothing is downloaded. Prepare it where TensorFlow and "
            f"a network are:\n{catalogue.steps(name, root)}"
        )
    ours = errors.unknown_name("dataset of mtl_jax", name, registry.DATASETS)
    return (
        f"dataset {name!r} is not on disk under {root}, and nothing is downloaded: "
        f"{ours} A set of the TFDS catalogue has to be prepared where TensorFlow and a "
        f"network are:\n{catalogue.steps(name, root)}"
    )

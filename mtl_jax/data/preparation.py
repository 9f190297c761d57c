"""Preparing our own sets, all or nothing, and saying what is there."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtl_jax.data import locate, registry

LOCK = ".mtl_jax_preparing.lock"
STAGING = ".mtl_jax_preparing_{name}_"
_ANYHOW = "zipped or not, in subfolders or not"

PathLike = str | os.PathLike[str]


def prepare(
    name: str, *, source_dir: PathLike | None = None, data_dir: PathLike | None = None
) -> Path:
    """Write one of our sets as TFDS array_record files; a no-op where it is there.

    The files appear under their final name in one rename. A run that is killed
    leaves a hidden staging folder, which the next one removes. Two processes that
    prepare at once wait for each other. The network is never touched.

    Args:
        name: a key of `DATASETS`.
        source_dir: the folder of the original files, for a set that needs them; they
            may lie in its subfolders.
        data_dir: default `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`.

    Returns:
        The directory of the prepared set.

    Raises:
        ValueError: unknown name, no `source_dir` where one is needed, a damaged
            file, or a directory in the way.
        FileNotFoundError: files missing in `source_dir`; all are named.
    """
    spec, root = registry.get(name), locate.data_root(data_dir)
    target = locate.spec_dir(spec, root)
    if is_prepared(name, data_dir):
        return target
    _refuse_occupied(spec, target)
    folder = _checked_source(spec, source_dir, data_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot create the data directory {root} ({error}). Set $TFDS_DATA_DIR "
            "or pass data_dir (--data-dir) to a place you may write to."
        ) from error
    with _locked(root) as alone:
        if is_prepared(name, data_dir):  # by the process that held the lock
            return target
        prefix = STAGING.format(name=name)
        for leftover in root.glob(f"{prefix}*") if alone else ():
            shutil.rmtree(leftover, ignore_errors=True)  # of a run that was killed
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        try:
            _build(spec, staging, folder)
            target.parent.mkdir(exist_ok=True)
            os.rename(staging / spec.name / spec.version, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return target


def is_prepared(name: str, data_dir: PathLike | None = None) -> bool:
    """Whether one of our sets lies complete under `data_dir`, in array_record files."""
    directory = locate.spec_dir(registry.get(name), locate.data_root(data_dir))
    if not locate.is_set(directory):
        return False
    found = locate.read_info(directory)
    return locate.FORMAT in locate.formats(found) and not locate.missing_shards(
        directory, found
    )


def info(name: str, data_dir: PathLike | None = None) -> dict[str, Any]:
    """What is known of one of our sets, prepared or not.

    Returns:
        `name`, `version`, `summary`, `features` (shape, dtype, num_classes),
        `splits` (examples), `tasks` (kind of task that each label makes), `licence`,
        `source`, `path`, `prepared`, `bytes` on disk, `files` that it is made from
        and `command` that prepares it.

    Example:
        >>> info("digits")["splits"]
        {'train': 1258, 'validation': 269, 'test': 270}
    """
    spec, root = registry.get(name), locate.data_root(data_dir)
    path = locate.spec_dir(spec, root)
    return {
        "name": spec.name,
        "version": spec.version,
        "summary": spec.summary,
        "features": spec.features,
        "splits": spec.splits,
        "tasks": spec.tasks,
        "licence": spec.licence,
        "source": spec.source,
        "path": path,
        "prepared": is_prepared(name, data_dir),
        "bytes": _size(path),
        "files": [file.name for file in spec.files],
        "command": spec.command(root if data_dir is not None else None),
    }


def listing(data_dir: PathLike | None = None) -> list[dict[str, Any]]:
    """Our sets: `name`, `summary`, `prepared` and `bytes` on disk of each."""
    fields = ("name", "summary", "prepared", "bytes")
    rows = [info(name, data_dir) for name in registry.DATASETS]
    return [{field: row[field] for field in fields} for row in rows]


def not_prepared(
    spec: registry.Spec, data_dir: PathLike | None = None
) -> FileNotFoundError:
    """The error for a set whose original files the user has to supply."""
    root = locate.data_root(data_dir)
    return FileNotFoundError(
        f"dataset {spec.name!r} is not prepared under {root}. Run\n"
        f"    {spec.command(root if data_dir is not None else None)}\n"
        f"where DIR holds {_named_files(spec)}, {_ANYHOW}. Nothing is downloaded."
    )


def _named_files(spec: registry.Spec) -> str:
    return ", ".join(file.name for file in spec.files)


def _checked_source(
    spec: registry.Spec, source_dir: PathLike | None, data_dir: PathLike | None
) -> Path | None:
    if not spec.files:
        return None
    command = spec.command(locate.data_root(data_dir) if data_dir is not None else None)
    if source_dir is None:
        raise ValueError(
            f"dataset {spec.name!r} is made from files that you supply. Run\n"
            f"    {command}\nwhere DIR holds {_named_files(spec)}, {_ANYHOW}."
        )
    folder = Path(source_dir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a directory. It has to hold {_named_files(spec)}."
        )
    missing = spec.missing_files(folder)
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of the {len(spec.files)} files of "
            f"{spec.name!r}: {', '.join(missing)}. Put them there, {_ANYHOW}, and run "
            "the command again."
        )
    return folder


def _refuse_occupied(spec: registry.Spec, target: Path) -> None:
    if not target.exists():
        return
    if locate.is_set(target):
        found = locate.read_info(target)
        if locate.FORMAT not in locate.formats(found):
            raise ValueError(
                f"{target} holds {spec.name!r} in the format {locate.formats(found)[0]}"
                f", which cannot be read without TensorFlow. Remove that directory, or "
                f"prepare elsewhere: {spec.command(Path('OTHER_DIR'))}"
            )
        missing = ", ".join(locate.missing_shards(target, found))
        raise ValueError(
            f"{target} is incomplete: {missing} missing. Remove that directory, then "
            f"run: {spec.command()}"
        )
    raise ValueError(
        f"{target} exists but is not a prepared set (no {locate.INFO}). Remove that "
        f"directory, then run: {spec.command()}"
    )


def _build(spec: registry.Spec, staging: Path, folder: Path | None) -> None:
    import tensorflow_datasets
    from tensorflow_datasets.core.utils import tqdm_utils

    from mtl_jax.data.builders import written

    config = tensorflow_datasets.download.DownloadConfig(manual_dir=folder)
    bars = tqdm_utils._active
    tensorflow_datasets.disable_progress_bar()
    try:
        # TFDS prints to stdout, which belongs to the command that was run.
        with contextlib.redirect_stdout(io.StringIO()):
            builder = written.builder_class(spec)(
                data_dir=staging, file_format=locate.FORMAT
            )
            builder.download_and_prepare(
                download_config=config, file_format=locate.FORMAT
            )
    finally:
        tensorflow_datasets.display_progress_bar(bars)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[bool]:
    """Only one process prepares under `root`; a killed one lets go by itself.

    Yields:
        False on a file system without locks. Preparing still ends in one rename
        there, but leftovers may be the work of another process and stay.
    """
    import fcntl

    with open(root / LOCK, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())

"""Decoded splits kept as .npy files beside the prepared set.

Only a convenience: a cache that cannot be written, or that was made from other
files, is passed over. The key holds the name, size and time of every prepared file,
so preparing the set again makes the old cache unreachable; it is removed when the
next one is written.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FOLDER, VERSION = ".mtl_jax_cache", 1
ABANDONED_SECONDS = 3600.0


def key(directory: Path, query: dict[str, Any]) -> str:
    """The name of the cache entry for what `query` asks of `directory`."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    stamp = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return f"{_digest([VERSION, stamp])}-{_digest(query)}"


def read(directory: Path, name: str) -> dict[str, Any] | None:
    """The batch stored under `name`, memory-mapped, or None."""
    entry = directory / FOLDER / name
    try:
        labels = json.loads((entry / "labels.json").read_text())
        arrays = [
            np.load(entry / f"{i}.npy", mmap_mode="r") for i in range(len(labels) + 1)
        ]
    except (OSError, ValueError):
        return None
    return {"inputs": arrays[0], "labels": dict(zip(labels, arrays[1:], strict=True))}


def write(directory: Path, name: str, batch: dict[str, Any]) -> bool:
    """Store `batch` under `name` in one rename; False where that is not possible."""
    root = directory / FOLDER
    arrays = [batch["inputs"], *batch["labels"].values()]
    try:
        root.mkdir(exist_ok=True)
        _tidy(root, name)
        if shutil.disk_usage(root).free < 2 * sum(array.nbytes for array in arrays):
            return False
        staging = Path(tempfile.mkdtemp(prefix="tmp-", dir=root))
    except OSError:
        return False
    try:
        for i, array in enumerate(arrays):
            np.save(staging / f"{i}.npy", array)
        (staging / "labels.json").write_text(json.dumps(list(batch["labels"])))
        os.rename(staging, root / name)
    except OSError:  # disk full, or another process was faster
        return (root / name).is_dir()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return True


def _tidy(root: Path, name: str) -> None:
    """Remove entries made from other files, and what killed runs left."""
    stamp = name.partition("-")[0]
    for entry in root.iterdir():
        with contextlib.suppress(OSError):
            age = time.time() - entry.stat().st_mtime
            abandoned = entry.name.startswith("tmp-") and age > ABANDONED_SECONDS
            stale = not entry.name.startswith(("tmp-", f"{stamp}-"))
            if abandoned or stale:
                shutil.rmtree(entry, ignore_errors=True)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""With what, where and how a run was made."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from mtl_jax.report import atomic, jsonl

DISTRIBUTIONS = {
    "mtl_jax": "mtl-jax",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "flax": "flax",
    "optax": "optax",
    "orbax-checkpoint": "orbax-checkpoint",
    "tensorflow-datasets": "tensorflow-datasets",
    "numpy": "numpy",
}


def environment() -> dict[str, Any]:
    """What a reader needs to know to repeat the run of this process.

    Starts JAX's backend, so call it after `jax.distributed.initialize`.

    Returns:
        `python`, `platform`, `processors`, `devices` (`kind`, `platform`, `count`,
        `local_count`, `processes`), `versions` (None for a package that is not
        installed), `git_commit` of the current directory (with "-dirty" where tracked
        files differ from it; None outside a repository), `command`, `directory`, and
        `started` in UTC.

    Example:
        >>> record = environment()
        >>> record["devices"]["platform"], record["versions"]["jax"] is not None
        ('cpu', True)
    """
    import jax

    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "devices": {
            "kind": device.device_kind,
            "platform": device.platform,
            "count": jax.device_count(),
            "local_count": jax.local_device_count(),
            "processes": jax.process_count(),
        },
        "versions": {key: _version(name) for key, name in DISTRIBUTIONS.items()},
        "git_commit": git_commit(),
        "command": shlex.join([sys.executable, *sys.orig_argv[1:]]),
        "directory": str(Path.cwd()),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def git_commit(directory: str | os.PathLike[str] | None = None) -> str | None:
    """The commit that is checked out, with "-dirty" where tracked files differ.

    Args:
        directory: a folder of the repository; None for the current one.

    Returns:
        40 digits and perhaps "-dirty"; None where this is no repository, it has no
        commit yet, or git is not installed.

    Example:
        >>> git_commit(getfixture("tmp_path")) is None
        True
    """
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=directory,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # looking writes nothing
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as JSON that is pretty, sorted, and there whole or not at all.

    Args:
        path: the file; an older one is replaced.
        obj: as for `jsonl.plain`: NaN becomes null, arrays lists, paths text.

    Example:
        >>> path = getfixture("tmp_path") / "run.json"
        >>> write_json(path, {"seed": 0, "data": "digits"})
        >>> print(path.read_text())
        {
          "data": "digits",
          "seed": 0
        }
        <BLANKLINE>
    """
    text = json.dumps(jsonl.plain(obj), indent=2, sort_keys=True, allow_nan=False)
    with atomic.replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None

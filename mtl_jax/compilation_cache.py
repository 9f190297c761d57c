"""Compiled programs that outlive the process, so that a command starts at once."""

import contextlib
import hashlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

ELSEWHERE = "MTL_JAX_CACHE_DIR"
"""Names another folder than the user's cache folder; empty: keep nothing."""

DAYS = 60
"""A program is compiled anew after so long, and its file does not stay for ever."""

_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
"""Small programs are kept too: a small model is nothing but small programs."""


@contextlib.contextmanager
def kept(where: str) -> Iterator[Path | None]:
    """While open, JAX keeps the programs that it compiles, and finds them again.

    What was set by hand, by JAX_COMPILATION_CACHE_DIR or in `jax.config`, stays as it
    is. A folder that cannot be written is done without.

    Args:
        where: "auto", "off" or a directory.

    Yields:
        The directory, or `None` where nothing was changed.
    """
    directory = _directory(where)
    by_hand = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if by_hand or directory is None:
        yield None
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if where == "auto":
            _forget_old(directory.parent)
    except OSError:
        yield None
        return
    settings = {"jax_compilation_cache_dir": str(directory), **_SETTINGS}
    before = {name: getattr(jax.config, name) for name in settings}
    _set(settings)
    try:
        yield directory
    finally:
        _set(before)


def _set(settings: dict[str, object]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    # JAX looks at its settings once, unless it is told to do so again.
    compilation_cache.reset_cache()


def _directory(where: str) -> Path | None:
    if where == "off":
        return None
    if where != "auto":
        return Path(where).expanduser().absolute()
    root = os.environ.get(ELSEWHERE)
    if root == "":
        return None
    if root is None:
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        root = os.path.join(home, "mtl-jax")
    return Path(root).expanduser().absolute() / "compiled" / _machine()


def _machine() -> str:
    """Names what a compiled program depends on.

    Programs for CPUs use what the CPU can do, and a home may be shared by several.
    """
    text = f"{jax.__version__} {platform.machine()}"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        abilities = ("flags", "Features", "model name")
        text += " ".join(sorted({x for x in lines if x.startswith(abilities)}))
    return f"jax-{jax.__version__}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _forget_old(root: Path) -> None:
    """Remove the programs of `DAYS` ago, of other versions and machines too."""
    oldest = time.time() - DAYS * 24 * 3600
    for file in root.glob("*/*-cache"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < oldest:
                file.unlink()

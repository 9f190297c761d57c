"""One process a work dir."""

import os
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]


class Lock:
    """Holds a work dir until it is released, or the process ends in whatever way.

    Args:
        workdir: the work dir; made where it is missing.

    Raises:
        ValueError: another process holds it.
        OSError: the work dir cannot be written.
    """

    def __init__(self, workdir: Path):
        workdir.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = open(workdir / "lock", "a+")  # noqa: SIM115
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise ValueError(
                f"the work dir {workdir} is in use by another process (number "
                f"{holder}); wait for it, stop it, or name another work dir"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let others have the work dir."""
        self._file.close()

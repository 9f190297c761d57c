"""Keeps off the terminal what Orbax prints of errors that it raises, and of nothing."""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_users = 0
_before: Any = None


_ASKED_FOR = "read_only=True", "is read only"
"""Warnings of Orbax that only repeat what it was told."""


class _RaisedAnyway(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno == logging.WARNING and "orbax" in record.pathname:
            return not any(text in record.getMessage() for text in _ASKED_FOR)
        if record.levelno != logging.ERROR:
            return True
        if record.name == "asyncio":  # a second leaf that could not be read either
            text = record.getMessage()
            return not ("never retrieved" in text and "tensorstore" in text)
        return "orbax" not in record.pathname


_filter = _RaisedAnyway()
_loggers = logging.getLogger("absl"), logging.getLogger("asyncio")


def _hook(unraisable: "sys.UnraisableHookArgs") -> None:
    # One leaf cannot be read or written, the event loop ends, the others report to it.
    error = unraisable.exc_value
    late = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
    if not (late and unraisable.object is None):
        (_before or sys.__unraisablehook__)(unraisable)


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Within, Orbax logs no traceback of an error that it raises, and no echo.

    Example:
        >>> with quiet_orbax():
        ...     pass
    """
    global _users, _before
    with _lock:
        if not _users:
            for logger in _loggers:
                logger.addFilter(_filter)
            _before, sys.unraisablehook = sys.unraisablehook, _hook
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                for logger in _loggers:
                    logger.removeFilter(_filter)
                if sys.unraisablehook is _hook:
                    sys.unraisablehook = _before

"""Ctrl-C and SIGTERM, noticed between steps and not within one."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was interrupted and its state saved; the text says how to go on."""

    def __init__(self, text: str, signal_number: int):
        super().__init__(text)
        self.signal_number = signal_number


class Interruptions:
    """While open, the first SIGINT or SIGTERM only sets `number`.

    A step donates its state: an exception in the middle of it would lose both the old
    one and the new. A second signal does what it always does. Outside the main thread,
    where Python forbids signal handlers, nothing changes.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruptions":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._notice)
        return self

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

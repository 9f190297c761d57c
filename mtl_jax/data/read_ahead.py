"""Reading ahead: a thread that has the next items ready."""

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """An iterator whose items are made in a thread, a few ahead of their use.

    The thread starts and ends with the `with` block, whichever way that is left. An
    exception in it is raised by `next`, with its traceback, in the place of the item.

    Args:
        items: makes them; used by the thread alone.
        ready: items that wait at most; another one is being made.

    Raises:
        ValueError: none ahead.

    Example:
        >>> with ReadAhead(iter("ab")) as letters:
        ...     next(letters), next(letters)
        ('a', 'b')
    """

    def __init__(self, items: Iterator[T], ready: int = 1) -> None:
        if ready < 1:
            raise ValueError(f"ready is {ready}; at least 1 item is read ahead")
        self._items = items
        self._made: queue.Queue[tuple[str, T | BaseException | None]]
        self._made = queue.Queue(ready)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead")
        self._thread.daemon = True

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put("item", item):
                    return
            self._put("end", None)
        except BaseException as error:
            self._put("error", error)

    def _put(self, kind: str, value: T | BaseException | None) -> bool:
        """Whether there was room before the end."""
        while not self._closing.is_set():
            try:
                self._made.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> "ReadAhead[T]":
        return self

    def __next__(self) -> T:
        kind, value = self._made.get()
        if kind == "item":
            return value  # type: ignore[return-value]
        self._made.put((kind, value))  # and so it is for whoever asks again
        if isinstance(value, BaseException):
            raise value
        raise StopIteration

    def __enter__(self) -> "ReadAhead[T]":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()

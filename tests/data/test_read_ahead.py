"""A thread that reads ahead ends when it should, and its errors are seen."""

import threading
import time
import traceback

import pytest

from mtl_jax.data import ReadAhead


def alive():
    return [t for t in threading.enumerate() if t.name == "read-ahead"]


def test_the_order_is_kept_and_no_more_is_made_than_asked():
    made = []

    def items():
        for i in range(10):
            made.append(i)
            yield i

    with ReadAhead(items(), ready=2) as ahead:
        assert next(ahead) == 0
        deadline = time.monotonic() + 10
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert made == [0, 1, 2, 3], "one used, two ready, one in hand"
        assert list(ahead) == list(range(1, 10))
        with pytest.raises(StopIteration):
            next(ahead)
    assert not alive()


def test_it_ends_with_the_block_however_that_is_left():
    def forever():
        while True:
            yield 0

    for error in (None, ValueError, KeyboardInterrupt):
        try:
            with ReadAhead(forever()) as ahead:
                next(ahead)
                assert alive()
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt):
            pass
        assert not alive()


def test_an_error_is_raised_where_its_item_would_be():
    def broken():
        yield 1
        raise OSError("the disk is gone")

    with ReadAhead(broken()) as ahead:
        assert next(ahead) == 1
        for _ in range(2):
            with pytest.raises(OSError, match="the disk is gone") as caught:
                next(ahead)
            assert "in broken" in "".join(traceback.format_tb(caught.tb))
    assert not alive()
    with pytest.raises(ValueError, match="at least 1 item"):
        ReadAhead(broken(), ready=0)

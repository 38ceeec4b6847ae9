"""A pipe whose writer falls silent: reads wait, and end where a signal asked the run to end and was lost."""

from __future__ import annotations

import os
import threading
import time

import pytest

from ascstream.sources.pipe import PipeReader
from ascstream.stopping import forget_stopped, keep_stopped


@pytest.mark.timeout(20)
def test_a_signal_that_was_lost_ends_the_wait_for_a_silent_writer() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as writer:
        reader = PipeReader(file)
        writer.write(b"abc")
        assert reader.read(100) == b"abc"
        timer = threading.Timer(0.5, keep_stopped, [KeyboardInterrupt("lost")])
        timer.start()
        try:
            assert reader.read(100) == b""  # as if at its end: C is asking
            with pytest.raises(KeyboardInterrupt, match="lost"):
                reader.raise_interrupt()
        finally:
            timer.join()
            forget_stopped()
        reader.close()


def test_a_read_waits_for_what_comes_and_for_the_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        reader = PipeReader(file)
        writer = os.fdopen(writing, "wb", buffering=0)

        def write() -> None:
            for piece in (b"one", b"two"):
                time.sleep(0.3)  # longer than one look
                writer.write(piece)
            writer.close()

        thread = threading.Thread(target=write)
        thread.start()
        assert [reader.read(100) for _ in range(4)] == [b"one", b"two", b"", b""]
        thread.join()
        reader.close()


def test_what_a_file_object_holds_back_already_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as writer:
        writer.write(b"0123456789")
        assert file.peek(1)[:1] == b"0"  # all of it is in the file object's buffer now
        reader = PipeReader(file)
        assert reader.read(4) == b"0123"
        assert reader.read(6) == b"456789"
        reader.close()

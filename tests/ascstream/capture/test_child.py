"""What a recording child is made of: an outbox that never blocks, and ears for its parent."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ascstream.capture.child import Outbox
from ascstream.capture.messages import Failed, Message, Note, Opened, Picture, Seen, Sound, read

RATE = 1000
IMAGE = np.full((2, 3, 3), 7, np.uint8)


def sound(number: int, seconds: float = 0.125) -> Sound:
    """A message that is told by its stamp."""
    return Sound(float(number), np.zeros((1, round(seconds * RATE)), np.float32), RATE)


@contextmanager
def piped() -> Iterator[tuple[Outbox, BinaryIO]]:
    """An outbox, and the parent's end of its pipe."""
    reader, writer = os.pipe()
    outbox = Outbox(writer)
    with os.fdopen(reader, "rb") as file:
        yield outbox, file
    outbox.close()


def fill(outbox: Outbox) -> None:
    """Let the pipe be full, and the thread wait for a parent that does not read: what is put now, waits."""
    for _ in range(2):  # each larger than what a pipe takes
        outbox.put(Opened("x", details="x" * 60_000))
    outbox.put(Opened("last", details="x" * 60_000))
    time.sleep(0.05)


def rest(file: BinaryIO) -> list[Message]:
    """What still comes, less what `fill` put."""
    messages = []
    while (message := read(file)) is not None:
        if not isinstance(message, Opened):
            messages.append(message)
    return messages


def test_messages_arrive_in_order_and_the_last_ones_too() -> None:
    with piped() as (outbox, file):
        sent = [Opened("mic"), sound(0), Note("kind", "text"), Seen(1.0, 2), sound(1), Failed("gone", missing=True)]
        for message in sent:
            outbox.put(message)
        outbox.close()
        outbox.put(Failed("after its end"))
        came = []
        while (message := read(file)) is not None:
            came.append(message)
    assert [type(message) for message in came] == [type(message) for message in sent]
    assert came[2:4] == sent[2:4]
    assert came[5] == sent[5]
    assert not any(message.lost for message in came if isinstance(message, Sound))


def test_a_parent_that_does_not_read_costs_the_oldest_sound_and_is_told() -> None:
    with piped() as (outbox, file):
        fill(outbox)
        started = time.monotonic()
        for number in range(1000):
            outbox.put(sound(number))
        outbox.put(Failed("end"))
        assert time.monotonic() - started < 10
        outbox.close(0.0)
        *sounds, last = rest(file)
    assert last == Failed("end")
    assert [message.stamp for message in sounds if isinstance(message, Sound)] == [float(n) for n in range(984, 1000)]
    assert [message.lost for message in sounds if isinstance(message, Sound)] == [True] + [False] * 15


def test_a_sound_longer_than_the_queue_is_lost_and_the_next_one_says_so() -> None:
    with piped() as (outbox, file):
        fill(outbox)
        outbox.put(sound(0, seconds=2.5))
        outbox.put(sound(1))
        outbox.close(0.0)
        (only,) = rest(file)
    assert isinstance(only, Sound)
    assert (only.stamp, only.lost) == (1.0, True)


def test_of_what_was_seen_only_the_newest_waits_and_counts_for_all() -> None:
    with piped() as (outbox, file):
        fill(outbox)
        for number in range(1, 5):
            outbox.put(Seen(float(number), number))
        outbox.close(0.0)
        assert rest(file) == [Seen(4.0, 10)]


def test_a_picture_that_was_not_sent_yet_is_not_taken_for_sent() -> None:
    with piped() as (outbox, file):
        fill(outbox)
        outbox.put(Picture(1.0, 0.9, IMAGE))
        outbox.put(Picture(2.0, 0.9, None))  # "the one that was sent last", which still waits
        outbox.close(0.0)
        (only,) = rest(file)
    assert isinstance(only, Picture)
    assert (only.moment, only.stamp) == (2.0, 0.9)
    assert only.image is not None
    assert np.array_equal(only.image, IMAGE)


def test_notes_that_nobody_reads_are_bounded() -> None:
    with piped() as (outbox, file):
        fill(outbox)
        for number in range(1000):
            outbox.put(Note("corrupt", str(number)))
        outbox.close(0.0)
        assert rest(file) == [Note("corrupt", str(number)) for number in range(900, 1000)]


_kinds = st.lists(st.sampled_from(["sound", "seen", "picture", "note"]), max_size=120)


@pytest.mark.slow
@given(before=_kinds, after=_kinds)
@settings(deadline=None, max_examples=30)
def test_whatever_waits_every_hole_in_the_sound_is_marked(before: list[str], after: list[str]) -> None:
    made = {"sound": 0, "seen": 0}

    def put(outbox: Outbox, kind: str) -> None:
        if kind == "sound":
            outbox.put(sound(made["sound"]))
        elif kind == "seen":
            outbox.put(Seen(float(made["seen"]), 1))
        elif kind == "picture":
            outbox.put(Picture(0.0, None, None))
        else:
            outbox.put(Note("kind", "text"))
        made[kind] = made.get(kind, 0) + 1

    with piped() as (outbox, file):
        fill(outbox)
        for kind in before:
            put(outbox, kind)
        outbox.put(Opened("again"))
        while read(file) != Opened("again"):  # the parent reads on
            pass
        for kind in after:
            put(outbox, kind)
        outbox.close(0.0)
        came = rest(file)
    stamps = [(int(message.stamp), message.lost) for message in came if isinstance(message, Sound)]
    for (earlier, _), (later, lost) in itertools.pairwise(stamps):
        assert lost == (later != earlier + 1)
    if after.count("sound"):
        assert stamps[-1][0] == made["sound"] - 1
    assert sum(message.n_frames for message in came if isinstance(message, Seen)) <= made["seen"]


def test_a_parent_that_is_gone_is_ignored() -> None:
    with piped() as (outbox, file):
        file.close()
        for number in range(100):
            outbox.put(sound(number))
        started = time.monotonic()
        outbox.close(10.0)
        assert time.monotonic() - started < 5


def run_child(script: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    """What a child of this script does with this on its stdin."""
    return subprocess.run([sys.executable, "-c", script], input=given, capture_output=True, timeout=60, check=False)


def test_only_the_newest_question_is_asked_and_the_end_of_stdin_ends_the_process() -> None:
    script = (
        "import os, time; from ascstream.capture.child import read_line, watch_stdin\n"
        "print(read_line().decode(), flush=True)\n"
        "watch_stdin(lambda moment: print(moment, flush=True)); time.sleep(60)"
    )
    done = run_child(script, b"the request\n1.5\n2.25\nno moment\n")
    assert done.stdout.split(b"\n") == [b"the request", b"2.25", b""]
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_question_that_breaks_ends_the_process_and_tells_no_secret() -> None:
    script = (
        "import time; from ascstream.capture.child import watch_stdin\n"
        "def ask(moment): raise RuntimeError('rtsp://user:secret@host')\n"
        "watch_stdin(ask); time.sleep(60)"
    )
    reader, writer = os.pipe()
    os.write(writer, b"1.5\n")  # and the parent stays
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], stdin=reader, capture_output=True, timeout=50, check=False
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0
    assert done.stderr == b"RuntimeError at <string>:2\n"


def test_what_a_library_prints_does_not_spoil_the_messages() -> None:
    script = (
        "import os; from ascstream.capture.messages import Note\n"
        "from ascstream.capture.child import Outbox, take_stdout\n"
        "outbox = Outbox(take_stdout()); os.write(1, b'noise'); outbox.put(Note('a', 'b')); print('more', flush=True)\n"
        "outbox.close()"
    )
    done = run_child(script, b"")
    assert done.stdout[:4] == b"ascs"
    assert b"noise" not in done.stdout
    assert done.stderr == b"noisemore\n"


@pytest.mark.parametrize("given", [b"", b"hello\n", b"[1]\n", b"\xff\n"])
def test_a_bad_request_is_a_line_and_exit_2(given: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ascstream.capture"], input=given, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("expected a request of ascstream as the first line of stdin, got something else (")

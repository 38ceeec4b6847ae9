"""Whether a device is there again: files, servers, a thread that looks and may hang."""

import socket
import threading
import time
from pathlib import Path

import pytest

from ascstream.capture.requests import MediaRequest, MicrophoneRequest
from ascstream.live.presence import Presence, Watch, look_for_path, look_for_server, presence_of

NEVER = threading.Event()


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_file_that_is_made_anew_is_another_one(tmp_path: Path):
    path = tmp_path / "video0"
    assert look_for_path(path) is None
    path.touch()
    first = look_for_path(path)
    other = tmp_path / "other"
    other.touch()
    other.rename(path)
    assert None not in (first, look_for_path(path))
    assert look_for_path(path) != first


def test_a_server_is_there_while_it_takes_connections(server):
    address = server.getsockname()
    assert look_for_server(address, NEVER) is True
    server.close()
    assert look_for_server(address, NEVER) is None
    assert look_for_server(("no-such-host.invalid", 80), NEVER) is None


@pytest.mark.parametrize(
    ("request_", "retry_seconds"),
    [
        (MediaRequest("/dev/video0", "v4l2"), 30.0),
        (MediaRequest("clip.mp4"), 30.0),
        (MediaRequest("rtsp://user:secret@camera.invalid/stream"), 2.0),
        (MediaRequest("http://camera.invalid:8080/"), 2.0),
        (MicrophoneRequest("card"), 30.0),
    ],
)
def test_what_can_be_seen(request_, retry_seconds):
    presence = presence_of(request_)
    assert presence is not None
    assert presence.retry_seconds == retry_seconds


@pytest.mark.parametrize(
    "request_",
    [
        MediaRequest("udp://0.0.0.0:5000"),
        MediaRequest("testsrc", "lavfi"),
        MediaRequest("tcp://0.0.0.0:5000?listen=1"),
        MediaRequest("http://camera.invalid:port/"),
    ],
)
def test_what_cannot(request_):
    assert presence_of(request_) is None


def test_a_sound_system_is_looked_at_and_never_raises():
    presence = presence_of(MicrophoneRequest(None))
    assert presence is not None
    assert presence.look(NEVER) == presence.look(NEVER)


def watch_of(looks):
    """A watch that sees one thing after the other, and the last for ever."""
    seen = iter(looks)
    last = [None]

    def look(stopped):
        last[0] = next(seen, last[0])
        return last[0]

    return Watch(Presence(look, 2.0), pause_seconds=0.01)


def test_coming_counts_and_being_there_does_not():
    there = watch_of([True])
    there.start()
    wait_for(lambda: there.longest_seconds == 2.0)
    time.sleep(0.05)
    assert not there.changed()
    comes = watch_of([None, None, True])
    assert comes.longest_seconds == 30.0
    comes.start()
    wait_for(comes.changed)
    assert comes.longest_seconds == 2.0
    assert not comes.changed()
    for watch in (there, comes):
        watch.stop()
        watch.join(10)


def test_another_fingerprint_counts_and_going_does_not():
    watch = watch_of([("a",), None, ("a",), ("b",)])
    watch.start()
    wait_for(watch.changed)
    watch.stop()
    watch.join(10)


def test_what_was_seen_before_an_attempt_is_remembered_after_it():
    looked = threading.Event()
    there = [None]

    def look(stopped):
        looked.set()
        return there[0]

    watch = Watch(Presence(look), pause_seconds=0.01)
    watch.start()
    wait_for(looked.is_set)
    time.sleep(0.05)
    watch.stop()  # an attempt, too early by a moment
    there[0] = True
    watch.start()
    wait_for(watch.changed)
    watch.stop()
    watch.join(10)


def test_a_look_that_hangs_costs_one_thread_and_no_time():
    release = threading.Event()
    before = threading.active_count()

    def look(stopped):
        release.wait(30)

    watch = Watch(Presence(look))
    for _ in range(20):
        began = time.monotonic()
        watch.start()
        watch.stop()
        assert time.monotonic() - began < 1.0
    assert threading.active_count() <= before + 1
    release.set()
    watch.join(10)
    assert threading.active_count() == before


def test_a_look_that_finds_no_process_to_start_is_not_the_last_one():
    looks = []

    def look(_stopped):
        looks.append(None)
        if len(looks) == 1:
            raise BlockingIOError("no more processes")
        return None if len(looks) == 2 else "card"

    watch = Watch(Presence(look), pause_seconds=0.01)
    watch.start()
    wait_for(watch.changed)
    watch.stop()
    watch.join(5)

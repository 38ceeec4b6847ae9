"""Recorders: whatever a child does, its parent learns how it ended and can be rid of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.waiting import until

from ascstream.capture.messages import Failed, Message, Note, pack
from ascstream.capture.recorder import Recorder
from ascstream.capture.requests import MediaRequest, MicrophoneRequest

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc: Linux")
REQUEST = MicrophoneRequest("a name")


class Child:
    """A recorder of a child of any kind, and what it said."""

    def __init__(self, *command: str, request: MicrophoneRequest | MediaRequest = REQUEST) -> None:
        self.said: list[Message] = []
        self.recorder = Recorder(request, self.said.append, command=command or None)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc: object) -> None:
        self.recorder.close(30)

    def end(self) -> str:
        """Wait for the last message, and return its text."""
        until(lambda: self.said and isinstance(self.said[-1], Failed))
        last = self.said[-1]
        assert isinstance(last, Failed)
        return last.message


def sends(data: bytes, then: str = "") -> list[str]:
    """The command of a child that says this."""
    text = "".join(f"\\{byte:03o}" for byte in data)
    return ["sh", "-c", f"printf '{text}'; {then}"]


def test_what_a_child_says_is_delivered_in_order() -> None:
    messages = [Note("a", "1"), Note("b", "2"), Failed("that was all")]
    with Child(*sends(b"".join(map(pack, messages)))) as child:
        assert child.end() == "that was all"
        assert child.said == messages


def test_a_child_that_crashes_is_told_with_its_last_words() -> None:
    script = "echo first >&2; echo 'at rtsp://me:secret@host/x' >&2; kill -9 $$"
    with Child("sh", "-c", script) as child:
        expected = (
            "recording from the microphone 'a name' ended unexpectedly (signal 9); it said last: at rtsp://***@host/x"
        )
        assert child.end() == expected
        assert child.recorder.log == ("first", "at rtsp://***@host/x")
        until(lambda: not child.recorder.running)


def test_a_child_that_ends_without_a_word_is_told() -> None:
    with Child("sh", "-c", "exit 7", request=MediaRequest("rtsp://me:secret@host/x")) as child:
        assert child.end() == "recording from rtsp://***@host/x ended unexpectedly (exit code 7)"


def test_a_child_that_says_something_else_is_ended() -> None:
    with Child(*sends(pack(Note("a", "1")) + b"what is this?", "exec sleep 60")) as child:
        assert "broke off: expected a message of a recording process" in child.end()
        assert child.said[0] == Note("a", "1")
        until(lambda: not child.recorder.running)


def test_a_child_that_cannot_be_started_is_told() -> None:
    with Child("/nowhere/python") as child:
        assert child.end() == (
            "cannot start a process that records from the microphone 'a name': No such file or directory"
        )
        assert not child.recorder.running
        child.recorder.ask(1.0)
        child.recorder.kill()


def test_the_log_is_read_all_the_time_and_only_its_end_is_kept() -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; head -c 3000 /dev/zero | tr '\\0' x"
    with Child("sh", "-c", f"exec 1>&2; {script}") as child:
        child.end()
        until(lambda: child.recorder.log and child.recorder.log[-1].startswith("xxx"))
        log = child.recorder.log
    assert len(log) == 50
    assert log[0].startswith("line 29")
    assert max(map(len, log)) == 500


def test_nothing_is_delivered_after_the_end() -> None:
    loop = f"while :; do {sends(pack(Note('a', 'b')))[2]} done"
    with Child("sh", "-c", loop) as child:
        until(lambda: len(child.said) > 10)
        child.recorder.close(30)
        number = len(child.said)
        assert not any(isinstance(message, Failed) for message in child.said)
        child.recorder.kill()
        child.recorder.close(30)
        time.sleep(0.1)
        assert len(child.said) == number


def test_the_one_who_is_told_may_close() -> None:
    closed = threading.Event()
    box: list[Recorder] = []

    def deliver(_message: Message) -> None:
        until(lambda: box)
        box[0].close(30)
        closed.set()

    box.append(Recorder(REQUEST, deliver, command=sends(pack(Note("a", "b")), "exec sleep 60")))
    assert closed.wait(30)
    box[0].close(30)
    assert not box[0].running


def test_asking_never_waits_whatever_the_child_does() -> None:
    with Child("sleep", "60") as child:
        started = time.monotonic()
        for number in range(100_000):  # far more than a pipe takes
            child.recorder.ask(float(number))
        child.recorder.kill()
        child.recorder.ask(1.0)
        assert time.monotonic() - started < 20


def test_questions_reach_the_child_after_its_request() -> None:
    with Child("sh", "-c", "read request; read moment; echo $request >&2; echo $moment >&2") as child:
        child.recorder.ask(12345.678901)
        child.end()
        assert child.recorder.log == (
            '{"kind": "microphone", "name": "a name", "host_api": null, "portaudio_index": null, "stable_id": null, '
            '"channels": []}',
            "12345.678901",
        )


@needs_proc
def test_a_password_is_not_shown_to_other_users() -> None:
    with Child(request=MediaRequest("rtsp://me:secret@127.0.0.1:9/x")) as child:
        assert b"secret" not in Path(f"/proc/{child.recorder.pid}/cmdline").read_bytes()


@needs_proc
@pytest.mark.slow
def test_thirty_starts_and_ends_leave_nothing() -> None:
    def left() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208  a Path would open one more

    before = left()
    pids = []
    for number in range(30):
        with Child() as child:
            if number % 10 == 0:
                child.recorder.close(0.0)
                until(lambda: child.said or not child.recorder.running)
            time.sleep(0.01 * number)
            pids.append(child.recorder.pid)
    assert left() == before
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@needs_proc
def test_a_child_ends_with_its_parent() -> None:
    script = (
        "import sys, time; from ascstream.capture.recorder import Recorder\n"
        "from ascstream.capture.requests import MicrophoneRequest\n"
        "recorder = Recorder(MicrophoneRequest(None), print, command=[sys.executable, '-c', "
        "'import time; from ascstream.capture.child import read_line, watch_stdin; read_line(); "
        "watch_stdin(print); time.sleep(60)'])\n"
        "print(recorder.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text())


def test_what_lies_in_the_current_folder_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "queue", "numpy", "ascstream"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file')")
    monkeypatch.chdir(tmp_path)
    with Child(request=MicrophoneRequest("no such microphone")) as child:
        assert "no such microphone" in child.end() or "PortAudio" in child.end()
        assert "unexpectedly" not in child.end()


def test_a_microphone_loads_no_decoder() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ascstream.capture"]
    request = b'{"kind": "microphone", "name": "no such microphone", "channels": []}\n'
    done = subprocess.run(command, input=request, capture_output=True, timeout=60, check=False)
    loaded = {line.rpartition(b"|")[2].strip() for line in done.stderr.splitlines() if b"import time" in line}
    assert b"ascstream.capture.microphone" in loaded
    assert not loaded & {b"av", b"ascstream.capture.media", b"onnxruntime", b"rich"}

"""The live source on real devices: a sound server and a network camera that fail and return, and what is left after."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.cameras import MjpegCamera
from support.pulse import PulseServer, needs_pulse

from ascstream.capture.requests import MediaRequest
from ascstream.live.source import LiveSource, open_live
from ascstream.records import AudioBlock, StreamEvent, VideoFrame, VideoProgress
from ascstream.sources.base import AudioWants, FrameSchedule, VideoWants, Wants

SCHEDULE = FrameSchedule(Fraction(1, 5), (Fraction(1, 10),), 1.0)
WANTS = Wants(AudioWants(24000, 1), VideoWants(32, 32, "crop", None, "bilinear", SCHEDULE))
NOTICED_SECONDS, RECOVERY_SECONDS = 2.0, 4.0
BUSY_SECONDS = 6.0
"""What a machine with other work to do may take in addition."""


class Listener:
    """Takes a source's items in a thread, as the loop does."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.blocks: list[tuple[float, AudioBlock]] = []
        self.settled: list[float] = []
        self.frames: list[VideoFrame] = []
        self.events: list[tuple[float, StreamEvent]] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for item in self.source.items(WANTS):
                if isinstance(item, AudioBlock):
                    assert not self.blocks or abs(item.start - self.blocks[-1][1].end) < 1e-6
                    self.blocks.append((time.monotonic(), item))
                elif isinstance(item, StreamEvent):
                    self.events.append((time.monotonic(), item))
                elif isinstance(item, VideoFrame | VideoProgress):
                    self.settled.append(time.monotonic())
                    if isinstance(item, VideoFrame):
                        self.frames.append(item)
        except BaseException as error:  # noqa: BLE001  raised where the test looks
            self.failure = error

    def wait_for(self, kind: str, since: float, seconds: float = 30.0) -> float:
        """Seconds from a moment to the next event of a kind."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for moment, event in list(self.events):
                if event.kind == kind and moment >= since:
                    return moment - since
            assert self.failure is None, self.failure
            time.sleep(0.02)
        raise AssertionError(f"no {kind} within {seconds} s; there were {self.events}")

    def wait_for_sound(self) -> None:
        deadline = time.monotonic() + 30
        while len(self.blocks) < 50 or len(self.frames) < 3:
            assert self.failure is None, self.failure
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def listening(camera: MjpegCamera) -> Iterator[Listener]:
    with open_live("pulse", camera.url) as source:
        listener = Listener(source)
        try:
            listener.wait_for_sound()
            yield listener
        finally:
            source.stop()
            listener.join()


@pytest.fixture
def server() -> Iterator[PulseServer]:
    with PulseServer() as server, server.applied():
        server.play((0.3 * np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000)).astype(np.float32), loop=True)
        yield server


@needs_pulse
@pytest.mark.slow
def test_a_microphone_that_goes_and_returns(server: PulseServer) -> None:
    with MjpegCamera() as camera, listening(camera) as listener:
        found = []
        faults = [(server.unplug, server.plug), (server.kill, server.restart), (server.freeze, server.thaw)]
        for fail, mend in faults:
            failed = time.monotonic()
            fail()
            noticed = listener.wait_for("device_lost", failed)
            time.sleep(2.0)
            mended = time.monotonic()
            mend()
            found.append((noticed, listener.wait_for("device_back", mended)))
            time.sleep(0.5)
        print("noticed, back (s):", [(round(a, 2), round(b, 2)) for a, b in found])
        for noticed, back in found:
            assert noticed <= NOTICED_SECONDS + BUSY_SECONDS
            assert back <= RECOVERY_SECONDS + BUSY_SECONDS
        first, last = listener.blocks[0], listener.blocks[-1]
        assert last[1].end - first[1].end == pytest.approx(last[0] - first[0], abs=1.5)
        assert max(np.diff(listener.settled)) < 2.0  # the camera was never waited for
        assert max(np.abs(block.samples).max() for _, block in listener.blocks[-20:]) > 0.1


@needs_pulse
@pytest.mark.slow
def test_a_camera_that_goes_freezes_and_returns(server: PulseServer) -> None:
    with MjpegCamera() as camera, listening(camera) as listener:
        failed = time.monotonic()
        camera.kill()
        noticed = listener.wait_for("device_lost", failed)
        time.sleep(2.0)
        mended = time.monotonic()
        camera.restart()
        back = listener.wait_for("device_back", mended)
        time.sleep(1.0)
        frozen = time.monotonic()
        camera.freeze()
        stalled = listener.wait_for("device_lost", frozen)
        camera.thaw()
        print(f"killed: noticed {noticed:.2f} s, back {back:.2f} s; frozen: noticed {stalled:.2f} s")
        assert noticed <= NOTICED_SECONDS + BUSY_SECONDS
        assert back <= RECOVERY_SECONDS + BUSY_SECONDS
        assert stalled <= NOTICED_SECONDS + BUSY_SECONDS
        assert sum(block.lost for _, block in listener.blocks) * 0.02 < 2.0
        assert max(np.diff(listener.settled)) < 2.0


@needs_pulse
@pytest.mark.slow
def test_nothing_is_left_of_streams_that_were_closed(server: PulseServer) -> None:
    def left() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    with MjpegCamera() as camera:
        counts = []
        for _ in range(4):
            with listening(camera) as listener:
                begun = time.monotonic()
                listener.source.stop()
                listener.join()
                assert time.monotonic() - begun < 1.0
            time.sleep(0.3)  # the camera's own thread of the connection
            counts.append(left())
        assert counts[-1] == counts[0]
        assert not _children("ascstream.capture")


_FOLLOW = """
import sys, time
from ascstream.capture.requests import MicrophoneRequest
from ascstream.live.source import open_live
from ascstream.records import AudioBlock, StreamEvent
from ascstream.sources.base import AudioWants, Wants
with open_live(MicrophoneRequest("pulse"), None) as source:
    end = lost = 0.0
    told = time.monotonic()
    for item in source.items(Wants(AudioWants(24000, 1), None)):
        if isinstance(item, StreamEvent):
            print(item.kind, item.seconds, flush=True)
        elif isinstance(item, AudioBlock):
            end, lost = item.end, lost + item.lost * (item.end - item.start)
            if time.monotonic() - told > 0.2:
                told = time.monotonic()
                print("at", end, lost, told - source.to_monotonic(end), flush=True)
"""


@needs_pulse
@pytest.mark.slow
def test_a_program_that_was_stopped_catches_up_with_lost_blocks(server: PulseServer) -> None:
    """SIGSTOP for six seconds, as a laptop's lid does: the stream is at now again at once, and says so."""
    with subprocess.Popen([sys.executable, "-c", _FOLLOW], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            before = [next(lines).split() for _ in range(10)][-1]
            process.send_signal(signal.SIGSTOP)
            time.sleep(6.5)
            process.send_signal(signal.SIGCONT)
            after = [next(lines).split() for _ in range(25)]
        finally:
            process.kill()
    told = [words for words in after if words[0] == "suspended"]
    assert len(told) == 1
    assert float(told[0][1]) == pytest.approx(6.5, abs=1.5)
    end, lost, behind = (float(word) for word in after[-1][1:])
    print(f"lost {lost:.2f} s, then {behind * 1e3:.0f} ms behind")
    assert end - float(before[1]) > 10
    assert 4.0 < lost < 9.0
    assert behind < 1.0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals; there is one on Unix")
def test_a_signal_handler_may_stop_it(tmp_path: Path) -> None:
    source = open_live(MediaRequest(str(tmp_path / "nowhere.wav"), sound=True), None, wait=True)
    before = signal.signal(signal.SIGALRM, lambda *_: source.stop())
    try:
        with source:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            begun = time.monotonic()
            assert [item for item in source.items(WANTS) if not isinstance(item, StreamEvent)] == []
            assert time.monotonic() - begun < 3.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _children(words: str) -> list[str]:
    """Our children whose command has these words in it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if parent == os.getpid() and words in command:
                found.append(command)
    return found

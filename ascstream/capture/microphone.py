"""Runs inside a child: records a PortAudio device at its own sample rate, and timestamps its samples."""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from ascstream.capture.child import Outbox, watch_stdin
from ascstream.capture.finding import Found, NoMicrophoneError, find
from ascstream.capture.messages import Failed, Note, Opened, Sound
from ascstream.capture.requests import MicrophoneRequest

_BLOCK_SECONDS = 0.01
_JOIN_SECONDS = 0.0005
"""Host APIs call back in bursts: blocks that come within this time are sent as one message."""
_BUFFER_SECONDS = 0.06
"""What the driver buffers while this process is not running; adds no latency, which depends on the block size."""
_MOST_BLOCKS = 200
_OTHER_RATES = (48_000, 44_100, 16_000)
_MOST_DELAY_SECONDS = 10.0
_BACKLOG_SECONDS = 0.2
_MOST_BACKLOG_SECONDS = 60.0
_SAID = 100
"""Number of blocks over which the median of reported delays is taken."""
_CHANGED_SECONDS = 0.025
"""A larger change of the median is a real change of the delay; a smaller one is estimation noise."""
_MOST_ARRAY_CHANNELS = 31
"""Devices with more channels are no microphone arrays: sound servers offer 32 or 128, whatever is plugged in."""
_BAD_RATE, _BAD_CHANNELS, _BAD_DEVICE, _UNAVAILABLE = -9997, -9998, -9996, -9985


class _Block(NamedTuple):
    """What one callback delivers."""

    called: float
    """Time of the callback."""
    delay_seconds: float
    """The first sample's delay from the air to the callback, as reported by PortAudio; may be nonsense, NaN if it says
    none."""
    overflow: bool
    """Whether samples before this block were lost."""
    data: bytes
    """[n_samples, n_channels] float32, all open channels."""


_NOTHING = _Block(0.0, 0.0, False, b"")


def record(request: MicrophoneRequest, outbox: Outbox) -> None:
    """Send the microphone's sound until it ends; the last message says why."""
    watch_stdin(lambda _moment: None)  # must come first: anything that follows may hang
    try:
        import sounddevice
    except ImportError as error:
        outbox.put(Failed(f"recording sound needs the package sounddevice ({error}); type: pip install sounddevice"))
        return
    except Exception as error:  # noqa: BLE001  OSError if the library is missing, PortAudioError if it does not start
        outbox.put(Failed(_explain_start(error)))
        return
    record_from(sounddevice, request, outbox)


def record_from(portaudio: Any, request: MicrophoneRequest, outbox: Outbox) -> None:
    """Send a microphone's sound until it ends; the last message says why.

    Args:
        portaudio: The package sounddevice, or a stand-in for it.
        request: Which microphone, and which of its channels.
        outbox: Where to send the messages.
    """
    default = int(portaudio.default.device["input"])
    try:
        found = find(portaudio.query_devices(), portaudio.query_hostapis(), default, request, _stable_id)
        columns = _choose_columns(found, request.channels)
    except NoMicrophoneError as error:
        outbox.put(Failed(f"{error}{_permission()}", missing=error.missing))
        return
    recording = _Recording(portaudio, found, columns)
    try:
        recording.open()
    except portaudio.PortAudioError as error:
        outbox.put(_explain_opening(error, found.name))
        return
    recording.run(outbox, chosen=bool(request.channels))


class _Recording:
    """One PortAudio stream: the callback that fills a queue, and the loop that sends what is in it."""

    def __init__(self, portaudio: Any, found: Found, columns: Sequence[int]) -> None:
        self._portaudio = portaudio
        self._found = found
        self._needed, self._n_channels = max(columns) + 1, len(columns)
        first_ones = list(columns) == list(range(len(columns)))
        self._columns = slice(len(columns)) if first_ones else list(columns)  # a slice needs no copy
        self._queue: SimpleQueue[_Block | None] = SimpleQueue()
        self._next: _Block | None = _NOTHING
        """A block to process before those in the queue; `_NOTHING`: there is none, None: the stream has ended."""
        self._dropped = False
        self._stream: Any = None

    def open(self) -> None:
        """Open the device with the first channel count and sample rate it accepts; its default rate is tried first.

        Raises:
            PortAudioError: It cannot be opened.
        """
        rates = dict.fromkeys((round(self._found.sample_rate), *_OTHER_RATES))
        numbers = dict.fromkeys((self._needed, self._found.n_channels))
        refused: Exception | None = None
        for n_channels, rate in itertools.product(numbers, rates):
            try:
                self._stream = self._portaudio.RawInputStream(
                    device=self._found.index,
                    samplerate=rate,
                    channels=n_channels,
                    dtype="float32",
                    blocksize=round(rate * _BLOCK_SECONDS),
                    latency=max(_BUFFER_SECONDS, self._found.latency_seconds),
                    callback=self._heard,
                    finished_callback=self._ended,
                )
                self._stream.start()
            except self._portaudio.PortAudioError as error:
                refused = refused or error
                if _code(error) not in (_BAD_RATE, _BAD_CHANNELS):
                    raise
            else:
                return
        if refused is not None:
            raise refused

    def _heard(self, data: Any, _n_samples: int, times: Any, status: Any) -> None:
        """Run in PortAudio's thread: only copies and queues the data; `SimpleQueue.put` does not block."""
        if self._queue.qsize() < _MOST_BLOCKS:
            delay = times.currentTime - times.inputBufferAdcTime
            known = times.inputBufferAdcTime > 0 and delay > 0  # 0 is what host APIs say that do not measure it
            self._queue.put(
                _Block(time.monotonic(), delay if known else math.nan, bool(status.input_overflow), bytes(data))
            )
        else:
            self._dropped = True

    def _ended(self) -> None:
        self._queue.put(None)

    def _take(self) -> list[_Block]:
        """Wait for blocks; returns all that arrived together without a gap, or none at the end."""
        blocks: list[_Block] = []
        while not blocks or not (self._next is _NOTHING and self._queue.empty()):
            block = self._queue.get() if self._next is _NOTHING else self._next
            self._next = _NOTHING
            if block is None or (blocks and block.overflow):
                self._next = block
                break
            if not blocks:
                time.sleep(_JOIN_SECONDS)
            blocks.append(block)
        return blocks

    def run(self, outbox: Outbox, *, chosen: bool) -> None:
        """Send blocks until the stream ends."""
        rate, n_open, latency = round(self._stream.samplerate), int(self._stream.channels), float(self._stream.latency)
        found = self._found
        outbox.put(Opened(found.name, rate, self._n_channels, found.n_channels, details=found.host_api))
        if not chosen and 2 < found.n_channels <= _MOST_ARRAY_CHANNELS:
            outbox.put(
                Note(
                    "microphone_array",
                    f"{found.name} has {found.n_channels} channels, of which the first two are heard; "
                    "choose others with --mic-channels, such as --mic-channels 1,3",
                )
            )
        delay = Delay(latency)
        while blocks := self._take():
            lost = self._dropped or blocks[0].overflow
            self._dropped = False
            every = np.frombuffer(b"".join(block.data for block in blocks), np.float32).reshape(-1, n_open)
            samples = every[:, self._columns].T
            finite = np.isfinite(samples)
            if not finite.all():
                samples, lost = np.where(finite, samples, np.float32(0)), True
            newest = blocks[-1]
            length = len(newest.data) / (4 * n_open * rate)
            stamp = newest.called - len(every) / rate - delay.follow(newest.delay_seconds - length)
            outbox.put(Sound(stamp, samples, rate, lost))
        outbox.put(
            Failed(f"{found.name} stopped: it was unplugged, or the sound system ended; is it plugged in, and running?")
        )


class Delay:
    """Estimates the delay from a block's end in the air to its callback.

    Host APIs estimate this delay anew for each block, and PulseAudio is off by up to 10 ms either way. The true delay
    is constant, and callback times are exact except that some are late. So the median of the first reported delays is
    kept until the reports have clearly changed. Some host APIs report 0 or nonsense: the stream's latency is then
    assumed instead.
    """

    def __init__(self, latency_seconds: float) -> None:
        """Start with the stream's latency as PortAudio reports it."""
        self._latency = latency_seconds
        self._said: deque[float] = deque(maxlen=_SAID)
        self._n = 0
        self._taken = latency_seconds

    def follow(self, seconds: float) -> float:
        """Take the reported delay of a block; returns the delay to use."""
        if self._taken + _BACKLOG_SECONDS < seconds <= _MOST_BACKLOG_SECONDS:
            return seconds  # this process was suspended: the backlog comes at once, and its reported age is real
        self._said.append(seconds if -_BLOCK_SECONDS < seconds <= _MOST_DELAY_SECONDS else self._latency)
        self._n += 1
        if self._n <= _SAID or self._n % _SAID == 0:
            median = max(0.0, float(np.median(self._said)))
            if self._n <= _SAID or abs(median - self._taken) > _CHANGED_SECONDS:
                self._taken = median
        return self._taken


def _choose_columns(found: Found, channels: Sequence[int]) -> Sequence[int]:
    """Indices of the channels to record, from 0."""
    if not channels:
        return range(min(2, found.n_channels))
    if min(channels) < 1 or max(channels) > found.n_channels:
        raise NoMicrophoneError(
            f"{found.name} has channels 1 to {found.n_channels}, not {','.join(map(str, channels))}; "
            "choose others with --mic-channels",
            missing=False,
        )
    return [channel - 1 for channel in channels]


def _stable_id(name: str) -> str | None:
    """The stable id of an ALSA device."""
    from ascstream.devices.alsa import card_ids, stable_id

    return stable_id(name, card_ids())


def _permission(folder: Path = Path("/dev/snd")) -> str:
    """What to type if the system has sound devices but this user may not read them; "" otherwise."""
    devices = sorted(folder.glob("pcm*c"))
    if sys.platform.startswith("linux") and devices and not any(os.access(device, os.R_OK) for device in devices):
        return f"; no permission to read {devices[0]}: type: sudo usermod -aG audio $USER, then log in again"
    return ""


def _code(error: Exception) -> int:
    """PortAudio's error code; 0 if there is none."""
    return error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0


def _explain_start(error: Exception) -> str:
    if "PortAudio library not found" in str(error):
        from ascstream.devices.microphones import install_portaudio

        return f"recording sound needs PortAudio, which is missing; type: {install_portaudio(sys.platform)}"
    return f"PortAudio did not start ({error}); is the sound system running?"


def _explain_opening(error: Exception, name: str) -> Failed:
    code, permission = _code(error), _permission()
    if permission:
        return Failed(f"{name} cannot be opened{permission}")
    if code == _UNAVAILABLE:
        return Failed(f"{name} is in use by another program, or was just unplugged; fuser -v /dev/snd/* says by which")
    if code == _BAD_RATE:
        return Failed(f"{name} takes none of its own rate, 48000, 44100 and 16000 Hz; type: ascstream devices --probe")
    host = error.args[2][2] if len(error.args) > 2 else ""
    why = host or str(error.args[0] if error.args else error).rpartition(": ")[2]
    return Failed(
        f"{name} cannot be opened ({why}); is it plugged in, and does the sound system run?",
        missing=code == _BAD_DEVICE,
    )

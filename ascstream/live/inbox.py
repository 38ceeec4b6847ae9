"""A bounded queue in which recorders' threads put their messages until the stream takes them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import dataclass, replace

from ascstream.capture.messages import Message, Sound
from ascstream.live.health import Device

MOST_SOUND_SECONDS = 3.0
"""Most sound that may wait; beyond that, the oldest chunk is dropped and the one after it is marked `lost`."""
_MOST_LETTERS = 2000
"""Most letters that may wait: about twenty seconds of everything the recording processes send besides sound."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message and its sender."""

    device: Device
    """The device that sent it."""
    attempt: int
    """Number of the recording attempt it belongs to."""
    message: Message
    """The message itself."""


class Inbox:
    """Queued letters, and requests from other threads and signal handlers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: deque[Letter] = deque()
        self._sound_seconds = 0.0
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.stopping = False
        """Whether the stream is to end."""
        self.reopening = False
        """Whether all devices are to be reopened."""

    def put(self, device: Device, attempt: int, message: Message) -> None:
        """Add a letter; callable from any thread, never blocks on the stream."""
        with self._lock:
            self._letters.append(Letter(device, attempt, message))
            if isinstance(message, Sound):
                self._sound_seconds += _length(message)
                if self._sound_seconds > MOST_SOUND_SECONDS + 1e-6:
                    self._drop_oldest_sound()
            elif len(self._letters) > _MOST_LETTERS:
                self._letters.popleft()
        self.ring()

    def ring(self) -> None:
        """Wake up whoever waits. Takes no lock, so signal handlers may call it too."""
        if self._bell.empty():
            self._bell.put(None)

    def take(self) -> list[Letter]:
        """Take all letters, oldest first."""
        with self._lock:
            letters = list(self._letters)
            self._letters.clear()
            self._sound_seconds = 0.0
        return letters

    def wait(self, seconds: float) -> None:
        """Wait until something arrives, at most for `seconds`."""
        try:
            self._bell.get(timeout=max(seconds, 0.0))
            while True:
                self._bell.get_nowait()
        except queue.Empty:
            pass

    def _drop_oldest_sound(self) -> None:
        oldest: Letter | None = None
        for index, letter in enumerate(self._letters):
            if not isinstance(letter.message, Sound):
                continue
            if oldest is None:
                oldest = letter
                first = index
            elif letter.device == oldest.device:
                self._letters[index] = replace(letter, message=replace(letter.message, lost=True))
                break
        if oldest is not None and isinstance(oldest.message, Sound):
            self._sound_seconds -= _length(oldest.message)
            del self._letters[first]


def _length(sound: Sound) -> float:
    return float(sound.samples.shape[1]) / max(sound.sample_rate, 1)

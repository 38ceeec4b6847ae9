"""Where recorders put what they say, from threads of their own, until the stream takes it. Bounded."""

from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import dataclass, replace

from ascstream.capture.messages import Message, Sound
from ascstream.live.health import Device

MOST_SOUND_SECONDS = 3.0
"""Sound that waits at most; the oldest goes, and what follows it says so."""
_MOST_LETTERS = 2000
"""Letters that wait at most: twenty seconds of everything else that children say."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message and who sent it."""

    device: Device
    """Which device,"""
    attempt: int
    """and in which attempt."""
    message: Message
    """What it says."""


class Inbox:
    """Letters, and orders from other threads and signal handlers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: deque[Letter] = deque()
        self._sound_seconds = 0.0
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.stopping = False
        """Whether the stream shall end."""
        self.reopening = False
        """Whether all devices shall be opened anew."""

    def put(self, device: Device, attempt: int, message: Message) -> None:
        """Add a letter; from any thread, never blocks."""
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
        """Wake whoever waits. Takes no lock: for signal handlers too."""
        if self._bell.empty():
            self._bell.put(None)

    def take(self) -> list[Letter]:
        """All letters there are, the oldest first."""
        with self._lock:
            letters = list(self._letters)
            self._letters.clear()
            self._sound_seconds = 0.0
        return letters

    def wait(self, seconds: float) -> None:
        """Until something comes, at most so long."""
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

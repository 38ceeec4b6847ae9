"""A bounded queue in which recorders' threads put their messages until the stream takes them."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from ascstream.capture.messages import Failed, Message, Opened, Sound
from ascstream.live.health import Device

MOST_SOUND_SECONDS = 3.0
"""Most sound that may wait; beyond that, the oldest chunks are dropped and the one after them is marked `lost`."""
_MOST_LETTERS = 2000
"""Most letters that may wait, about twenty seconds of them; failures and newest forms of devices are never dropped."""


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
        self._lossy: set[Device] = set()
        """Devices whose next sound follows on a dropped chunk."""
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.stopping = False
        """Whether the stream is to end."""
        self.reopening = False
        """Whether all devices are to be reopened."""

    def put(self, device: Device, attempt: int, message: Message) -> None:
        """Add a letter; callable from any thread, never blocks on the stream."""
        with self._lock:
            if isinstance(message, Sound):
                self._sound_seconds += _length(message)
                if device in self._lossy:
                    self._lossy.remove(device)
                    message = replace(message, lost=True)
            self._letters.append(Letter(device, attempt, message))
            while self._sound_seconds > MOST_SOUND_SECONDS + 1e-6 and self._drop_first(self._is_sound):
                pass
            if len(self._letters) > _MOST_LETTERS:
                self._drop_first(self._is_droppable)
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

    def _drop_first(self, chosen: Callable[[int], bool]) -> bool:
        """Remove the oldest letter that is chosen, if any; if it is sound, the device's next one is marked `lost`."""
        index = next((index for index in range(len(self._letters)) if chosen(index)), None)
        if index is None:
            return False
        dropped = self._letters[index]
        del self._letters[index]
        if not isinstance(dropped.message, Sound):
            return True
        self._sound_seconds -= _length(dropped.message)
        for later in range(index, len(self._letters)):
            letter = self._letters[later]
            if letter.device == dropped.device and isinstance(letter.message, Sound):
                self._letters[later] = replace(letter, message=replace(letter.message, lost=True))
                return True
        self._lossy.add(dropped.device)
        return True

    def _is_sound(self, index: int) -> bool:
        return isinstance(self._letters[index].message, Sound)

    def _is_droppable(self, index: int) -> bool:
        """Whether the letter is neither a failure nor what its device last reported about itself."""
        letter = self._letters[index]
        if isinstance(letter.message, Opened):
            later = itertools.islice(self._letters, index + 1, None)
            return any(other.device == letter.device and isinstance(other.message, Opened) for other in later)
        return not isinstance(letter.message, Failed)


def _length(sound: Sound) -> float:
    return float(sound.samples.shape[1]) / max(sound.sample_rate, 1)

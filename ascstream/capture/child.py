"""What both kinds of recording child share: output that never blocks, and input from the parent."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Condition, Thread

from ascstream.capture.messages import Message, Note, Opened, Picture, Seen, Sound, pack

_MOST_SOUND_SECONDS = 2.0
"""Most sound that may be queued for the parent: older sound is of no use any more."""
_MOST = {Seen: 1, Picture: 1, Note: 100, Opened: 100}
"""Most messages of each kind that may be queued; beyond it, the oldest is dropped."""


class Outbox:
    """Sends messages to the parent from a thread of its own, so that `put` never blocks, whatever the parent does.

    If the parent does not read, the oldest sound is dropped and the next one is marked `lost`; only the newest
    `Picture` and the newest `Seen` stay queued.
    """

    def __init__(self, descriptor: int) -> None:
        """Start the writing thread.

        Args:
            descriptor: File descriptor to write to; the thread closes it when it ends.
        """
        self._descriptor = descriptor
        self._waiting: deque[Message] = deque()
        self._lost = False
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._write, name="outbox", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Queue a message; never blocks, never raises, and does nothing if the parent is gone."""
        with self._changed:
            if self._closed:
                return
            if isinstance(message, Seen | Picture):
                message = self._merge(message)
            self._waiting.append(message)
            if isinstance(message, Sound):
                while sum(_seconds(sound) for sound in self._waiting if isinstance(sound, Sound)) > _MOST_SOUND_SECONDS:
                    self._drop_sound()
            elif type(message) in _MOST:
                self._drop_above(type(message), _MOST[type(message)])
            self._changed.notify()

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Accept no more messages, and give the parent this long to read the queue; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def _merge(self, message: Seen | Picture) -> Seen | Picture:
        """`message`, including what the queued message that it will replace would have said."""
        for old in self._waiting:
            if isinstance(message, Seen) and isinstance(old, Seen):
                return replace(message, n_frames=old.n_frames + message.n_frames)
            if isinstance(message, Picture) and isinstance(old, Picture) and message.image is None:
                # no image means "the same as sent last", but that one is still queued
                return replace(message, image=old.image if old.stamp == message.stamp else None)
        return message

    def _drop_sound(self) -> None:
        """Drop the oldest sound, and mark the one after it as `lost`."""
        sounds = [(index, message) for index, message in enumerate(self._waiting) if isinstance(message, Sound)]
        if len(sounds) > 1:
            after, sound = sounds[1]
            self._waiting[after] = replace(sound, lost=True)
        else:
            self._lost = True
        del self._waiting[sounds[0][0]]

    def _drop_above(self, kind: type[Message], most: int) -> None:
        places = [index for index, message in enumerate(self._waiting) if isinstance(message, kind)]
        for index in reversed(places[: max(0, len(places) - most)]):
            del self._waiting[index]

    def _take(self) -> Message | None:
        """Wait for the next message; None when closed and empty."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            if isinstance(message, Sound) and self._lost:
                message, self._lost = replace(message, lost=True), False
            return message

    def _write(self) -> None:
        try:
            while (message := self._take()) is not None:
                data = memoryview(pack(message))
                while data:
                    data = data[os.write(self._descriptor, data) :]
        except OSError:  # the parent is gone; the end of stdin shows that too
            pass
        finally:
            with self._changed:
                self._closed = True
                self._waiting.clear()
            os.close(self._descriptor)


def watch_stdin(ask: Callable[[float], None], gone: Callable[[], None] = lambda: os._exit(0)) -> None:
    """Start a thread that listens to the parent.

    Args:
        ask: Called from that thread with the time that the parent asks about; must not block. Of several questions
            that arrived together, only the last is passed on.
        gone: Called when the parent is gone, or when `ask` fails because of a bug; by default, this process exits at
            once.
    """
    Thread(target=_watch, args=(ask, gone), name="stdin", daemon=True).start()


def read_line(most: int = 1 << 16) -> bytes:
    """Read one line of stdin, without its newline and not a byte further: `watch_stdin` reads the rest."""
    line = bytearray()
    while len(line) < most and (byte := _read(1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


def _watch(ask: Callable[[float], None], gone: Callable[[], None]) -> None:
    try:
        _listen(ask)
    except BaseException as error:  # noqa: BLE001  without this thread, the parent's end would go unnoticed
        tell_mistake(error)
    finally:
        gone()


def _listen(ask: Callable[[float], None]) -> None:
    """Pass on questions until the parent is gone."""
    rest = b""
    while data := _read(1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[-64:]
        for line in reversed(lines):
            try:
                moment = float(line)
            except ValueError:
                continue
            ask(moment)
            break


def _read(most: int) -> bytes:
    """Up to `most` bytes of stdin; b"" at its end. Unbuffered: a thread waiting in `sys.stdin` would hold its lock."""
    try:
        return os.read(0, most)
    except OSError:
        return b""


def _seconds(sound: Sound) -> float:
    return float(sound.samples.shape[1]) / sound.sample_rate


def tell_mistake(error: BaseException) -> None:
    """Log a bug of ours by type and location, without its text, which may contain secrets."""
    place = next(reversed(traceback.extract_tb(error.__traceback__)), None)
    with contextlib.suppress(OSError, ValueError):
        where = "" if place is None else f" at {place.filename}:{place.lineno}"
        sys.stderr.write(f"{type(error).__name__}{where}\n")
        sys.stderr.flush()


def take_stdout() -> int:
    """Return a private descriptor for stdout, and redirect stdout itself to stderr, for libraries that print.

    If stderr is a pipe, it becomes non-blocking: a parent that has stopped reading must not block a library that
    prints warnings.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(private, os.O_BINARY)
    else:
        import stat

        if stat.S_ISFIFO(os.fstat(2).st_mode):
            os.set_blocking(2, False)
    return private

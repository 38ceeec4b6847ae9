"""What both kinds of recording child share: the way out, which never blocks, and the way in."""

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
"""Sound that may wait for the parent: later, nobody wants it any more."""
_MOST = {Seen: 1, Picture: 1, Note: 100, Opened: 100}
"""Messages of a kind that may wait; the oldest goes."""


class Outbox:
    """Messages to the parent, by a thread of its own: who puts one in never waits, whatever the parent does.

    Where the parent does not read, the oldest sound goes and the next one says so; of pictures, and of the word that
    some came, only the newest waits.
    """

    def __init__(self, descriptor: int) -> None:
        """Start the thread that writes.

        Args:
            descriptor: Where to; closed by the thread when it ends.
        """
        self._descriptor = descriptor
        self._waiting: deque[Message] = deque()
        self._lost = False
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._write, name="outbox", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Send this; never blocks, never raises, and is ignored where the parent is gone."""
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
        """Take nothing more, and give the parent this long to read what waits; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def _merge(self, message: Seen | Picture) -> Seen | Picture:
        """One that says what the one that still waits would have said too."""
        for old in self._waiting:
            if isinstance(message, Seen) and isinstance(old, Seen):
                return replace(message, n_frames=old.n_frames + message.n_frames)
            if isinstance(message, Picture) and isinstance(old, Picture) and message.image is None:
                # "the one that was sent last" was not sent yet
                return replace(message, image=old.image if old.stamp == message.stamp else None)
        return message

    def _drop_sound(self) -> None:
        """Let the oldest sound go; the one after it says so."""
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
        """The next message, waited for; None at the end."""
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
        except OSError:  # the parent is gone; the end of stdin says so too
            pass
        finally:
            with self._changed:
                self._closed = True
                self._waiting.clear()
            os.close(self._descriptor)


def watch_stdin(ask: Callable[[float], None], gone: Callable[[], None] = lambda: os._exit(0)) -> None:
    """Listen to the parent in a thread of its own, from now on.

    Args:
        ask: Told the newest moment that the parent asks for, from that thread; must not block. Of questions that came
            together, all but the last are passed over.
        gone: Called when the parent is gone, or a question cannot be answered because of a mistake of ours; by default
            this process ends at once.
    """
    Thread(target=_watch, args=(ask, gone), name="stdin", daemon=True).start()


def read_line(most: int = 1 << 16) -> bytes:
    """The next line of stdin without its end, and not a byte more, since `watch_stdin` takes the rest."""
    line = bytearray()
    while len(line) < most and (byte := _read(1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


def _watch(ask: Callable[[float], None], gone: Callable[[], None]) -> None:
    try:
        _listen(ask)
    except BaseException as error:  # noqa: BLE001  nobody would notice the parent's end any more
        tell_mistake(error)
    finally:
        gone()


def _listen(ask: Callable[[float], None]) -> None:
    """Pass questions on until the parent is gone."""
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
    """Bytes of stdin; none at its end. Unbuffered: a thread that waits in `sys.stdin` would hold its lock for ever."""
    try:
        return os.read(0, most)
    except OSError:
        return b""


def _seconds(sound: Sound) -> float:
    return float(sound.samples.shape[1]) / sound.sample_rate


def tell_mistake(error: BaseException) -> None:
    """Log a mistake of ours: where it is, but not its text, which may hold secrets."""
    place = next(reversed(traceback.extract_tb(error.__traceback__)), None)
    with contextlib.suppress(OSError, ValueError):
        where = "" if place is None else f" at {place.filename}:{place.lineno}"
        sys.stderr.write(f"{type(error).__name__}{where}\n")
        sys.stderr.flush()


def take_stdout() -> int:
    """A descriptor of ours for what stdout was; stdout itself becomes stderr, for libraries that print.

    Where stderr is a pipe, a write to it fails rather than waits from now on: a parent that stopped reading must not
    stop a library that complains.
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

"""A binary file object for FFmpeg to read from: standard input, a pipe, an open file."""

from __future__ import annotations

import select
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from ascstream.errors import SourceError
from ascstream.stopping import raise_stopped

_POLL, _POLLIN = getattr(select, "poll", None), getattr(select, "POLLIN", 1)
"""Windows has none, and reads there wait as they do."""
_LOOK_SECONDS = 0.2
"""How often a wait for bytes looks whether the run was to end."""


class PipeReader:
    """Hands FFmpeg what a file object gives, and keeps an interrupt that arrives meanwhile.

    FFmpeg calls `read` from C, where an exception would be lost: it looks like the end of the input there, and
    `raise_interrupt` raises it where Python can see it.
    """

    def __init__(self, file: BinaryIO, *, owned: bool = False) -> None:
        """Read from `file`; `owned`: close it in the end."""
        self._file = file
        self._owned = owned
        # read1 gives what has arrived, where read would wait for a full buffer
        self._read_some = getattr(file, "read1", file.read)
        self._waits_for = _descriptor(file)
        self._is_drained = False
        self._interrupt: BaseException | None = None
        self._peeked = b""
        self._reading = self._give()
        next(self._reading)
        self.read = self._reading.send
        """Up to `size` bytes; none at the end, and after an interrupt."""
        self.seekable = file.seekable
        """Whether one can go back."""
        self.seek = file.seek
        """Go to a position."""
        self.tell = file.tell
        """The position."""

    @classmethod
    def open(cls, path: Path, name: str) -> PipeReader:
        """Open a named pipe, waiting until somebody writes to it, or a device.

        Raises:
            SourceError: It cannot be opened.
        """
        try:
            return cls(path.open("rb"), owned=True)
        except OSError as error:
            raise SourceError(f"cannot read {name}: {error.strerror}") from error

    def peek(self, size: int) -> bytes:
        """The first `size` bytes, fewer at the end, to tell what the input is; they are read again after."""
        if self.seekable():
            at = self.tell()
            data = self._file.read(size)
            self.seek(at)
            return data
        while len(self._peeked) < size:
            data = self._read(size - len(self._peeked))
            if not data:
                break
            self._peeked += data
        return self._peeked

    def _read(self, size: int) -> bytes:
        """What has arrived, waiting for it; an interrupt that a library lost ends the waiting."""
        while self._waits_for is not None and self._is_drained:
            raise_stopped()
            if _is_ready(self._waits_for, _LOOK_SECONDS):
                break
        data: bytes = self._read_some(size)
        self._is_drained = len(data) < size  # then nothing is left in the file object's own buffer
        return data

    def _give(self) -> Generator[bytes, int, None]:
        """Bytes for each size sent.

        Python may raise an interrupt before the first line of any function it calls, where no `try` reaches it. A
        generator waits inside its `try`.
        """
        data = b""
        while True:
            try:
                while True:
                    size = yield data
                    data, self._peeked = self._peeked[:size], self._peeked[size:]
                    if not data and self._interrupt is None:
                        data = self._read(size)
            except GeneratorExit:
                raise
            except BaseException as interrupt:  # noqa: BLE001 — raised again by raise_interrupt
                self._interrupt = interrupt
                data = b""

    def raise_interrupt(self) -> None:
        """Raise what interrupted a read, if anything did."""
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    def close(self) -> None:
        """End the reading and close what `open` opened; may be called twice.

        The generator ends here, where an interrupt that arrives meanwhile can be raised: left to the garbage collector,
        it would be printed and lost.
        """
        try:
            self._reading.close()
        finally:
            if self._owned:
                self._file.close()


def _descriptor(file: BinaryIO) -> int | None:
    """What the system can wait for; None where there is nothing such."""
    try:
        return None if _POLL is None or file.seekable() else file.fileno()
    except (OSError, AttributeError, ValueError):
        return None


def _is_ready(descriptor: int, seconds: float) -> bool:
    """Whether a read would give something, or the end, within that time."""
    if _POLL is None:
        return True
    waiting = _POLL()
    waiting.register(descriptor, _POLLIN)
    return bool(waiting.poll(1000 * seconds))

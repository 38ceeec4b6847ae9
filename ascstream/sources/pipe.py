"""A binary file object for FFmpeg to read from: standard input, a pipe, an open file."""

from __future__ import annotations

import select
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from ascstream.errors import SourceError
from ascstream.stopping import raise_stopped

_POLL, _POLLIN = getattr(select, "poll", None), getattr(select, "POLLIN", 1)
"""None on Windows, where reads simply block."""
_LOOK_SECONDS = 0.2
"""How often a wait for bytes checks whether the run should end."""


class PipeReader:
    """Lets FFmpeg read from a file object, and keeps an interrupt that arrives meanwhile.

    FFmpeg calls `read` from C, where an exception would be lost. So `read` reports the end of the input instead, and
    `raise_interrupt` raises the exception later, from Python.
    """

    def __init__(self, file: BinaryIO, *, owned: bool = False) -> None:
        """Read from `file`; if `owned`, `close` closes it."""
        self._file = file
        self._owned = owned
        # read1 returns what has arrived, whereas read would wait for a full buffer
        self._read_some = getattr(file, "read1", file.read)
        self._waits_for = _descriptor(file)
        self._is_drained = False
        self._interrupt: BaseException | None = None
        self._peeked = b""
        self._reading = self._give()
        next(self._reading)
        self.read = self._reading.send
        """Read up to `size` bytes; b"" at the end, or after an interrupt."""
        self.seekable = file.seekable
        """Whether the file can be repositioned."""
        self.seek = file.seek
        """Move to a position."""
        self.tell = file.tell
        """The current position."""

    @classmethod
    def open(cls, path: Path, name: str) -> PipeReader:
        """Open a device or a named pipe, waiting until the latter has a writer.

        Raises:
            SourceError: It cannot be opened.
        """
        try:
            return cls(path.open("rb"), owned=True)
        except OSError as error:
            raise SourceError(f"cannot read {name}: {error.strerror}") from error

    def peek(self, size: int) -> bytes:
        """The first `size` bytes (fewer if the input is shorter), to identify it; `read` returns them again."""
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
        """Wait for bytes and return what has arrived; also stops on an interrupt that a library swallowed."""
        while self._waits_for is not None and self._is_drained:
            raise_stopped()
            if _is_ready(self._waits_for, _LOOK_SECONDS):
                break
        data: bytes = self._read_some(size)
        self._is_drained = len(data) < size  # if so, the file object's own buffer is empty
        return data

    def _give(self) -> Generator[bytes, int, None]:
        """Generator behind `read`: yields up to as many bytes as were sent to it.

        In a plain function, Python may raise an interrupt before the first line, outside any `try`. A generator is
        suspended inside its `try`.
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
        """Raise the exception that interrupted a read, if any."""
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    def close(self) -> None:
        """Stop reading, and close what `open` opened; may be called twice.

        The generator is closed here, where an interrupt that arrives meanwhile can be raised. If left to the garbage
        collector, the interrupt would be printed and lost.
        """
        try:
            self._reading.close()
        finally:
            if self._owned:
                self._file.close()


def _descriptor(file: BinaryIO) -> int | None:
    """The file descriptor to poll; None if there is none, or it need not be polled."""
    try:
        return None if _POLL is None or file.seekable() else file.fileno()
    except (OSError, AttributeError, ValueError):
        return None


def _is_ready(descriptor: int, seconds: float) -> bool:
    """Whether a read would return (with bytes, or at the end) within this time."""
    if _POLL is None:
        return True
    waiting = _POLL()
    waiting.register(descriptor, _POLLIN)
    return bool(waiting.poll(1000 * seconds))

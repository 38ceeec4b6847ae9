"""A file that grows for as long as a stream runs: continued, flushed line by line, rotated. `output.py` opens it."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from ascstream.errors import OutputError, UsageError
from ascstream.live.clock import Clock

_LEAST_PERIOD = 1.0
"""In seconds: file names differ only by the second."""
_PATIENCE_SECONDS = 5.0
"""A named pipe whose reader takes nothing for this long is an error: meanwhile nothing is heard or seen."""
_TAIL = 1 << 16
"""Number of bytes at a file's end in which its last line is examined."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How a file grows."""

    clock: Clock
    """Tells when a period is over."""
    rotate_seconds: float | None = None
    """A new file is begun at each full multiple of this, in UTC; None: never."""
    continued: bool = True
    """Whether a file from an earlier run is appended to; otherwise it is renamed by the time of its last change."""

    def __post_init__(self) -> None:
        if self.rotate_seconds is not None and not self.rotate_seconds >= _LEAST_PERIOD:
            raise UsageError(
                f"rotate: expected a period of {_LEAST_PERIOD:.0f} s or more, got {self.rotate_seconds:g} s; try 1h"
            )


class GrowingFile:
    """Appends whole records to a file, which exists from the start and is never renamed into place.

    An incomplete last line from a run that was killed is ended with a newline. If `Growth.rotate_seconds` is set, the
    file is renamed by the time at which its period began, `results.2026-11-21T15-00-00Z.jsonl`, and a new one is begun;
    nothing is ever overwritten. A device or a named pipe is written to directly and never rotated; a pipe's reader has
    to be there, and to read, because nothing is heard or seen while it is waited for.
    """

    def __init__(self, path: Path, growth: Growth) -> None:
        """Open the file.

        Raises:
            OutputError: It cannot be opened.
        """
        self._path = path
        self._growth = growth
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._period = 0
        self._regular = True
        self._checked = False
        self._open()

    @property
    def fresh(self) -> bool:
        """Whether the file is still empty; if its period is over, it is rotated first.

        Raises:
            OutputError: The next file cannot be opened.
        """
        self._rotate()
        return self._regular and os.fstat(self._required()).st_size == 0

    def write(self, text: str, header: str = "") -> None:
        """Append a record: all of it or, on an error, none of it; a later one may find room again.

        Args:
            text: Whole lines.
            header: The beginning of the file.

        Raises:
            BrokenPipeError: The path is a named pipe whose reader is gone.
            OutputError: It cannot be written, or begins with a different header.
        """
        if self.fresh or (not self._regular and not self._checked):
            text = header + text
        elif not self._checked and header:
            self._check(header)
        self._checked = True
        self._append(text.encode("utf-8", "replace"))

    def keep(self) -> None:
        """Does nothing: what was written stays anyway."""

    def reopen(self) -> None:
        """Close it and continue in the file of that name, which is a new one if the old one was moved away.

        A device or a named pipe stays open: its reader would take closing for the end.

        Raises:
            OutputError: It cannot be opened.
        """
        if self._regular:
            self.close()
            self._open()

    def close(self) -> None:
        """Close the file; may be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _required(self) -> int:
        """The file descriptor; reopens the file if an error has closed it."""
        if self._descriptor is None:
            self._open()
        if self._descriptor is None:
            raise RuntimeError("no file is open")
        return self._descriptor

    def _open(self) -> None:
        """Open or create the file; set an older one aside if it is not to be continued."""
        try:
            place = self._path.resolve()
            found = _status(place)
            self._regular = found is None or stat.S_ISREG(found.st_mode)
            if found is not None and not self._regular:
                self._descriptor = _open_special(place, found)
                return
            ours = found is not None and (found.st_dev, found.st_ino) == self._identity
            if found is not None and not ours and found.st_size:
                if not self._growth.continued:
                    _set_aside(place, found.st_mtime)
                elif self._period_of(found.st_mtime) != self._period_of(self._now()):
                    _set_aside(place, self._begin_of(self._period_of(found.st_mtime)))
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._descriptor = os.open(place, flags, 0o666)
            status = os.fstat(self._descriptor)
        except OutputError:
            raise
        except OSError as error:
            raise self._error(error) from error
        self._identity = (status.st_dev, status.st_ino)
        self._checked = False
        self._period = self._period_of(self._now())
        self._complete_last_line(status.st_size)

    def _complete_last_line(self, size: int) -> None:
        """End the incomplete line of a killed run with a newline, so that the next record gets its own line."""
        descriptor = self._required()
        if not size:
            return
        os.lseek(descriptor, max(size - _TAIL, 0), os.SEEK_SET)
        if not os.read(descriptor, _TAIL).endswith(b"\n"):
            self._append(b"\n")

    def _check(self, header: str) -> None:
        """Raise unless the file begins with `header`."""
        wanted = header.encode("utf-8", "replace")
        descriptor = self._required()
        os.lseek(descriptor, 0, os.SEEK_SET)
        found = os.read(descriptor, len(wanted))
        if found != wanted:
            begin = found.decode("utf-8", "replace").partition("\n")[0]
            raise OutputError(
                f"{self._path}: expected a file to continue that begins with {_short(header)}, got {_short(begin)}; "
                "move it away or choose another name"
            )

    def _append(self, data: bytes) -> None:
        descriptor = self._required()
        n_written = 0
        try:
            while n_written < len(data):
                n_written += _write_patiently(descriptor, data[n_written:])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._error(error) from error
        finally:
            if 0 < n_written < len(data) and self._regular:  # a full disk, or a signal between two parts
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - n_written)

    def _rotate(self) -> None:
        """If the period is over, rename the file and begin the next one."""
        if self._growth.rotate_seconds is None or not self._regular or self._descriptor is None:
            return
        period = self._period_of(self._now())
        if period == self._period:
            return
        size = os.fstat(self._descriptor).st_size
        self.close()
        try:
            place = self._path.resolve()
            found = _status(place)
            if found is not None and size and (found.st_dev, found.st_ino) == self._identity:
                _set_aside(place, self._begin_of(self._period))
        except OSError as error:
            raise self._error(error) from error
        finally:
            self._open()

    def _now(self) -> float:
        return self._growth.clock.utc().timestamp()

    def _period_of(self, moment: float) -> int:
        """Number of the period a moment is in; 0 if there is no rotation."""
        seconds = self._growth.rotate_seconds
        return 0 if seconds is None else int(moment // seconds)

    def _begin_of(self, period: int) -> float:
        return period * (self._growth.rotate_seconds or 0.0)

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path}: {error.strerror}; what was written before is kept")


def names_beside(path: Path, moment: float) -> Iterator[Path]:
    """Names a file may be renamed to: with a time, and from the second on with a number.

    Args:
        path: The file.
        moment: Seconds since 1970, UTC.
    """
    when = datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    yield path.with_name(f"{path.stem}.{when}{path.suffix}")
    for number in count(2):
        yield path.with_name(f"{path.stem}.{when}-{number}{path.suffix}")


def _set_aside(path: Path, moment: float) -> None:
    """Rename a file by a moment; never overwrites another one."""
    for name in names_beside(path, moment):
        if not os.path.lexists(name):
            path.rename(name)
            return


def _open_special(path: Path, status: os.stat_result) -> int:
    """Open a device or a named pipe for writing, without waiting for a pipe's reader.

    Raises:
        OutputError: The pipe has no reader.
        OSError: It cannot be opened.
    """
    flags = getattr(os, "O_NONBLOCK", 0) if stat.S_ISFIFO(status.st_mode) else 0
    try:
        return os.open(path, os.O_WRONLY | flags)
    except OSError as error:
        if error.errno != errno.ENXIO or not flags:
            raise
        raise OutputError(f"{path}: nobody reads this named pipe; start its reader first: cat {path}") from error


def _write_patiently(descriptor: int, data: bytes) -> int:
    """Write a part of the data; waits a while if a named pipe is full.

    Raises:
        TimeoutError: The reader takes nothing.
        OSError: It cannot be written.
    """
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            if not select.select([], [descriptor], [], _PATIENCE_SECONDS)[1]:
                raise TimeoutError(
                    errno.ETIMEDOUT, f"its reader has taken nothing for {_PATIENCE_SECONDS:.0f} s"
                ) from None


def _status(path: Path) -> os.stat_result | None:
    """The file's status; None if it does not exist."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _short(text: str) -> str:
    """The beginning of a line, quoted."""
    line = text.rstrip("\n")
    return repr(line if len(line) <= 60 else line[:60] + "…")

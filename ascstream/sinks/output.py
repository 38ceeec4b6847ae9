"""Where a sink's text goes: standard output, or a file written under a temporary name and renamed into place.

Files of live streams are in `growing.py`.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from pathlib import Path, PurePosixPath
from typing import TextIO
from unicodedata import category
from urllib.parse import urlsplit

from ascstream.errors import OutputError, UsageError
from ascstream.sinks.growing import GrowingFile, Growth

STANDARD_OUTPUT = "-"
"""The target that means standard output."""
STEM = "{stem}"
"""Placeholder in a target that yields one file per input."""
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories: control characters, surrogates, line and paragraph separators."""
_UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""Errors of file systems that have no way to flush a file: what was written is as good as it will be."""

if sys.platform == "win32":
    _OWN = os.O_BINARY | os.O_NOINHERIT
else:
    _OWN = os.O_CLOEXEC
"""Flags for opening: not inherited by other processes, no newline translation."""


def printable(text: str) -> str:
    """The text on one line, without characters a terminal would obey or UTF-8 cannot encode: controls, surrogates."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if category(character) in _UNPRINTABLE else character for character in text
    )


def stem_of(source: str) -> str:
    """What replaces `{stem}`: "clips/park.mp4" gives "park", "-" gives "stdin", a URL its last path part."""
    if source == STANDARD_OUTPUT:
        return "stdin"
    if "://" in source:
        try:
            url = urlsplit(source)
        except ValueError:  # an address with an unclosed bracket
            return "stream"
        return PurePosixPath(url.path).stem or url.hostname or "stream"
    return Path(source).stem or "stream"


def path_for(target: str, source: str) -> Path:
    """The file that holds the results of `source`."""
    return Path(target.replace(STEM, stem_of(source)))


def check_place(path: Path) -> None:
    """Refuse a path that no file can be written to, before anything is decoded.

    Raises:
        OutputError: The folder is missing or not writable, or the path is a folder.
    """
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path}: expected a file for the results, got a folder; try {path / 'results.jsonl'}")
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}; try: mkdir -p {folder}")
    if not _is_special(path) and not os.access(folder.resolve(), os.W_OK | os.X_OK):
        raise OutputError(f"{path}: {os.strerror(errno.EACCES)}: the folder {folder} is not writable")


class StandardOutput:
    """Standard output, flushed after every write.

    A reader that went away (`| head`) raises `BrokenPipeError`, which is passed on unchanged: it is not an error of
    ours. The command line then ends quietly; it has to redirect file descriptor 1 first, since the interpreter flushes
    `sys.stdout` once more at exit.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self.fresh = True
        """Whether nothing has been written yet."""

    def write(self, text: str, header: str = "") -> None:
        """Write whole lines, in UTF-8 whatever the locale; the header precedes the first.

        Raises:
            BrokenPipeError: The reader is gone.
            OutputError: Writing failed, for example to a full disk after a redirection.
        """
        if self.fresh:
            text, self.fresh = header + text, False
        try:
            buffer = getattr(self._stream, "buffer", None)
            if buffer is None:
                self._stream.write(text)
            else:
                buffer.write(text.encode("utf-8", "replace"))
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"standard output: {error.strerror}") from error

    def keep(self) -> None:
        """Does nothing: what was written cannot be taken back."""

    def close(self) -> None:
        """Does nothing: standard output is not ours to close."""


class FileOutput:
    """A file that appears all at once: written under a temporary name beside it, renamed into place by `close`.

    An existing file stays until then, and for good if nothing was worth keeping. After a failed write the file ends
    with the last whole record. One that may not be whole keeps its temporary name, which the error gives. A device or a
    named pipe is written to directly.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = path
        self._temporary: Path | None = None
        self._descriptor: int | None = None
        self._good = 0
        self._kept = False
        self._failure: OSError | None = None

    @property
    def fresh(self) -> bool:
        """Whether nothing has been written yet."""
        return not self._good

    def write(self, text: str, header: str = "") -> None:
        """Write a record: all of it or, on an error, none of it; the header precedes the first.

        Raises:
            BrokenPipeError: The path is a named pipe whose reader is gone.
            OutputError: It cannot be written.
        """
        if self._failure is not None:
            raise self._error(self._failure)
        data = ((header if self.fresh else "") + text).encode("utf-8", "replace")
        try:
            descriptor = self._open() if self._descriptor is None else self._descriptor
            if self._temporary is not None:  # a signal may have come between an earlier write and its count
                os.lseek(descriptor, self._good, os.SEEK_SET)
            n_written = 0
            while n_written < len(data):
                n_written += os.write(descriptor, data[n_written:])
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failure = error
            raise self._error(error) from error
        self._good += len(data)

    def keep(self) -> None:
        """Note that the file contains something worth keeping."""
        self._kept = True

    def close(self) -> None:
        """Rename it into place, or remove it if nothing is to be kept; may be called twice.

        Raises:
            OutputError: It cannot be flushed or renamed; what was written is in the temporary file then.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        wanted, whole = self._kept and self._good > 0, False
        try:
            try:
                if self._temporary is not None and wanted:
                    os.ftruncate(descriptor, self._good)
                    whole = True
                    _flush(descriptor)
            except OSError:
                whole = False
                raise
            finally:  # also if a signal ends the wait for the disk
                try:
                    os.close(descriptor)
                except OSError:
                    whole = False
                    raise
                finally:
                    if self._temporary is not None and not wanted:
                        self._temporary.unlink(missing_ok=True)
                    elif self._temporary is not None and whole:
                        self._temporary.replace(self._place)
        except OSError as error:
            if self._temporary is None or not wanted:
                raise self._error(error) from error
            raise OutputError(f"{self._path}: {error.strerror}; what was written is in {self._temporary}") from error

    def _open(self) -> int:
        """Create the temporary file beside the target, with the target's permissions or a new file's."""
        if _is_special(self._path):
            self._descriptor = os.open(self._path, os.O_WRONLY | _OWN)
            return self._descriptor
        self._place = self._path.resolve()
        temporary = self._place.with_name(f".ascstream-{secrets.token_hex(6)}.part")
        self._descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OWN, 0o666)
        self._temporary = temporary
        if sys.platform != "win32" and self._place.exists():
            os.fchmod(self._descriptor, stat.S_IMODE(self._place.stat().st_mode))
        return self._descriptor

    def _error(self, error: OSError) -> OutputError:
        kept = "; what was written before is kept" if self._kept and self._good else ""
        return OutputError(f"{self._path}: {error.strerror}{kept}")


class Destination:
    """The outputs of one sink: one for all inputs, or one per input if the target contains `{stem}`."""

    def __init__(self, target: str, *, one_input_a_file: bool = False, growth: Growth | None = None) -> None:
        """Prepare the outputs.

        Args:
            target: A path, with or without `{stem}`, or "-".
            one_input_a_file: Whether an output can describe only one input.
            growth: How files of a live stream grow; None: files appear once they are complete.
        """
        self._target = target
        self._one_input_a_file = one_input_a_file
        self._growth = growth
        self._output: StandardOutput | FileOutput | GrowingFile | None = None
        self._used: dict[Path, str] = {}
        self._n_inputs = 0

    def begin(self, source: str) -> None:
        """Switch to the output for the next input.

        Raises:
            UsageError: The input's results would go into an earlier one's file, and that is not possible.
            OutputError: A live stream's file cannot be opened.
        """
        self._n_inputs += 1
        each = STEM in self._target
        if self._one_input_a_file and not each and self._n_inputs > 1:
            raise several_inputs(self._target)
        if self._output is not None and not each:
            return
        if self._target == STANDARD_OUTPUT:
            self._output = StandardOutput()
            return
        path = path_for(self._target, source)
        if path in self._used:
            raise same_stem(path, self._used[path], source)
        self._used[path] = source
        self._output = FileOutput(path) if self._growth is None else GrowingFile(path, self._growth)

    @property
    def fresh(self) -> bool:
        """Whether the output that receives the next record is still empty."""
        return self._output is not None and self._output.fresh

    def write(self, text: str, *, header: str = "", keep: bool = True) -> None:
        """Write whole records.

        Args:
            text: The records.
            header: Text before the first record of an output.
            keep: Whether the text is a result: a file with nothing but headers and remarks is not put in place.

        Raises:
            BrokenPipeError: The reader is gone.
            OutputError: It cannot be written, or a file to continue begins with a different header.
        """
        if self._output is None:
            raise RuntimeError("write before begin")
        if keep:
            self._output.keep()
        self._output.write(text, header)

    def reopen(self) -> None:
        """Continue a live stream's file, or a new one if it was moved away."""
        if isinstance(self._output, GrowingFile):
            self._output.reopen()

    def end(self) -> None:
        """End the input; a file of its own is put in place."""
        if STEM in self._target:
            self.close()

    def close(self) -> None:
        """Put what is still open in place; may be called twice."""
        output, self._output = self._output, None
        if output is not None:
            output.close()


def several_inputs(target: str) -> UsageError:
    """The error for several inputs whose target can describe only one."""
    path = Path(target)
    hint = "" if target == STANDARD_OUTPUT else f'; try "{path.with_name(f"{STEM}{path.suffix}")}"'
    return UsageError(
        f"{target}: captions belong to one input, got several; expected {STEM} in the path, replaced for each{hint}"
    )


def same_stem(path: Path, first: str, second: str) -> UsageError:
    """The error for two inputs whose results would go into one file."""
    return UsageError(
        f"{path}: the results of both {printable(first)} and {printable(second)} would go into it; "
        f"rename one of them, or classify them in two runs"
    )


def _flush(descriptor: int) -> None:
    """Wait until a file is on the disk, if its file system can tell."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise


def _is_special(path: Path) -> bool:
    """Whether the path exists and is not a regular file, so that nothing can be renamed over it."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False

"""Opening the files of a bundle's folder, and synchronising it: through no link, without waiting.

Linux and macOS open the folder first, and the file in it; Windows opens no folders, and has no pipes among its files.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path


def read_at_most(fd: int, length: int, size: int) -> tuple[bytes, int]:
    """Read a file that is no longer than it may be.

    Args:
        fd: Its descriptor; stays open.
        length: What its status says.
        size: Bytes it may have, however many somebody promises.

    Returns:
        Its bytes, none where it is too long, and how many it has; one more than `length` where it grew meanwhile.
    """
    if length > size:
        return b"", length
    with open(fd, "rb", closefd=False) as file:
        data = file.read(length + 1)
    return data, len(data)


class NoFolderError(OSError):
    """There is no folder where a file of it was to be opened."""


if sys.platform == "win32":

    def open_inside(folder: Path, name: str) -> int:
        """A descriptor of a file; OSError where there is none, NoFolderError where there is not even a folder."""
        where = folder / name
        if not folder.is_dir():
            raise NoFolderError(errno.ENOENT, os.strerror(errno.ENOENT))
        if where.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return os.open(where, os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT)

    def sync_folder(path: Path) -> None:
        """Nothing can be done here: the system itself writes a folder's entries soon."""

else:

    def open_inside(folder: Path, name: str) -> int:
        """A descriptor of a file; OSError where there is none, NoFolderError where there is not even a folder."""
        while True:
            folder_fd = _open_folder(folder)
            try:
                # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever
                return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
            except FileNotFoundError:
                with suppress(OSError):
                    if not os.path.samestat(os.fstat(folder_fd), folder.stat()):
                        continue  # the folder was replaced, and its old files removed, since the line above
                raise
            finally:
                os.close(folder_fd)

    def sync_folder(path: Path) -> None:
        """Wait until a folder's entries are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _open_folder(folder: Path) -> int:
        try:
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise NoFolderError(error.errno, error.strerror) from None
        except ValueError as error:  # no path at all
            raise NoFolderError(errno.EINVAL, str(error)) from None

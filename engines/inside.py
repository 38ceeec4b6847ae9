"""Open files inside a bundle's folder, and sync the folder, without following links and without blocking.

Linux and macOS open the folder first, then the file inside it; Windows cannot open folders, and has no pipes among its
files.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path


def read_at_most(fd: int, length: int, size: int) -> tuple[bytes, int]:
    """Read a file, provided it is not too long.

    Args:
        fd: Its descriptor; stays open.
        length: Its length according to `fstat`.
        size: Maximum number of bytes allowed, whatever anyone claims.

    Returns:
        Its bytes (none if it is too long) and its length, which is `length` + 1 if the file has grown meanwhile.
    """
    if length > size:
        return b"", length
    with open(fd, "rb", closefd=False) as file:
        data = file.read(length + 1)
    return data, len(data)


class NoFolderError(OSError):
    """The folder in which a file was to be opened does not exist or cannot be opened."""


if sys.platform == "win32":

    def open_inside(folder: Path, name: str) -> int:
        """Open a file and return its descriptor; raise OSError if it is missing, NoFolderError if its folder is."""
        where = folder / name
        if not folder.is_dir():
            raise NoFolderError(errno.ENOENT, os.strerror(errno.ENOENT))
        if where.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return os.open(where, os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT)

    def sync_folder(path: Path) -> None:
        """Do nothing: Windows cannot sync a folder, and writes its entries soon on its own."""

else:

    def open_inside(folder: Path, name: str) -> int:
        """Open a file and return its descriptor; raise OSError if it is missing, NoFolderError if its folder is."""
        while True:
            folder_fd = _open_folder(folder)
            try:
                # O_NONBLOCK: opening a pipe that nobody writes to would block for ever
                return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
            except FileNotFoundError:
                with suppress(OSError):
                    if not os.path.samestat(os.fstat(folder_fd), folder.stat()):
                        continue  # the folder was replaced, and its old files removed, after it was opened
                raise
            finally:
                os.close(folder_fd)

    def sync_folder(path: Path) -> None:
        """Wait until a folder's entries are on disk."""
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
        except ValueError as error:  # not a valid path
            raise NoFolderError(errno.EINVAL, str(error)) from None

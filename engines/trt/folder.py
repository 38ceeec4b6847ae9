"""A folder of plans: only its user can write to it, and files appear in it whole or not at all.

A plan is code: TensorRT executes what it contains with the user's rights. `plans.py` gives the files their meaning.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import stat
import sys
from contextlib import suppress
from pathlib import Path

from engines.errors import BackendError
from engines.inside import open_inside, read_at_most, sync_folder

PARTIAL = ".partial"
"""Suffix of a file's name while it is being written; it starts with a dot and the final name."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PrivateFolder:
    """A folder that only this user may write to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether it exists; checked anew each time.

        Raises:
            BackendError: What is there is not a folder, or someone else may write to it.
        """
        return self._status() is not None

    def make(self) -> None:
        """Create it if it does not exist, accessible to nobody else.

        Raises:
            BackendError: It cannot be created, or someone else may write to it.
        """
        if self._status() is None:
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(self.path, error) from None
            self._status()

    def names(self) -> list[str]:
        """The names in it, sorted; empty if it does not exist.

        Raises:
            BackendError: It cannot be listed, or someone else may write to it.
        """
        if self._status() is None:
            return []
        try:
            return sorted(path.name for path in self.path.iterdir())
        except OSError as error:
            raise BackendError(f"{self.path}: expected a folder that can be read, got: {error.strerror}") from None

    def read(self, name: str, size: int, *, exact: bool) -> bytes:
        """Read a regular file of exactly, or of at most, `size` bytes; never follow a link, never block.

        Raises:
            FileNotFoundError: There is no such file.
            BackendError: It is another kind of file, has another length, or someone else may write to it.
        """
        where = self.path / name
        shared = self._status()
        try:
            fd = open_inside(self.path, name)
        except FileNotFoundError:
            raise
        except OSError as error:
            got = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise BackendError(f"{where}: expected a plain file, got: {got}") from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise BackendError(f"{where}: expected a plain file, got something else")
            self._check_owner(where, status, shared)
            data, length = read_at_most(fd, status.st_size, size)
        except OSError as error:
            raise BackendError(f"{where}: expected a file that can be read, got: {error.strerror}") from None
        finally:
            os.close(fd)
        if length > size or (exact and length < size):
            wanted, cut = f"{size} bytes", ": it is truncated" if length < size else ""
            raise BackendError(f"{where}: expected {wanted if exact else 'at most ' + wanted}, got {length}{cut}")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file under a temporary name, wait until it is on disk, rename it: it appears whole or not at all.

        Raises:
            BackendError: Writing fails; what was there before is still there.
        """
        self.make()
        fresh = self.path / f".{name}.{secrets.token_hex(6)}{PARTIAL}"
        try:
            fresh.touch(0o600, exist_ok=False)
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path / name)
        except OSError as error:
            raise unwritable(self.path / name, error, len(data)) from None
        finally:
            with suppress(OSError):
                fresh.unlink()
        with suppress(OSError):  # it is in place; not every file system can sync folders
            sync_folder(self.path)

    def size(self, name: str) -> int | None:
        """Size of a file, or of a link itself; None if it does not exist."""
        try:
            return (self.path / name).lstat().st_size
        except OSError:
            return None

    def is_folder(self, name: str) -> bool:
        """Whether a name is that of a folder, and not of a link to one."""
        path = self.path / name
        return path.is_dir() and not path.is_symlink()

    def remove(self, name: str) -> None:
        """Remove a file, or a link itself, if it is still there.

        Raises:
            BackendError: It cannot be removed.
        """
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise BackendError(f"{self.path / name}: expected to remove it, got: {error.strerror}") from None

    def _status(self) -> os.stat_result | None:
        """The folder's status, None if it does not exist; raise BackendError if it must not be used."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BackendError(f"{self.path}: expected a folder for plans, got: {reason}") from None
        if not stat.S_ISDIR(status.st_mode):
            raise BackendError(f"{self.path}: expected a folder for plans, got something else; name another folder")
        self._check_owner(self.path, status, None)
        return status

    def _check_owner(self, where: Path, status: os.stat_result, folder: os.stat_result | None) -> None:
        """Refuse what others may have written to or may write to; in a folder of mode 0700, a file's mode is moot."""
        if sys.platform != "win32":  # where neither owner nor mode is available
            mine = shlex.quote(str(self.path))
            wanted = f"{where}: a plan is code, so it is only taken from where nobody else may write: expected"
            mend = "name another folder, or, if you trust what is in it, type: "
            if status.st_uid != os.geteuid():
                chown = f"chown -R {os.geteuid()} {mine} && chmod 700 {mine}"
                got = f"user {os.geteuid()} to own it, got user {status.st_uid}"
                raise BackendError(f"{wanted} {got}; {mend}{chown}")
            if status.st_mode & _OTHERS_WRITE and (folder is None or folder.st_mode & _OTHERS_ENTER):
                raise BackendError(f"{wanted} mode 700, got {stat.S_IMODE(status.st_mode):o}; {mend}chmod 700 {mine}")


def unwritable(where: Path, error: OSError, size: int | None = None) -> BackendError:
    """The error for a folder, or for a file of `size` bytes, that cannot be written."""
    what = "a folder for plans that can be written" if size is None else f"to write {size} bytes"
    mend = "make room there (ascstream engine prune)" if error.errno in _FULL else "name a folder you may write to"
    return BackendError(
        f"{where}: expected {what}, got: {error.strerror or error}; nothing was changed; {mend}, "
        "or keep plans elsewhere: export XDG_CACHE_HOME=FOLDER"
    )

"""A folder of plans: only its user may write to it, and a file appears in it whole or not at all.

A plan is code: TensorRT runs what is in it with the rights of the user. `plans.py` says what the files mean.
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
"""What the name of a file ends in while it is written; a dot and its name to be stand before."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PrivateFolder:
    """A folder of this user's own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether it is there; looked at anew each time.

        Raises:
            BackendError: What is there is no folder, or someone else may write to it.
        """
        return self._status() is not None

    def make(self) -> None:
        """Make it where it is not there, open to nobody else.

        Raises:
            BackendError: That cannot be, or someone else may write to it.
        """
        if self._status() is None:
            try:
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(self.path, error) from None
            self._status()

    def names(self) -> list[str]:
        """The names in it, sorted; none where it is not there.

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
        """Read a plain file of exactly, or of at most, so many bytes; never through a link, never waiting.

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
        """Write a file beside its place, wait until it is on the disk, and rename it: it appears whole or not at all.

        Raises:
            BackendError: The disk refuses; what was there before is still there.
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
        with suppress(OSError):  # it is in place; not every file system lets folders be synchronised
            sync_folder(self.path)

    def size(self, name: str) -> int | None:
        """Length of a file, or of a link itself; None where there is none."""
        try:
            return (self.path / name).lstat().st_size
        except OSError:
            return None

    def is_folder(self, name: str) -> bool:
        """Whether a name is that of a folder, and of no link to one."""
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
        """What the system says of the folder, None where it is not there; BackendError where it may not be used."""
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
        """Refuse what someone else may have written, or may be writing. Nobody enters a folder of mode 0700."""
        if sys.platform != "win32":  # which tells neither
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
    """The error of a file of so many bytes, or of a folder, that cannot be written."""
    what = "a folder for plans that can be written" if size is None else f"to write {size} bytes"
    mend = "make room there (ascstream engine prune)" if error.errno in _FULL else "name a folder you may write to"
    return BackendError(
        f"{where}: expected {what}, got: {error.strerror or error}; nothing was changed; {mend}, "
        "or keep plans elsewhere: export XDG_CACHE_HOME=FOLDER"
    )

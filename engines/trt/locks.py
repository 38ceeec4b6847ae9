"""Locks between processes that do not outlive their holder: `flock` on a small file that names the holding process.

Nothing is locked on Windows, or on a file system without locks: what the locks guard is named after its content, so two
writers at once only waste time.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""Error codes of a file system without locks."""

if sys.platform == "win32":

    @contextmanager
    def locked(path: Path, on_wait: Callable[[int | None], object]) -> Iterator[None]:  # noqa: ARG001
        """Do nothing: there are no locks on Windows."""
        yield

    def remove_if_free(path: Path) -> bool:
        """Remove a lock's file, which nobody can hold on Windows."""
        path.unlink(missing_ok=True)
        return True

else:

    @contextmanager
    def locked(path: Path, on_wait: Callable[[int | None], object]) -> Iterator[None]:
        """Hold a lock; its file is removed at the end.

        Args:
            path: The lock's file.
            on_wait: Called before waiting, with the id of the process that holds the lock, or None if it is unknown.

        Raises:
            OSError: The file cannot be created.
        """
        fd = _acquire(path, on_wait)
        try:
            with suppress(OSError):  # if the disk is full, the holder is just unknown to others
                os.ftruncate(fd, 0)
                os.pwrite(fd, str(os.getpid()).encode(), 0)
            yield
        finally:
            with suppress(OSError):
                path.unlink()  # before the lock is released: a waiting process then sees that its file is gone
            os.close(fd)

    def remove_if_free(path: Path) -> bool:
        """Remove a lock's file unless someone holds it; return whether it is gone.

        Raises:
            OSError: It cannot be removed.
        """
        import fcntl

        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):
                path.unlink()
            return not path.exists()
        except BlockingIOError:
            return False
        finally:
            os.close(fd)

    def _acquire(path: Path, on_wait: Callable[[int | None], object]) -> int:
        """Return a descriptor that holds the lock on the file currently at `path`."""
        import fcntl

        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            try:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    on_wait(_holder(fd))
                    fcntl.flock(fd, fcntl.LOCK_EX)
                if _is_at(fd, path):  # otherwise its last holder has removed it
                    return fd
            except BaseException as error:
                if isinstance(error, OSError) and error.errno in _NO_LOCKS:
                    return fd
                os.close(fd)
                raise
            os.close(fd)

    def _is_at(fd: int, path: Path) -> bool:
        """Whether the open file is the one at `path`."""
        try:
            return os.path.samestat(os.fstat(fd), path.stat())
        except FileNotFoundError:
            return False

    def _holder(fd: int) -> int | None:
        """The process id written in the lock's file, if there is one."""
        with suppress(OSError, ValueError):
            return int(os.pread(fd, 20, 0))
        return None

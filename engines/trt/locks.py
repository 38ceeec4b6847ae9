"""Locks between processes that a dead holder cannot keep: `flock` on a small file that names the holder.

Nothing is locked on Windows, nor on a file system without locks: what they guard is named after its content, so that
two writers waste time there, and no more.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What a file system without locks answers."""

if sys.platform == "win32":

    @contextmanager
    def locked(path: Path, on_wait: Callable[[int | None], object]) -> Iterator[None]:  # noqa: ARG001
        """Nothing is locked here."""
        yield

    def remove_if_free(path: Path) -> bool:
        """Remove a lock's file; nobody holds it."""
        path.unlink(missing_ok=True)
        return True

else:

    @contextmanager
    def locked(path: Path, on_wait: Callable[[int | None], object]) -> Iterator[None]:
        """Hold a lock; its file is removed at the end.

        Args:
            path: The lock's file.
            on_wait: Told the process that holds it, where that is known, before it is waited for.

        Raises:
            OSError: The file cannot be made.
        """
        fd = _acquire(path, on_wait)
        try:
            with suppress(OSError):  # a full disk: who holds it is not known then
                os.ftruncate(fd, 0)
                os.pwrite(fd, str(os.getpid()).encode(), 0)
            yield
        finally:
            with suppress(OSError):
                path.unlink()  # before it is given back: whoever waits sees that it holds a file that is gone
            os.close(fd)

    def remove_if_free(path: Path) -> bool:
        """Remove a lock's file unless someone holds it; whether it is gone.

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
        """A descriptor that holds the lock of the file that is at `path`."""
        import fcntl

        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            try:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    on_wait(_holder(fd))
                    fcntl.flock(fd, fcntl.LOCK_EX)
                if _is_at(fd, path):  # or else its last holder removed it
                    return fd
            except BaseException as error:
                if isinstance(error, OSError) and error.errno in _NO_LOCKS:
                    return fd
                os.close(fd)
                raise
            os.close(fd)

    def _is_at(fd: int, path: Path) -> bool:
        """Whether the file that is open is the one at `path`."""
        try:
            return os.path.samestat(os.fstat(fd), path.stat())
        except FileNotFoundError:
            return False

    def _holder(fd: int) -> int | None:
        """The process that says it holds the lock."""
        with suppress(OSError, ValueError):
            return int(os.pread(fd, 20, 0))
        return None

"""Errors to exit codes and messages."""

from __future__ import annotations

import contextlib
import errno
import os
import signal

import click
import pytest

from ascstream.cli.exits import Stopped, _signals, _wait_for_readers, explain
from ascstream.errors import DecodeError, DegradedError, OutputError, SourceNotFoundError, UsageError
from ascstream.stopping import raise_stopped
from engines.errors import BackendError, ManifestError


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("no"), 2, "ascstream: no"),
        (SourceNotFoundError("no"), 3, "ascstream: no"),
        (DecodeError("no"), 3, "ascstream: no"),
        (OutputError("no"), 1, "ascstream: no"),
        (DegradedError("no"), 5, "ascstream: no"),
        (ManifestError("no"), 4, "ascstream: no"),
        (BackendError("no"), 4, "ascstream: no"),
        (click.UsageError("no"), 2, "ascstream: no"),
        (Stopped(signal.SIGINT), 130, "ascstream: stopped by Ctrl-C; results so far are kept"),
        (Stopped(signal.SIGTERM), 143, "ascstream: stopped by SIGTERM"),
        (Stopped(signal.SIGHUP), 129, "ascstream: stopped by SIGHUP"),
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 1, "ascstream: not enough memory"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/r.csv"),
            1,
            "ascstream: /data/r.csv: No space left on device",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/r.csv"),
            1,
            "ascstream: /data/r.csv: Permission denied",
        ),
        (
            ZeroDivisionError("division by zero"),
            1,
            "ascstream: ZeroDivisionError: division by zero; this is a bug: "
            "run again with --debug and report what it prints",
        ),
        (
            NotImplementedError(),
            1,
            "ascstream: NotImplementedError; this is a bug: run again with --debug and report what it prints",
        ),
    ],
)
def test_every_error_has_one_message_and_one_code(error: BaseException, code: int, message: str) -> None:
    assert explain(error) == (code, message)


def test_a_signal_that_a_library_lost_is_raised_again() -> None:
    with _signals():
        raise_stopped()  # nothing came
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped) as caught:
            raise_stopped()
        assert caught.value.exit_code == 143
    raise_stopped()  # and it is over
    _wait_for_readers(seconds=0)

"""Turns what a command raised into a message on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TextIO

import click

from ascstream.errors import AscstreamError
from ascstream.live import ENGINE_THREAD
from ascstream.stopping import forget_stopped, handle_signals, keep_stopped, last_stopped

OK = 0
RUN_TIME = 1
USAGE = 2
INPUT = 3
BUNDLE = 4
DEGRADED = 5
"""The exit codes; if a signal ended the run, 128 plus its number."""

_HUNG_UP = 129
_PATIENCE_SECONDS = 0.3
"""How long a stopped run waits for the readers of its output."""

_COMPLETE = "_ASCSTREAM_COMPLETE"
"""Set by the shell functions of `ascstream completion` when they ask for completions."""


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end; sinks are closed on the way out, so results so far are kept."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments after `ascstream`; None: `sys.argv`.

    Returns:
        The exit code. Does not return if an engine hangs that would keep the process from ending.
    """
    code = _run(arguments)
    _forget_broken_stderr()
    _wait_for_readers(seconds=0)
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):
        # all output is written; unloading libraries while a call still runs in them would crash or block
        os._exit(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line and return the exit code."""
    from ascstream.cli.app import app

    fill_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if os.environ.get(_COMPLETE):
        return int(app.main([], prog_name="ascstream", complete_var=_COMPLETE, standalone_mode=False) or OK)
    debug = "--debug" in words or os.environ.get("ASCSTREAM_DEBUG", "0") not in ("", "0")
    try:
        with _signals(), _early_hangups(words), app.make_context("ascstream", words) as context:
            code = app.invoke(context)
            sys.stdout.flush()
            return code if isinstance(code, int) else OK
    except click.exceptions.Exit as finished:
        return _flushed(finished.exit_code)
    except BrokenPipeError:
        forget_stdout()
        return OK
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        if debug and not isinstance(error, click.ClickException):
            import traceback

            traceback.print_exception(error)
        code, message = explain(error)
        if message:
            with contextlib.suppress(OSError):  # the terminal may be gone
                click.echo(without_controls(_without_secrets(message)), err=True)
        if isinstance(error, OSError):
            forget_broken_stdout()  # if stdout itself failed, that has been reported now
        return _flushed(code)


def fill_standard_streams() -> None:
    """Replace standard input, output or error if the caller closed it (`>&-`).

    Otherwise the next file opened would take its descriptor and receive whatever a library prints. Input is then empty
    and messages are discarded; results cannot be written, which is an error just as a full disk is.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # the lowest free descriptor is the closed one
            descriptor = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", closefd=False))


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code for an error, and the message for the user; an empty message means there is nothing left to say."""
    from engines.errors import EngineError

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return USAGE, error.format_message()
    if isinstance(error, click.UsageError):
        hint = f"\nTry '{error.ctx.command_path} --help'." if error.ctx is not None else ""
        return USAGE, f"ascstream: {error.format_message()}{hint}"
    if isinstance(error, click.ClickException):
        return error.exit_code, f"ascstream: {error.format_message()}"
    if isinstance(error, AscstreamError):
        return error.exit_code, f"ascstream: {error}"
    if isinstance(error, EngineError):
        return BUNDLE, f"ascstream: {error}"
    if isinstance(error, Stopped):
        name = signal.Signals(error.exit_code - 128).name
        if name == "SIGINT":
            return error.exit_code, "ascstream: stopped by Ctrl-C; results so far are kept"
        return error.exit_code, f"ascstream: stopped by {name}"
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return 128 + signal.SIGINT, ""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return RUN_TIME, f"ascstream: {where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return RUN_TIME, "ascstream: not enough memory"
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return RUN_TIME, f"ascstream: {what}; this is a bug: run again with --debug and report what it prints"


def _without_secrets(message: str) -> str:
    """The message without passwords of URLs, which may have been typed in the wrong place."""
    from ascstream.sources.inputs import redact

    return redact(message)


def without_controls(message: str) -> str:
    """The message without control characters, which a terminal would obey: file names may contain anything."""
    return "".join(char if char == "\n" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in message)


def forget_stdout() -> None:
    """Redirect stdout to the null device: its reader is gone, and flushing the buffer must not fail at exit."""
    _forget(sys.stdout)


def _forget(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def _forget_broken_stderr() -> None:
    """Redirect stderr to the null device if its buffer cannot be written; the exit code says enough."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        _forget(sys.stderr)


def forget_broken_stdout() -> None:
    """Redirect stdout to the null device if its buffer cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        forget_stdout()


def _wait_for_readers(seconds: float) -> None:
    """Every `seconds` from now on, redirect outputs whose readers block to the null device; 0: stop doing that.

    This releases a write that blocks on a full pipe, or on a terminal held by Ctrl-S, so that the run ends in order.
    """

    def look(*_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                if not select.select([], [stream.fileno()], [], 0)[1]:
                    _forget(stream)

    if sys.platform != "win32":  # Windows has no such timer
        with contextlib.suppress(ValueError):  # not in the main thread: no signal arrived either
            if seconds:
                signal.signal(signal.SIGALRM, look)
            signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def _flushed(code: int) -> int:
    """Flush stdout while a failure can still be reported; return `code` unless flushing fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        forget_stdout()
    except OSError as error:
        forget_stdout()
        if code == OK:  # otherwise an error has already been reported
            with contextlib.suppress(OSError):
                click.echo(f"ascstream: standard output: {error.strerror}", err=True)
        return code or RUN_TIME
    return code


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into `Stopped`; a second of the same kind ends the process at once."""

    def stop(signal_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal_number, signal.SIG_DFL)
        stopped = Stopped(signal_number)
        keep_stopped(stopped)
        _wait_for_readers(_PATIENCE_SECONDS)
        raise stopped

    try:
        with handle_signals(stop, "SIGINT", "SIGTERM", "SIGHUP"):
            yield
    except OSError as error:
        stopped = last_stopped()
        if isinstance(stopped, Stopped) and stopped.exit_code == _HUNG_UP:  # so the terminal cannot be written to
            raise stopped from error
        raise
    finally:
        forget_stopped()


@contextlib.contextmanager
def hangup_calls(action: Callable[[], None]) -> Iterator[None]:
    """Make SIGHUP call `action`, as is usual for services, unless there is a terminal that could have hung up.

    Args:
        action: Called in the main thread between any two bytecodes: it may set a flag, and little else.
    """
    with contextlib.nullcontext() if _has_terminal() else handle_signals(lambda *_: action(), "SIGHUP"):
        yield


def _early_hangups(words: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    """Ignore SIGHUP sent to a service that has nothing open yet that could be reopened."""
    command = next((word for word in words if not word.startswith("-")), None)
    return hangup_calls(lambda: None) if command == "live" else contextlib.nullcontext()


@contextlib.contextmanager
def suspend_calls(action: Callable[[], None]) -> Iterator[None]:
    """Make Ctrl-Z call `action` instead of stopping the run, so that the view can be cleared before `suspend` stops it.

    Args:
        action: Called in the main thread between any two bytecodes: it may set a flag, and little else.
    """
    with handle_signals(lambda *_: action(), "SIGTSTP"):
        yield


def suspend() -> None:
    """Stop the process as Ctrl-Z does; returns when the shell resumes it."""
    number = getattr(signal, "SIGTSTP", None)
    if number is None:
        return
    before = signal.signal(number, signal.SIG_DFL)
    try:
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True

"""How the command ends: an exit code and a single message for every error."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

import click

from ascstream.stopping import handle_signals
from trainer.cli.app import app
from trainer.errors import TrainerError

_STOPPED = {
    "build-engine": "stopped; plans that were finished are kept, of the others there is nothing",
    "fit": "stopped; go on with --resume",
    "fetch": "stopped; type the same command again to go on",
    "prepare": "stopped; type the same command again to go on",
    "fuse": "stopped; nothing was written",
    "import": "stopped; nothing was written",
    "synth": "stopped; nothing was written",
}
"""What Ctrl-C, SIGTERM and SIGHUP leave behind, by subcommand."""


class Stopped(KeyboardInterrupt):
    """Raised when a signal ends the command, so that open resources are closed and partial output is removed."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments after `trainer`; None: `sys.argv`.

    Returns:
        The exit code.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from ascstream.cli.exits import fill_standard_streams

        fill_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _signals(), app.make_context("trainer", words.copy()) as context:
            app.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the one place that turns errors into messages)
        if "--debug" in words:
            import traceback

            traceback.print_exception(error)
        code, message = _explain(error, next((word for word in words if not word.startswith("-")), ""))
        from ascstream.cli.exits import without_controls

        with contextlib.suppress(OSError):  # the terminal may be gone
            click.echo(without_controls(message), err=True)
        if isinstance(error, OSError):
            from ascstream.cli.exits import forget_broken_stdout

            forget_broken_stdout()  # if stdout itself failed, the message has been printed already
        return code
    return 0


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the command as Ctrl-C does; a second one of the same kind kills the process.

    In a forked child the signal has its default effect.
    """
    own = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != own:
            signal.raise_signal(number)
        raise Stopped(number)

    with handle_signals(stop, "SIGTERM", "SIGHUP"):
        yield


def _explain(error: BaseException, command: str) -> tuple[int, str]:
    """Exit code and message for an error raised by a subcommand."""
    from ascstream.errors import AscstreamError
    from engines.errors import EngineError

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return 2, error.format_message()
    if isinstance(error, click.UsageError):
        hint = f"\nTry '{error.ctx.command_path} --help'." if error.ctx is not None else ""
        return 2, f"trainer: {error.format_message()}{hint}"
    if isinstance(error, (TrainerError, AscstreamError)):
        return error.exit_code, f"trainer: {error}"
    if isinstance(error, EngineError):
        return 4, f"trainer: {error}"
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return error.exit_code if isinstance(error, Stopped) else 130, f"trainer: {_STOPPED.get(command, 'stopped')}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate" in str(error):
        return 1, "trainer: expected more memory than there is; try a smaller train.batch_size, or fewer train.workers"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 1, f"trainer: {where}{error.strerror or error}"
    return 1, f"trainer: {type(error).__name__}: {error}; this is a bug: run again with --debug and report it"

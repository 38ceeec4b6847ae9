"""`trainer fetch`: download a published corpus, once its licence has been shown and accepted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.errors import ConfigError

if TYPE_CHECKING:
    from trainer.data.fetch import Progress


@click.command()
@click.argument("corpus", type=click.Choice(["tau-av-2021"]))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--accept-licence", is_flag=True, help="Accept the corpus's licence without being asked.")
@click.option("--no-video", is_flag=True, help="Skip the pictures, three quarters of the download.")
@click.option("--keep-archives", is_flag=True, help="Keep the archives after they are unpacked.")
def fetch(corpus: str, folder: Path, accept_licence: bool, no_video: bool, keep_archives: bool) -> None:  # noqa: ARG001
    """Download a corpus into DIR: TAU Urban Audio-Visual Scenes 2021.

    Nothing is downloaded until its licence (non-commercial use only) is accepted. After an interruption, the same
    command resumes where it stopped.
    """
    from trainer.data.fetch import fetch_tau_av_2021

    with FetchProgress() as progress:

        def consent(question: str) -> bool:
            click.echo(question, err=True)
            return accept_licence or _ask()

        fetch_tau_av_2021(
            folder, consent=consent, video=not no_video, keep_archives=keep_archives, on_progress=progress
        )
    click.echo(str(folder))


def _ask() -> bool:
    """Ask the user to accept the licence.

    Raises:
        ConfigError: There is no terminal to ask on.
    """
    try:
        return click.confirm("Do you accept the licence?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise ConfigError(
            "expected an answer about the licence, got none; type the same command with --accept-licence to accept it"
        ) from None


class FetchProgress:
    """The current archive and its progress on stderr: a bar on a terminal, one line per step elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bars.add_task("", start=False, visible=False)
        self._step = ""

    def __call__(self, progress: Progress) -> None:
        """Show the number of bytes done."""
        step = f"{progress.step} {progress.archive.name} ({progress.number} of {progress.n_archives})"
        if step != self._step:
            self._step = step
            self._bars.start()
            self._bars.reset(self._task, description=step, total=progress.total, visible=True)
            if not self._console.is_terminal:
                size = "" if progress.total is None else f", {progress.total / 1e6:,.1f} MB"
                self._console.print(f"{step}{size}", highlight=False, markup=False, soft_wrap=True)
        self._bars.update(self._task, completed=progress.done, total=progress.total)

    def __enter__(self) -> FetchProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

"""`trainer fit`: train the network that a configuration describes."""

from __future__ import annotations

import math
import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.common import RUNS, data_option, need_torch, print_report
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from trainer.clip_run import ClipRun
    from trainer.config import Config
    from trainer.data.splits import Split
    from trainer.run import Run


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Overrides the file: --set train.epochs=10; without VALUE the key is removed.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Resume an interrupted run.")
@click.option("--range-test", is_flag=True, help="Only search for a learning rate; nothing is trained.")
@data_option
def fit(config: Path, settings: tuple[str, ...], out: Path | None, resume: bool, range_test: bool, root: Path) -> None:
    """Train a network and evaluate it on recordings it was not trained on.

    With `data.prepared` in CONFIG: one network, trained on the training clips of a corpus that `trainer prepare`
    decoded. Held-out locations select the epoch, held-out cities calibrate it, the official split evaluates it. With
    `data.labels`: one network on a whole list of recordings, and one without each fold and each source, for evaluation.

    Several processes: torchrun --nproc-per-node 2 -m trainer fit CONFIG …
    """
    need_torch()
    from trainer.config import load_config

    loaded = load_config(config, settings)
    folder = RUNS / loaded.name if out is None else out
    first = os.environ.get("RANK", "0") == "0"
    if range_test:
        _find_rate(loaded, RUNS / f"{loaded.name}-range-test" if out is None else out, root)
        return
    if first and not resume and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: expected a new folder, got one with a run; go on with --resume, or choose --out")
    with Progress(loaded, quiet=not first) as progress:
        run = _fit(loaded, folder, root, progress)
    if run is not None:
        print_report(run)
        click.echo(f"next: trainer export {shlex.quote(str(run.folder))}", err=True)


def _fit(config: Config, folder: Path, root: Path, progress: Progress) -> Run | ClipRun | None:
    """Run the kind of training that the configuration asks for."""
    if config.data.prepared is not None:
        from trainer.fit.clips import fit_clips

        return fit_clips(folder, config, root, on_epoch=progress.epoch, on_frames=progress.frames)
    from trainer.fit.recordings import fit_run

    return fit_run(folder, config, root, on_split=progress.split, on_epoch=progress.epoch)


def _find_rate(config: Config, folder: Path, root: Path) -> None:
    """Run a learning rate range test and print the rate to start with."""
    from trainer.fit.clips import plan_clips
    from trainer.fit.distributed import count_processes
    from trainer.fit.range_test import range_test

    if count_processes() > 1:
        raise ConfigError(f"--range-test: expected one process, got {count_processes()}; leave torchrun out")
    if config.data.prepared is None:
        raise ConfigError("--range-test: expected a configuration with data.prepared, got one with data.labels")
    plan = plan_clips(config, root)
    found = range_test(config, len(plan.labels), plan.data, folder, root=root)
    click.echo(f"{found.peak:.2g}")
    click.echo(f"next: trainer fit CONFIG --set train.learning_rate={found.peak:.2g} (see {folder})", err=True)


class Progress:
    """Which network is being trained, its progress and the time left, on stderr.

    On a terminal a bar; elsewhere lines: for the first and the last epoch, and after every tenth of them.
    """

    def __init__(self, config: Config, *, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, quiet=quiet)
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(
            *columns, TextColumn("{task.fields[losses]}"), console=self._console, disable=not self._console.is_terminal
        )
        steps = config.train.steps
        self._n_epochs = sum(step.epochs or config.train.epochs for step in steps) or config.train.epochs
        self._task = self._bars.add_task("preparing", total=self._n_epochs, losses="")
        self._name = "training"
        self._first: tuple[int, float] | None = None

    def split(self, split: Split, number: int, n_splits: int) -> None:
        """Start the display for a split of a run on recordings."""
        self._name = f"{split.name} ({number} of {n_splits})"
        self._first = None
        self._bars.reset(self._task, description=self._name, total=self._n_epochs)

    def frames(self, done: int, total: int) -> None:
        """Show how many frames have been encoded, of those encoded before training."""
        self._bars.update(self._task, completed=done, total=total, description="encoding frames")
        if done == total:
            self._bars.update(self._task, completed=0, total=self._n_epochs)
            if not self._console.is_terminal:
                self._console.print(f"{total:,} frames encoded, once for all epochs", highlight=False)

    def epoch(self, done: int, loss: float, validation: float = math.nan) -> None:
        """Show that an epoch is done, with its losses."""
        losses = f"loss {loss:.3f}" + ("" if math.isnan(validation) else f", validation {validation:.3f}")
        self._bars.update(self._task, completed=done, description=self._name, losses=losses)
        if self._first is None:
            self._first = (done, time.monotonic())
        if not self._console.is_terminal and (done in (1, self._n_epochs) or done % max(1, self._n_epochs // 10) == 0):
            self._console.print(
                f"{self._name}: epoch {done} of {self._n_epochs}, {losses}{self._left(done)}", highlight=False
            )

    def _left(self, done: int) -> str:
        """Estimated time left, once an epoch has been timed; otherwise empty."""
        first, began = self._first or (done, 0.0)
        if done == first or done >= self._n_epochs:
            return ""
        seconds = round((time.monotonic() - began) / (done - first) * (self._n_epochs - done))
        return f", {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

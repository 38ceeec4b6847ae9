"""`trainer fit`: train what a configuration describes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.common import RUNS, data_option, need_torch, print_report
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.data.splits import Split


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Over the file: --set train.epochs=10.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@data_option
def fit(config: Path, settings: tuple[str, ...], out: Path | None, resume: bool, root: Path) -> None:
    """Train a network, and one without each fold and each source to judge it by."""
    need_torch()
    from trainer.config import load_config
    from trainer.fit import fit_run

    loaded = load_config(config, settings)
    folder = RUNS / loaded.name if out is None else out
    if not resume and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: expected a new folder, got one with a run; go on with --resume, or choose --out")
    with _Progress(loaded) as progress:
        run = fit_run(folder, loaded, root, on_split=progress.split, on_epoch=progress.epoch)
    print_report(run)
    click.echo(f"next: trainer export {run.folder}", err=True)


class _Progress:
    """Which network is being trained and how far it is: bars on a terminal, lines elsewhere; on stderr."""

    def __init__(self, config: Config) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._console = Console(stderr=True)
        self._bars = Progress(console=self._console, disable=not self._console.is_terminal)
        self._n_epochs = config.train.epochs
        self._task = self._bars.add_task("decoding", total=self._n_epochs)
        self._name = ""

    def split(self, split: Split, number: int, n_splits: int) -> None:
        """A split begins."""
        self._name = f"{split.name} ({number} of {n_splits})"
        self._bars.reset(self._task, description=self._name, total=self._n_epochs)

    def epoch(self, done: int, loss: float) -> None:
        """An epoch is done."""
        self._bars.update(self._task, completed=done)
        if not self._console.is_terminal and (done == self._n_epochs or done % 10 == 0):
            self._console.print(f"{self._name}: epoch {done} of {self._n_epochs}, loss {loss:.3f}", highlight=False)

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

"""Helpers shared by subcommands: the data folder option, opening a run, printing its report as a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.errors import MissingError, RunError

if TYPE_CHECKING:
    from trainer.clip_run import ClipRun
    from trainer.run import Run

DATA_VARIABLE = "ASCSTREAM_DATA"
RUNS = Path("runs")

data_option = click.option(
    "--data",
    "root",
    type=click.Path(path_type=Path),
    envvar=DATA_VARIABLE,
    show_envvar=True,
    default=Path(),
    help="The folder that the configuration's paths are relative to.",
)
run_argument = click.argument("run", required=False, type=click.Path(path_type=Path))


def need_torch() -> None:
    """Check that torch is installed.

    Raises:
        MissingError: It is not installed; the message says what to type.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingError(
            f"expected torch, which training needs, got: {error}; type: pip install 'ascstream[train]', "
            "or in a checkout: pip install -e '.[train]'"
        ) from None


def count_clips(done: int, total: int) -> None:
    """Show the number of clips done, if stderr is a terminal."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K" if done == total else f"\r{done:,} of {total:,} clips", nl=False, err=True)


def open_named_run(folder: Path | None) -> Run | ClipRun:
    """Open a run, on recordings or on prepared clips; without a folder, the newest.

    Raises:
        RunError: There is no such run.
    """
    from trainer.clip_run import is_clip_run, open_clip_run
    from trainer.run import newest_run, open_run

    if folder is None and not RUNS.is_dir():
        raise RunError(f"{RUNS}: expected a folder of runs, got none here; make one with: trainer fit CONFIG")
    named = newest_run(RUNS) if folder is None else folder
    return open_clip_run(named) if is_clip_run(named) else open_run(named)


def print_report(run: Run | ClipRun) -> None:
    """Print the main metrics of a run's report as tables."""
    from trainer.clip_run import ClipRun
    from trainer.run import REPORT

    report: dict[str, Any] = json.loads((run.folder / REPORT).read_text(encoding="utf-8"))
    if isinstance(run, ClipRun):
        from trainer.cli.figures import print_clip_report

        print_clip_report(report)
        return
    click.echo(f"{'':28}accuracy  log loss  calibration error  by recording  group accuracy")
    lines = [("held-out recordings", "folds"), ("  baseline", "folds_baseline")]
    lines += [("held-out sources", "sources"), ("  baseline", "sources_baseline")] if "sources" in report else []
    for name, key in lines:
        windows, recordings = report[key]["windows"], report[key]["by_recording"]
        group = report[key]["group_accuracy"]
        click.echo(
            f"{name:28}{windows['accuracy']:8.3f}  {windows['log_loss']:8.3f}  {windows['calibration_error']:17.3f}  "
            f"{recordings['accuracy']:12.3f}  {'–' if group is None else format(group, '.3f'):>14}"
        )
    chance = report["chance"]
    click.echo(f"{'chance':28}{chance['accuracy']:8.3f}  {chance['log_loss']:8.3f}")
    for label, recall in report["folds"]["windows"]["recall"].items():
        counts = report["folds"]["windows"]
        counted = f"{counts['n_windows'][label]} windows of {counts['n_recordings'][label]} recordings"
        click.echo(f"  {label:26}{recall:8.3f}  ({counted})")

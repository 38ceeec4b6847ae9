"""`trainer prepare`: decode a corpus once, so that training never waits for a decoder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.errors import ConfigError

if TYPE_CHECKING:
    from trainer.data.prepare import Progress
    from trainer.data.prepared import Prepared

_SHOWN = 10
_QUIET_SECONDS = 15.0
"""Time between two progress lines when stderr is not a terminal."""

_EPILOG = """\b
CORPUS is recognised by its layout:
  tau-av-2021   TAU Urban Audio-Visual Scenes 2021, or what trainer synth wrote
  tau-audio     TUT and TAU Urban Acoustic Scenes 2018 to 2022
  esc10         ESC-10
  csv           a CSV, or a folder with labels.csv: file,scene_label and
                optionally recording,source,licence,split,city,location,video
  folder        one folder per class

\b
  trainer prepare TAU-urban-audio-visual-scenes-2021-development tau --config configs/slim_av.toml
  trainer prepare recordings/labels.csv mine --config configs/slim_audio.toml --workers 4
  trainer prepare --verify tau

OUT receives tar files in WebDataset's convention and an index. After any interruption the same command resumes, and
the result is the same, byte for byte. To train on it, put data.prepared = "OUT" into the configuration."""


@click.command(epilog=_EPILOG)
@click.argument("corpus", required=False, type=click.Path(path_type=Path))
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="Its inputs say what is kept: rate, channels, size.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Overrides it: --set video.width=160.")
@click.option("--kind", metavar="NAME", help="The corpus's layout  [default: recognised]")
@click.option("--frame-rate", type=float, default=5.0, show_default=True, help="Pictures kept per second.")
@click.option("--workers", type=click.IntRange(min=1), help="Number of processes  [default: one per core]")
@click.option("--strict", is_flag=True, help="Stop at a clip that cannot be decoded instead of leaving it out.")
@click.option("--allow-partial", is_flag=True, help="Accept a published corpus with missing files.")
@click.option("--verify", type=click.Path(path_type=Path), metavar="OUT", help="Check every byte of OUT, nothing else.")
def prepare(
    corpus: Path | None,
    out: Path | None,
    config: Path | None,
    settings: tuple[str, ...],
    kind: str | None,
    frame_rate: float,
    workers: int | None,
    strict: bool,
    allow_partial: bool,
    verify: Path | None,
) -> None:
    """Decode CORPUS once into the folder OUT, as the inputs of a configuration require.

    Uses the runtime's own decoder: the same samples, the same scaling. Sound is stored as 16-bit integers, pictures as
    JPEG. A clip that cannot be decoded is reported and left out.
    """
    if verify is not None:
        if corpus is not None:
            raise ConfigError(f"--verify: expected its folder alone, got {corpus} as well")
        _verify(verify)
        return
    if corpus is None or out is None or config is None:
        raise click.UsageError("expected CORPUS, OUT and --config CONFIG, or --verify OUT alone")
    if corpus.resolve() in out.resolve().parents:
        raise ConfigError(f"{out}: expected a folder outside of the corpus {corpus}, got one inside; choose another")
    from trainer.config import load_config
    from trainer.data.corpora import open_corpus
    from trainer.data.prepare import prepare_corpus
    from trainer.data.settings import settings_for

    wanted = settings_for(load_config(config, settings).inputs, frame_rate)
    opened = open_corpus(corpus, kind, allow_partial=allow_partial, video=wanted.picture is not None)
    for remark in opened.remarks:
        click.echo(remark, err=True)
    with _Bar() as bar:
        prepared = prepare_corpus(opened, out, wanted, n_workers=workers, strict=strict, on_progress=bar)
    _tell(prepared)
    click.echo(str(out))


def _verify(folder: Path) -> None:
    from trainer.data.prepared import verify_prepared

    prepared = verify_prepared(folder)
    click.echo(f"{len(prepared.index.shards)} shards as they were written, {len(prepared.clips):,} clips")


def _tell(prepared: Prepared) -> None:
    """Print a summary, and which clips were left out."""
    index = prepared.index
    n_bytes = sum(shard.size for shard in index.shards)
    hours = sum(clip.seconds for clip in index.clips) / 3600
    text = f"{len(index.clips):,} clips, {hours:.1f} h, in {len(index.shards)} shards of {n_bytes / 1e9:.2f} GB in all"
    clipped = sum(clip.n_clipped > 0 for clip in index.clips)
    if clipped:
        text += f"; {clipped:,} have samples beyond ±1, which are clipped"
    click.echo(text, err=True)
    if index.left_out:
        click.echo(f"{len(index.left_out):,} left out:", err=True)
        for entry in index.left_out[:_SHOWN]:
            click.echo(f"  {entry.key}: {entry.reason}", err=True)
        if len(index.left_out) > _SHOWN:
            more = len(index.left_out) - _SHOWN
            click.echo(f"  and {more:,} more, under left_out in {prepared.folder / 'index.json'}", err=True)


class _Bar:
    """Progress and time left on stderr: a bar on a terminal, a line every 15 s elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        columns = (TextColumn("decoding clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bars.add_task("", total=None)
        self._begin = self._said = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Show that decoding begins, or that a clip is done."""
        if progress.left_out is not None:
            self._print(f"left out {progress.left_out.key}")
        self._bars.update(self._task, completed=progress.done, total=progress.total)
        if self._console.is_terminal:
            return
        now = time.monotonic()
        fresh = progress.done - progress.resumed
        if fresh == 0 and progress.resumed:
            self._print(f"going on: {progress.resumed:,} of {progress.total:,} clips are there")
        if progress.done == progress.total or (fresh and now - self._said >= _QUIET_SECONDS):
            self._said = now
            left = (now - self._begin) * (progress.total - progress.done) / max(fresh, 1)
            rest = f", {_duration(left)} left" if progress.done < progress.total else ""
            self._print(f"{progress.done:,} of {progress.total:,} clips{rest}")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> _Bar:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()


def _duration(seconds: float) -> str:
    """A duration as text, such as "40 s", "12 min" or "3 h 5 min"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"

"""`trainer synth`: generate a synthetic corpus in the layout of TAU Urban Audio-Visual Scenes 2021."""

from __future__ import annotations

import signal
from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--clips-per-cell", type=int, default=2, show_default=True, help="Training clips per scene and city.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Length of a clip.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of everything random.")
@click.option("--city", "cities", multiple=True, metavar="NAME", help="City to include; may be repeated.  [all]")
def synth(out: Path, clips_per_cell: int, seconds: float, seed: int, cities: tuple[str, ...]) -> None:
    """Generate a synthetic corpus of ten scenes, with sound and picture, in the new folder OUT.

    It has the layout of TAU Urban Audio-Visual Scenes 2021, with the same lists and the same gaps; for trying things
    out, not for reporting results.
    """
    from rich.console import Console
    from rich.progress import Progress

    from trainer.data.synth import write_corpus
    from trainer.data.tau_av_2021 import CITIES

    console = Console(stderr=True)
    signals: list[int] = []
    with Progress(console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("computing clips", total=None)

        def on_clip(done: int, n_clips: int) -> None:
            if signals:
                raise KeyboardInterrupt
            bars.update(task, completed=done, total=n_clips)
            if not console.is_terminal and (done == n_clips or done % 100 == 0):
                console.print(f"{done} of {n_clips} clips", highlight=False)

        # handle Ctrl-C between two clips: inside the encoder's callbacks an exception may be lost
        before = signal.signal(signal.SIGINT, lambda number, _: signals.append(number))
        try:
            write_corpus(
                out, clips_per_cell=clips_per_cell, seconds=seconds, seed=seed, cities=cities or CITIES, on_clip=on_clip
            )
        finally:
            signal.signal(signal.SIGINT, before)
    click.echo(str(out))

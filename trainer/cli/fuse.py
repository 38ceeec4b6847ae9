"""`trainer fuse`: combine an audio bundle and a video bundle into an audio-visual one."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from trainer.errors import ConfigError, DataError

if TYPE_CHECKING:
    from trainer.fuse.bundle import Found

_PLACE = click.Path(path_type=Path)
_OF_PAIRS = ("n_pairs", "mismatched", "seed")
"""Options that are valid only with --pairs or --runs."""


@click.command()
@click.argument("audio", metavar="AUDIO_BUNDLE")
@click.argument("video", metavar="VIDEO_BUNDLE")
@click.option("--out", type=_PLACE, required=True, metavar="BUNDLE", help="The fused bundle's folder.")
@click.option("--fit", "clips", type=_PLACE, metavar="DATA", help="Fit weights and thresholds on these labelled clips.")
@click.option(
    "--pairs",
    type=(_PLACE, _PLACE),
    metavar="AUDIO_DATA PICTURE_DATA",
    help="Fit them on random pairs of a labelled recording and a labelled picture of the same scene.",
)
@click.option(
    "--runs",
    type=(_PLACE, _PLACE),
    metavar="AUDIO_RUN VIDEO_RUN",
    help="Fit them on pairs of both runs' answers about recordings and pictures held out from training.",
)
@click.option("--n-pairs", type=click.IntRange(min=1), default=1000, show_default=True, help="Number of pairs.")
@click.option(
    "--mismatched",
    type=click.FloatRange(0, 0.9),
    default=0.2,
    show_default=True,
    help="Fraction of pairs whose sound and picture show different scenes: their target is even odds.",
)
@click.option(
    "--sure",
    type=click.FloatRange(0.5, 0.99),
    help="Fraction of named answers that should be right; it determines the thresholds.  [default: 0.8]",
)
@click.option(
    "--sure-group",
    type=click.FloatRange(0.5, 0.99),
    help="The same for groups, which are named where no scene is.  [default: as --sure]",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the random pairs.")
@click.option(
    "--prior",
    multiple=True,
    metavar="LABEL=ODDS",
    help="Prior odds of a scene in the calibration of both bundles, to be divided out; 1 for scenes not given. May be "
    "repeated.",
)
@click.option("--name", help="The bundle's name.  [default: both names]")
@click.option("--description", metavar="SENTENCE", help="One-line description.")
@click.option("--notes", type=_PLACE, metavar="FILE.md", help="Markdown appended to the card.")
@click.option("--version", default="1.0.0", show_default=True, help="The bundle's version.")
@click.option("--overwrite", is_flag=True, help="Replace the bundle at --out.")
@click.pass_context
def fuse(
    context: click.Context,
    audio: str,
    video: str,
    out: Path,
    clips: Path | None,
    pairs: tuple[Path, Path] | None,
    runs: tuple[Path, Path] | None,
    n_pairs: int,
    mismatched: float,
    sure: float | None,
    sure_group: float | None,
    seed: int,
    prior: tuple[str, ...],
    name: str | None,
    description: str | None,
    notes: Path | None,
    version: str,
    overwrite: bool,
) -> None:
    """Combine an audio bundle and a video bundle into an audio-visual one.

    Their answers are multiplied and the prior is divided out of both; if one modality is absent, the other answers
    alone. Their weights are 1 unless fitted: on labelled data with --fit or --pairs (a folder per class, or a
    CSV with file,scene_label[,recording,city,location,video]), or on what --runs held out from training. Needs no
    torch.
    """
    given = [name for name, value in (("--fit", clips), ("--pairs", pairs), ("--runs", runs)) if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{given[1]}: expected one of --fit, --pairs and --runs, got {' and '.join(given)}")
    for option in _OF_PAIRS:
        if pairs is None and runs is None and context.get_parameter_source(option) is not ParameterSource.DEFAULT:
            raise ConfigError(f"--{option.replace('_', '-')}: expected --pairs or --runs with it, got neither")
    for option, value in (("--sure", sure), ("--sure-group", sure_group)):
        if value is not None and not given:
            raise ConfigError(f"{option}: expected --fit, --pairs or --runs with it, got none of them")
    from ascstream.bundles import find_bundle
    from engines.bundle import check_target, open_bundle
    from engines.manifest import check_name
    from trainer.evaluate.tables import table_to_lines
    from trainer.fuse.bundle import Naming, fuse_bundles, pool_of
    from trainer.fuse.card import figures_table
    from trainer.fuse.fitting import SURE, Pairs, fit_on_clips, fit_on_pairs, fit_on_runs
    from trainer.fuse.labels import check_halves, parse_odds
    from trainer.fuse.runs import calibrated, open_both
    from trainer.fuse.weights import with_weights

    if name is not None:
        check_name(name)
    naming = Naming(name, version, description, "" if notes is None else _read_notes(notes))
    ear, eye = open_bundle(find_bundle(audio)), open_bundle(find_bundle(video))
    check_halves(ear, eye)
    out.parent.mkdir(parents=True, exist_ok=True)
    check_target(out.absolute(), overwrite)
    pool = pool_of(ear.manifest, eye.manifest, parse_odds(prior))
    found: Found | None = None
    scenes = SURE[0] if sure is None else sure
    wanted = scenes, scenes if sure_group is None else sure_group
    make = partial(Pairs, n=n_pairs, mismatched=mismatched, seed=seed)
    if clips is not None:
        found = fit_on_clips(ear, eye, pool, clips, _say, sure=wanted)
    elif pairs is not None:
        found = fit_on_pairs(ear, eye, pool, make(*pairs), _say, sure=wanted)
    elif runs is not None:
        opened = open_both(pool, *runs)
        pool = calibrated(pool, *opened)
        found = fit_on_runs(ear, eye, pool, make(*runs), sure=wanted, runs=opened)
    if found is not None:
        table = figures_table(found)
        for line in (*table_to_lines(table)[1:], table.note):
            _say(line)
        pool = with_weights(pool, found.fitted.audio_weight, found.fitted.video_weight)
        if pool.audio.weight == pool.video.weight == 0:
            _say("these clips bear out neither modality: with both there, every scene will be as likely")
    done = fuse_bundles(ear, eye, out, pool, naming=naming, found=found, overwrite=overwrite)
    for precision, reason in done.left_out.items():
        _say(f"no {precision}: {reason}")
    manifest = done.bundle.manifest
    precisions = ", ".join(manifest.graphs[0].files)
    size = sum(entry.size for entry in manifest.files.values())
    click.echo(str(out))
    click.echo(
        f"{len(manifest.labels)} scenes, {precisions}, {size / 1024:,.0f} KiB; sound counts {pool.audio.weight:.2f}, "
        f"pictures {pool.video.weight:.2f}; next: ascstream file CLIP --bundle {shlex.quote(str(out))}",
        err=True,
    )


def _read_notes(path: Path) -> str:
    """Read the Markdown file given by the user.

    Raises:
        DataError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"--notes: expected Markdown at {path}, got: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"--notes: expected Markdown in UTF-8 at {path}, got something else; save it so") from None


def _say(sentence: str) -> None:
    """Print a line to stderr."""
    click.echo(sentence, err=True)

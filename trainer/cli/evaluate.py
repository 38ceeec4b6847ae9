"""`trainer evaluate`: recompute a run's report, or evaluate a run or a bundle on another corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.cli.common import count_clips, need_torch, open_named_run, print_report, run_argument
from trainer.cli.figures import print_clip_report, print_tables
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from trainer.clip_run import ClipRun
    from trainer.evaluate.protocol import Segments
    from trainer.run import Run

_BUNDLE_ALONE = "a bundle is evaluated on a prepared corpus, and without a run"


@click.command()
@run_argument
@click.option("--out", type=click.Path(path_type=Path), help="Write the report there, not into the run's folder.")
@click.option(
    "--submission",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Also write the table for DCASE 2021 task 1B: one segment per line, tab-separated, calibrated.",
)
@click.option(
    "--on",
    "prepared",
    type=click.Path(path_type=Path),
    metavar="PREPARED",
    help="Evaluate on this prepared corpus with the same scenes: its evaluation split, or all of it.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="CLIPS",
    help="RUN is a bundle: stream these labelled clips through the runtime (one folder per scene, a CSV, a corpus).",
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Evaluate a bundle, not a run; needs --on.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8"]),
    help="Precision of the bundle's graphs.  [default: float32]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def evaluate(
    run: Path | None,
    out: Path | None,
    submission: Path | None,
    prepared: Path | None,
    data: Path | None,
    bundle: Path | None,
    precision: str | None,
    as_json: bool,
) -> None:
    """Recompute the report of a run and print it; without RUN, that of the newest run.

    `trainer evaluate BUNDLE --data CLIPS` measures what ships: every clip passes through decoder, windows, engines and
    smoothing as in `ascstream file`: once complete, once each with sound or picture removed. Of a corpus that is
    already divided, only the evaluation split is used.

    A run on prepared clips gets report.json, figures.md with every table, confusion.png and reliability.png in its
    folder. With --on, the figures are those of another corpus, and files are written with --out only.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out: expected a folder to write into, got a file at {out}; name another place")
    if data is not None:
        if any(option is not None for option in (bundle, prepared, submission)):
            raise ConfigError("--data: expected a bundle as RUN, without --on, --bundle and --submission")
        _evaluate_streamed(run, data, precision or "float32", out, as_json=as_json)
        return
    if bundle is not None:
        if run is not None or prepared is None:
            raise ConfigError(f"--bundle: expected --on PREPARED and no RUN; {_BUNDLE_ALONE}")
        report, segments, suffix = _bundle_report(bundle, prepared, precision or "float32")
    else:
        if precision is not None:
            raise ConfigError(f"--precision: expected --bundle or --data with it; {_BUNDLE_ALONE}")
        from trainer.clip_run import ClipRun

        opened = open_named_run(run)
        if not isinstance(opened, ClipRun):
            if any(option is not None for option in (out, submission, prepared)):
                raise ConfigError(
                    f"{opened.folder}: expected a run on prepared clips for --out, --submission and --on, got one on "
                    "recordings; type: trainer evaluate RUN"
                )
            _evaluate_recordings(opened, as_json=as_json)
            return
        report, segments, suffix = _run_report(opened, prepared)
        if prepared is None and out is None:
            out = opened.folder
    if out is not None:
        from trainer.evaluate.report import write_report_files

        write_report_files(report, out)
    if submission is not None:
        from trainer.evaluate.submission import submission_of, write_submission

        write_submission(submission, submission_of(segments, report["labels"], report["temperatures"], suffix))
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print_clip_report(report)
    written = [*([] if out is None else [str(out / "figures.md")]), *([] if submission is None else [str(submission)])]
    if written:
        click.echo(f"written: {', '.join(written)}", err=True)


def _evaluate_streamed(bundle: Path | None, data: Path, precision: str, out: Path | None, *, as_json: bool) -> None:
    """Evaluate a bundle through the runtime; print the report and the clips that could not be read."""
    from ascstream.bundles import find_bundle
    from ascstream.classifier import Classifier
    from engines.bundle import open_bundle
    from trainer.data.labelled import read_labelled
    from trainer.evaluate.overlap import count_listed
    from trainer.evaluate.report import write_report_files
    from trainer.evaluate.report_tables import decided_table, silent_lines
    from trainer.evaluate.streamed import evaluate_streamed

    with Classifier.load(find_bundle(bundle), backend="onnxruntime", precision=precision) as classifier:
        clips = read_labelled(data, classifier.manifest.labels)
        for remark in clips.remarks:
            click.echo(remark, err=True)
        n_listed = count_listed(open_bundle(classifier.path), clips.clips)
        if n_listed:
            of = f"{n_listed:,} of {len(clips.clips):,} clips"
            click.echo(f"{of} are listed in the bundle's card as its own data: the figures flatter it", err=True)
        done = evaluate_streamed(classifier, clips, precision=precision, on_clip=count_clips)
    for failure in done.failures:
        click.echo(f"left out: {failure}", err=True)
    for sentence in done.shortened:
        click.echo(f"judged in part: {sentence}", err=True)
    for line in silent_lines(done.report):
        click.echo(line, err=True)
    if out is not None:
        write_report_files(done.report, out)
        click.echo(f"written: {out / 'figures.md'}", err=True)
    if as_json:
        click.echo(json.dumps(done.report, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print_clip_report(done.report)
        click.echo()
        print_tables([decided_table(done.report["decided"])], notes=True)


def _evaluate_recordings(run: Run, *, as_json: bool) -> None:
    """Recompute and print the report of a run on recordings."""
    from trainer.evaluate.recordings import write_report

    report = write_report(run)
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print_report(run)


def _run_report(run: ClipRun, prepared: Path | None) -> tuple[dict[str, Any], Segments, str]:
    """Report, segments and their file extension, for a run on its own evaluation clips or on another corpus."""
    from trainer.clip_run import EVALUATION
    from trainer.evaluate.report import read_segments, run_report

    suffix = _suffix(audio=run.config.inputs.sound is not None, video=run.config.video is not None)
    if prepared is None:
        segments = read_segments(run, EVALUATION)
        return run_report(run, segments), segments, suffix
    need_torch()
    from trainer.evaluate.elsewhere import evaluate_run_on

    return *evaluate_run_on(run, prepared), suffix


def _bundle_report(folder: Path, prepared: Path, precision: str) -> tuple[dict[str, Any], Segments, str]:
    """Report, segments and their file extension, for a bundle."""
    from engines.bundle import open_bundle
    from trainer.evaluate.elsewhere import evaluate_bundle_on

    bundle = open_bundle(folder)
    modalities = bundle.manifest.modalities
    suffix = _suffix(audio="audio" in modalities, video="video" in modalities)
    return *evaluate_bundle_on(bundle, prepared, precision=precision), suffix


def _suffix(*, audio: bool, video: bool) -> str:
    """The file extension that the challenge's baseline appends to a segment's name."""
    return ".wav" * audio + ".mp4" * video

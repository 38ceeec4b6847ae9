"""Report of a run on prepared clips: temperatures and thresholds from held-out cities, metrics, tables, plots.

    runs/slim-av/  report.json  figures.md  confusion.png  reliability.png

`judge.py` and `protocol.py` compute the figures, `report_tables.py` formats them, `plots.py` draws them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.manifest import Manifest
from trainer.clip_run import CALIBRATION, EVALUATION, SETS, ClipEntry, ClipRun, answers_path
from trainer.data.clips import VALIDATION
from trainer.errors import RunError
from trainer.evaluate.answers import WHOLE, Answers
from trainer.evaluate.judge import Judge, judge_of_bundle, judge_of_run, judge_segments
from trainer.evaluate.metrics import Vector, log_loss, softmax
from trainer.evaluate.protocol import OUTPUT_OF, Segments, gather_segments, score
from trainer.files import write_text, write_whole
from trainer.run import REPORT

FIGURES, CONFUSION, RELIABILITY = "figures.md", "confusion.png", "reliability.png"
_FEWEST_CLIPS = 20
"""Fewest clips per scene to fit temperatures on; with fewer, one odd place of a small city would determine them."""


def write_clip_report(run: ClipRun, out: Path | None = None) -> dict[str, Any]:
    """Write the report of a run on prepared clips: `report.json`, `figures.md`, `confusion.png`, `reliability.png`.

    Args:
        run: A run whose network has answered.
        out: Where to write; None: into the run's folder.

    Returns:
        The content of `report.json`: "temperatures" {"fused", "audio", "video"} for the outputs the network has ·
        "thresholds" {"scene", "group", and their "_precision" and "_coverage"} as chosen, "thresholds_evaluated" the
        same as measured on the evaluation split · "conditions" {"whole", "audio", "video"} to `condition_figures` ·
        "smoothed": metrics after the runtime's filter · "by_class", "by_city", "by_location", "by_device" ·
        "confusion": counts, row = scene · "reliability" · "calibration" and "validation": the data that temperatures
        were fitted on, and the data that the epoch was chosen on.

    Raises:
        RunError: The network is not trained yet, or its answers are not finite or of other clips.
    """
    report = run_report(run, read_segments(run, EVALUATION))
    write_report_files(report, run.folder if out is None else out)
    return report


def write_report_files(report: dict[str, Any], folder: Path) -> None:
    """Write a report's four files; `report.json` comes last, so its presence means that the others exist."""
    from trainer.evaluate.plots import draw_confusion, draw_reliability
    from trainer.evaluate.report_tables import report_to_markdown

    confusion = draw_confusion(report["labels"], report["confusion"])
    diagram = draw_reliability(report["reliability"])
    write_whole(folder / CONFUSION, lambda file: file.write(confusion))
    write_whole(folder / RELIABILITY, lambda file: file.write(diagram))
    write_text(folder / FIGURES, report_to_markdown(report))
    write_text(folder / REPORT, json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def run_report(run: ClipRun, segments: Segments, corpus: str | None = None) -> dict[str, Any]:
    """Build the full report on answers of a run's network; `corpus` names their corpus if it is not the run's own.

    Raises:
        RunError: The answers that temperatures are fitted on are missing, not finite, or of other clips.
    """
    held_out = read_held_out(run)
    judge = judge_of_run(run, held_out)
    _check_conditions(judge, segments, str(answers_path(run.folder, CALIBRATION)))
    return {
        "name": run.config.name,
        "model": run.config.model.name,
        "corpus": run.corpus if corpus is None else corpus,
        **judge_segments(judge, segments),
        "wanted_precision": run.config.evaluate.precision,
        "calibration": _calibration(held_out, judge),
        "validation": _validation(run, judge),
    }


def bundle_report(
    manifest: Manifest,
    answers: Answers,
    entries: Sequence[ClipEntry],
    corpus: str,
    precision: str,
    smoothed: Vector | None = None,
) -> dict[str, Any]:
    """Build the full report on a bundle's answers, at its own temperatures and thresholds.

    Args:
        manifest: The bundle's manifest.
        answers: The bundle's answers; its clips are indices into `entries`.
        entries: The clips.
        corpus: The corpus's name in tables.
        precision: Precision of the bundle's graphs.
        smoothed: [n_segments, n_labels] output of the runtime; None: its filter is run on the answers here.

    Raises:
        RunError: The answers are not finite.
    """
    judge = judge_of_bundle(manifest)
    segments = gather_segments(answers, entries, manifest.labels, f"bundle {manifest.name}")
    _check_conditions(judge, segments, f"bundle {manifest.name}")
    name = {"name": manifest.name, "model": f"{manifest.name} {manifest.version}, {precision}", "corpus": corpus}
    return name | judge_segments(judge, segments, smoothed)


def _check_conditions(judge: Judge, segments: Segments, where: str) -> None:
    """Raise RunError unless every condition has a temperature."""
    missing = {OUTPUT_OF.get(condition, condition) for condition in segments.logits} - judge.temperatures.keys()
    if missing:
        raise RunError(f"{where}: expected answers of {', '.join(sorted(missing))} too, got none; train it anew")


def read_segments(run: ClipRun, which: str) -> Segments:
    """Read one of the run's own sets of answers and check that its clips belong to that split.

    Raises:
        RunError: The answers are missing, not finite, or of other clips.
    """
    splits = (SETS[which], VALIDATION) if which == CALIBRATION else (SETS[which],)
    where = answers_path(run.folder, which)
    segments = gather_segments(run.answers(which), run.clips, run.labels, where)
    for index in sorted(set(segments.clips.tolist())):
        entry = segments.entries[index]
        if entry.split not in splits:
            raise RunError(f"{where}: expected clips of {splits[0]}, got {entry.key} of {entry.split}; train it anew")
    return segments


def read_held_out(run: ClipRun) -> Segments:
    """Answers to fit temperatures and thresholds on: the calibration clips, plus the validation clips if those are few.

    Neither were trained on. Calibration clips come from held-out cities; as a bundle will meet new cities, they are
    used alone if there are enough of them.

    Raises:
        RunError: Answers are missing, not finite, or of other clips.
    """
    held_out = read_segments(run, CALIBRATION)
    entries = _entries_of(held_out)
    counts = Counter(entry.label for entry in entries)
    if entries[0].split == VALIDATION or all(counts[label] >= _FEWEST_CLIPS for label in run.labels):
        return held_out
    more = read_segments(run, VALIDATION)
    both = {
        name: np.concatenate([logits, more.logits[name]])
        for name, logits in held_out.logits.items()
        if name in more.logits
    }
    targets, clips = (
        np.concatenate([getattr(part, name) for part in (held_out, more)]) for name in ("targets", "clips")
    )
    return Segments(both, targets, clips, held_out.entries)


def _entries_of(segments: Segments) -> list[ClipEntry]:
    """Entries of the clips that have segments."""
    return [segments.entries[index] for index in np.unique(segments.clips)]


def _calibration(segments: Segments, judge: Judge) -> dict[str, Any]:
    """The data that temperatures were fitted on, and the log loss there before and after."""
    entries = _entries_of(segments)
    outputs = {OUTPUT_OF.get(condition, condition): logits for condition, logits in segments.logits.items()}
    return {
        "splits": sorted({entry.split for entry in entries}),
        "cities": sorted({entry.city for entry in entries if entry.city and entry.split == CALIBRATION}),
        "n_clips": len(entries),
        "n_segments": len(segments.clips),
        "log_loss": {
            output: {
                "before": log_loss(softmax(logits), segments.targets),
                "after": log_loss(softmax(logits, judge.temperatures[output]), segments.targets),
            }
            for output, logits in outputs.items()
        },
    }


def _validation(run: ClipRun, judge: Judge) -> dict[str, Any]:
    """Metrics of the validation split, slightly optimistic, as it was used to choose the epoch."""
    segments = read_segments(run, VALIDATION)
    calibrated = softmax(segments.logits[WHOLE], judge.temperatures[OUTPUT_OF[WHOLE]])
    return score(calibrated, segments.targets) | {"n_segments": len(segments.clips), "n_clips": segments.n_clips}

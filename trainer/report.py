"""A run on prepared clips to its report: temperatures and thresholds from held-out cities, figures, tables, plots.

    runs/slim-av/  report.json  figures.md  confusion.png  reliability.png

`protocol.py` computes the figures, `tables.py` sets them, `plots.py` draws them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.answers import WHOLE, Answers
from trainer.clip_run import CALIBRATION, EVALUATION, SETS, ClipRun, answers_path
from trainer.data.clips import VALIDATION
from trainer.errors import RunError
from trainer.files import write_whole
from trainer.metrics import Vector, confusion_counts, log_loss, reliability, softmax
from trainer.protocol import (
    OUTPUT_OF,
    Segments,
    breakdown,
    chance,
    condition_figures,
    fit_temperatures,
    gather_segments,
    group_accuracy,
    place,
    score,
)
from trainer.run import REPORT, write_text
from trainer.thresholds import choose_thresholds, measure_thresholds, smooth_clips

FIGURES, CONFUSION, RELIABILITY = "figures.md", "confusion.png", "reliability.png"


def write_clip_report(run: ClipRun, out: Path | None = None) -> dict[str, Any]:
    """Make the report of a run on prepared clips: `report.json`, `figures.md`, `confusion.png`, `reliability.png`.

    Args:
        run: A run whose network has answered.
        out: Where to write; None: into the run's folder.

    Returns:
        What `make_report` gives, and `report.json` holds.

    Raises:
        RunError: The network is not trained yet, or its answers are not finite or of another run.
    """
    report = make_report(run, evaluation=run.answers(EVALUATION), where=answers_path(run.folder, EVALUATION))
    write_report_files(report, run.folder if out is None else out)
    return report


def write_report_files(report: dict[str, Any], folder: Path) -> None:
    """Write a report's four files; `report.json` comes last, so that it stands for all of them."""
    from trainer.plots import draw_confusion, draw_reliability
    from trainer.tables import report_to_markdown

    plots = {
        CONFUSION: draw_confusion(report["labels"], report["confusion"]),
        RELIABILITY: draw_reliability(report["reliability"]),
    }
    for name, content in plots.items():
        write_whole(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    write_text(folder / FIGURES, report_to_markdown(report))
    write_text(folder / REPORT, json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def make_report(run: ClipRun, *, evaluation: Answers, where: Path | str) -> dict[str, Any]:
    """Everything there is to say of one set of answers, with temperatures and thresholds from the run's held-out ones.

    Args:
        run: A finished run: its calibration and validation answers are read.
        evaluation: What is reported on.
        where: What messages about it begin with.

    Returns:
        "temperatures": {"fused", "audio", "video"} as far as the network answers so · "thresholds": {"scene", "group",
        and their "_precision" and "_coverage"} as chosen, "thresholds_evaluated" the same measured on the evaluation ·
        "conditions": {"whole", "audio", "video"} to `condition_figures` · "smoothed": figures after the runtime's
        filter · "by_class", "by_city", "by_location", "by_device" · "confusion" counts, row = scene · "reliability" ·
        "calibration", "validation": what they were fitted and chosen on.

    Raises:
        RunError: Answers are missing, not finite, or of other clips.
    """
    calibration = _of_split(run, CALIBRATION)
    segments = _checked(run, evaluation, where, (SETS[EVALUATION],))
    temperatures = fit_temperatures(calibration)
    missing = {OUTPUT_OF.get(condition, condition) for condition in segments.logits} - temperatures.keys()
    if missing:
        raise RunError(
            f"{answers_path(run.folder, CALIBRATION)}: expected answers of {', '.join(sorted(missing))} too, got none; "
            "evaluate the network again"
        )
    whole = softmax(segments.logits[WHOLE], temperatures[OUTPUT_OF[WHOLE]])
    return {
        "name": run.config.name,
        "model": run.config.model.name,
        "corpus": run.corpus,
        "licence": run.licence,
        "labels": list(run.labels),
        "segment_seconds": run.config.window.seconds,
        "n_segments": len(segments.clips),
        "n_clips": segments.n_clips,
        "n_locations": len(segments.names("place")[1]),
        "chance": chance(len(run.labels)),
        "temperatures": temperatures,
        **_deciding(run, calibration, segments, temperatures),
        "conditions": {name: condition_figures(segments, name, temperatures) for name in segments.logits},
        "group_accuracy": group_accuracy(whole, segments.targets, _groups(run)),
        **_breakdowns(run, segments, whole),
        "confusion": confusion_counts(whole, segments.targets, len(run.labels)).tolist(),
        "reliability": _reliability(segments, whole),
        "calibration": _calibration(calibration, temperatures),
        "validation": _validation(run, temperatures),
    }


def _of_split(run: ClipRun, which: str) -> Segments:
    """One of the run's own sets of answers."""
    splits = (SETS[which], VALIDATION) if which == CALIBRATION else (SETS[which],)
    return _checked(run, run.answers(which), answers_path(run.folder, which), splits)


def _checked(run: ClipRun, answers: Answers, where: Path | str, splits: tuple[str, ...]) -> Segments:
    """Answers joined with their clips, which have to be of a split that may be used so."""
    segments = gather_segments(answers, run.clips, run.labels, where)
    for entry in (segments.entries[index] for index in sorted(set(segments.clips.tolist()))):
        if entry.split not in splits:
            raise RunError(f"{where}: expected clips of {splits[0]}, got {entry.key} of {entry.split}; train it anew")
    return segments


def _groups(run: ClipRun) -> list[list[int]]:
    """Positions of each group's labels."""
    return [[run.labels.index(label) for label in members] for members in run.groups.values()]


def _smoothed(run: ClipRun, segments: Segments, temperature: float) -> Vector:
    """What the runtime's filter makes of the segments."""
    seconds = run.config.window.seconds
    probabilities = softmax(segments.logits[WHOLE], temperature)
    return smooth_clips(probabilities, segments.clips, run.config.smoothing, seconds, seconds)


def _deciding(
    run: ClipRun, calibration: Segments, segments: Segments, temperatures: dict[str, float]
) -> dict[str, Any]:
    """Thresholds, what they come to on the evaluation, and how good the filtered answers are there at all times."""
    temperature, groups = temperatures[OUTPUT_OF[WHOLE]], _groups(run)
    precision = run.config.evaluate.precision
    before = _smoothed(run, calibration, temperature)
    after = _smoothed(run, segments, temperature)
    thresholds = choose_thresholds(before, calibration.targets, calibration.clips, groups, precision)
    return {
        "thresholds": thresholds,
        "thresholds_evaluated": measure_thresholds(after, segments.targets, segments.clips, groups, thresholds),
        "wanted_precision": precision,
        "smoothed": score(after, segments.targets),
    }


def _breakdowns(run: ClipRun, segments: Segments, probabilities: Vector) -> dict[str, Any]:
    """Figures by scene, city, location and device; empty where the corpus does not say."""
    scenes: dict[str, set[str]] = {}
    for index in set(segments.clips.tolist()):
        scenes.setdefault(place(segments.entries[index]), set()).add(segments.entries[index].label)
    by_location = breakdown(segments, probabilities, "place")
    tables = {
        "by_class": breakdown(segments, probabilities, "label", run.labels),
        "by_city": breakdown(segments, probabilities, "city"),
        "by_location": {name: row | {"scenes": sorted(scenes[name])} for name, row in by_location.items()},
        "by_device": breakdown(segments, probabilities, "device"),
    }
    return {name: {} if set(rows) == {""} else rows for name, rows in tables.items()}


def _reliability(segments: Segments, calibrated: Vector) -> dict[str, dict[str, list[float]]]:
    """Bins of confidence before and after calibration: see `trainer.metrics.reliability`."""
    names = ("share", "confidence", "accuracy")
    both = {"uncalibrated": softmax(segments.logits[WHOLE]), "calibrated": calibrated}
    return {
        name: dict(zip(names, (part.tolist() for part in reliability(part, segments.targets)), strict=True))
        for name, part in both.items()
    }


def _calibration(segments: Segments, temperatures: dict[str, float]) -> dict[str, Any]:
    """What the temperatures were fitted on, and the log loss there before and after."""
    entries = [segments.entries[index] for index in sorted(set(segments.clips.tolist()))]
    outputs = {OUTPUT_OF.get(condition, condition): logits for condition, logits in segments.logits.items()}
    return {
        "split": entries[0].split,
        "cities": sorted({entry.city for entry in entries if entry.city}),
        "n_clips": len(entries),
        "n_segments": len(segments.clips),
        "log_loss": {
            output: {
                "before": log_loss(softmax(logits), segments.targets),
                "after": log_loss(softmax(logits, temperatures[output]), segments.targets),
            }
            for output, logits in outputs.items()
        },
    }


def _validation(run: ClipRun, temperatures: dict[str, float]) -> dict[str, Any]:
    """Figures of the split that chose the epoch: a little kind to the network."""
    segments = _of_split(run, VALIDATION)
    calibrated = softmax(segments.logits[WHOLE], temperatures[OUTPUT_OF[WHOLE]])
    return score(calibrated, segments.targets) | {"n_segments": len(segments.clips), "n_clips": segments.n_clips}

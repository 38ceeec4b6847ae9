"""From logits to figures, given temperatures and thresholds.

Temperatures and thresholds come from a run's held-out clips or a bundle's manifest; figures from any clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engines.manifest import Manifest, SmoothingSpec
from trainer.clip_run import ClipRun
from trainer.evaluate.answers import WHOLE
from trainer.evaluate.metrics import Vector, confusion_counts, reliability, softmax
from trainer.evaluate.protocol import (
    OUTPUT_OF,
    Segments,
    breakdown,
    chance,
    condition_figures,
    fit_temperatures,
    score,
)
from trainer.evaluate.thresholds import choose_thresholds, measure_thresholds, reported, smooth_clips


@dataclass(frozen=True, slots=True)
class Judge:
    """Everything needed to turn logits into answers."""

    labels: tuple[str, ...]
    """Scenes, in the order of the logits."""
    groups: tuple[tuple[int, ...], ...]
    """Indices of each group's labels."""
    window_seconds: float
    """Length of a segment."""
    smoothing: SmoothingSpec
    """Settings of the runtime's smoothing filter."""
    temperatures: dict[str, float]
    """One temperature per output."""
    thresholds: dict[str, float]
    """"scene", and "group" if there are groups; from a run also what else `choose_thresholds` returns."""

    def smoothed(self, segments: Segments) -> Vector:
        """[n_segments, n_labels]: output of the runtime's filter for the segments, each clip as a separate stream."""
        probabilities = softmax(segments.logits[WHOLE], self.temperatures[OUTPUT_OF[WHOLE]])
        return smooth_clips(probabilities, segments.clips, self.smoothing, self.window_seconds, self.window_seconds)


def judge_of_run(run: ClipRun, held_out: Segments) -> Judge:
    """Fit temperatures, and thresholds for the configured precision, on clips that were not trained on."""
    groups = tuple(tuple(run.labels.index(label) for label in members) for members in run.groups.values())
    window, smoothing = run.config.window.seconds, run.config.smoothing
    plain = Judge(run.labels, groups, window, smoothing, fit_temperatures(held_out), {})
    thresholds = choose_thresholds(
        plain.smoothed(held_out), held_out.targets, held_out.clips, groups, run.config.evaluate.precision
    )
    return Judge(run.labels, groups, window, smoothing, plain.temperatures, thresholds)


def judge_of_bundle(manifest: Manifest) -> Judge:
    """Take temperatures, thresholds and smoothing from a bundle's manifest."""
    groups = tuple(tuple(manifest.labels.index(label) for label in members) for members in manifest.groups.values())
    temperatures: dict[str, float] = {output.name: output.temperature for output in manifest.outputs}
    if manifest.presence_input is not None:  # a modality without a head is answered by the fused output
        temperatures = dict.fromkeys(manifest.modalities, temperatures[OUTPUT_OF[WHOLE]]) | temperatures
    thresholds = {"scene": manifest.thresholds.scene} | ({"group": manifest.thresholds.group} if groups else {})
    return Judge(manifest.labels, groups, manifest.window.seconds, manifest.smoothing, temperatures, thresholds)


def judge_segments(judge: Judge, segments: Segments, smoothed: Vector | None = None) -> dict[str, Any]:
    """Compute all figures of some segments: see `trainer.evaluate.report.write_clip_report`.

    Args:
        judge: Temperatures, thresholds and smoothing.
        segments: The answers.
        smoothed: [n_segments, n_labels] output of the runtime's filter; None: the filter is run on the segments here.
    """
    whole = softmax(segments.logits[WHOLE], judge.temperatures[OUTPUT_OF[WHOLE]])
    smoothed = judge.smoothed(segments) if smoothed is None else smoothed
    conditions = {name: condition_figures(segments, name, judge.temperatures, judge.groups) for name in segments.logits}
    return {
        "labels": list(judge.labels),
        "segment_seconds": judge.window_seconds,
        "n_segments": len(segments.clips),
        "n_clips": segments.n_clips,
        "n_locations": len(segments.names("place")[1]),
        "chance": chance(len(judge.labels), segments.targets, judge.groups),
        "temperatures": judge.temperatures,
        "thresholds": reported(judge.thresholds),
        "thresholds_evaluated": reported(
            measure_thresholds(smoothed, segments.targets, segments.clips, judge.groups, judge.thresholds)
        ),
        "conditions": conditions,
        "smoothed": score(smoothed, segments.targets, judge.groups),
        "group_accuracy": conditions[WHOLE]["calibrated"].get("group_accuracy"),
        **_breakdowns(judge, segments, whole),
        "confusion": confusion_counts(whole, segments.targets, len(judge.labels)).tolist(),
        "reliability": _reliability(segments, whole),
    }


def _breakdowns(judge: Judge, segments: Segments, probabilities: Vector) -> dict[str, Any]:
    """Figures by scene, city, location and device; empty if the corpus does not tell them."""
    scenes: dict[str, set[str]] = {}
    for index in set(segments.clips.tolist()):
        scenes.setdefault(segments.entries[index].place, set()).add(segments.entries[index].label)
    by_location = breakdown(segments, probabilities, "place")
    tables = {
        "by_class": breakdown(segments, probabilities, "label", judge.labels),
        "by_city": breakdown(segments, probabilities, "city"),
        "by_location": {name: row | {"scenes": sorted(scenes[name])} for name, row in by_location.items()},
        "by_device": breakdown(segments, probabilities, "device"),
    }
    return {name: {} if set(rows) == {""} else rows for name, rows in tables.items()}


def _reliability(segments: Segments, calibrated: Vector) -> dict[str, dict[str, list[float]]]:
    """Reliability bins before and after calibration: see `trainer.evaluate.metrics.reliability`."""
    names = ("share", "confidence", "accuracy")
    both = {"uncalibrated": softmax(segments.logits[WHOLE]), "calibrated": calibrated}
    return {
        name: dict(zip(names, (part.tolist() for part in reliability(part, segments.targets)), strict=True))
        for name, part in both.items()
    }

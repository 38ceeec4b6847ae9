"""From held-out answers to figures: calibrated out of sample, per window and per recording, smoothed as at runtime.

A split's temperature is fitted on the answers of the other splits, so that no recording is judged by a value it helped
to choose; the temperature that ships is fitted on all of them. Thresholds too rest on held-out recordings only: they
are the lowest at which named answers are right as often as the configuration demands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ascstream.smoothing import Decider
from engines.manifest import Thresholds
from trainer.data.splits import Split
from trainer.evaluate.metrics import (
    Integers,
    Vector,
    accuracy,
    balanced_weights,
    calibration_error,
    confusion,
    figures,
    fit_temperature,
    log_loss,
    recording_probabilities,
    softmax,
)
from trainer.evaluate.thresholds import best_groups, choose_thresholds, reported, smooth_clips
from trainer.files import write_text
from trainer.run import BASELINE, FINAL, PREDICTIONS, REPORT, Run

_TIME_CONSTANTS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Time constants of the runtime's filter to compare, in seconds."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Answers of several splits' networks, each on recordings held out from its training."""

    logits: Vector
    """[n_windows, n_labels]."""
    probabilities: Vector
    """[n_windows, n_labels], calibrated on the other splits."""
    targets: Integers
    """[n_windows] scene index of each window."""
    recordings: Integers
    """[n_windows] index of each window's recording in the run."""
    temperature: float
    """Fitted on all windows."""


def write_report(run: Run) -> dict[str, Any]:
    """Write `report.json` from the answers of a run's networks.

    Raises:
        RunError: A network is not trained yet.
    """
    report = recordings_report(run)
    write_text(run.folder / REPORT, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return report


def recordings_report(run: Run) -> dict[str, Any]:
    """Compute the report from the answers of a run's networks.

    Raises:
        RunError: A network is not trained yet.
    """
    folds = [split for split in run.splits if split.name.startswith("fold-")]
    sources = [split for split in run.splits if split.name.startswith("source-")]
    held_out = gather(run, folds)
    smoothed = smooth(run, held_out, run.config.smoothing.time_constant_seconds)
    thresholds = choose_thresholds(
        smoothed, held_out.targets, held_out.recordings, _groups(run), run.config.evaluate.precision
    )
    report: dict[str, Any] = {
        "temperature": round(held_out.temperature, 4),
        "chance": {"accuracy": 1 / len(run.labels), "log_loss": float(np.log(len(run.labels)))},
        "folds": _figures(run, held_out),
        "folds_baseline": _figures(run, gather(run, folds, BASELINE)),
        "smoothed": _smoothed(smoothed, held_out),
        "smoothed_by_seconds": {
            f"{seconds:g}": _smoothed(smooth(run, held_out, seconds), held_out) for seconds in _TIME_CONSTANTS
        },
        "thresholds": reported(thresholds),
        "recordings": _by_recording(run, held_out, smoothed),
    }
    if sources:
        report["sources"] = _figures(run, gather(run, sources))
        report["sources_baseline"] = _figures(run, gather(run, sources, BASELINE))
        report["by_source"] = {
            split.name.removeprefix("source-"): _one_source(run, split, sources) for split in sources
        }
    report["none"] = _none(run, held_out.temperature, thresholds)
    return report


def gather(run: Run, splits: Sequence[Split], name: str = PREDICTIONS) -> HeldOut:
    """Collect the answers of several splits, each calibrated on the others.

    Raises:
        RunError: A network is not trained yet.
    """
    parts = [run.predictions(split, name) for split in splits]
    logits = np.concatenate([part.logits for part in parts]).astype(np.float64)
    recordings = np.concatenate([part.recordings for part in parts])
    origin = np.repeat(np.arange(len(parts)), [len(part.recordings) for part in parts])
    targets = run.targets[recordings]
    probabilities = np.zeros_like(logits)
    for index in range(len(parts)):
        mine = origin == index
        others = ~mine if np.any(~mine) else mine
        weights = balanced_weights(targets[others], recordings[others])
        probabilities[mine] = softmax(logits[mine], fit_temperature(logits[others], targets[others], weights))
    temperature = fit_temperature(logits, targets, balanced_weights(targets, recordings))
    return HeldOut(logits, probabilities, targets, recordings, temperature)


def smooth(run: Run, held_out: HeldOut, time_constant_seconds: float) -> Vector:
    """[n_windows, n_labels]: output of the runtime's filter for the windows, each recording as a separate stream."""
    spec = replace(run.config.smoothing, time_constant_seconds=time_constant_seconds)
    step, window = run.config.evaluate.step_seconds, run.config.window.seconds
    return smooth_clips(held_out.probabilities, held_out.recordings, spec, window, step)


def _groups(run: Run) -> list[list[int]]:
    """Indices of each group's labels."""
    return [[run.labels.index(label) for label in members] for members in run.groups.values()]


def _figures(run: Run, held_out: HeldOut) -> dict[str, Any]:
    """Metrics per window, calibrated and uncalibrated, and per recording."""
    targets, recordings, probabilities = held_out.targets, held_out.recordings, held_out.probabilities
    weights = balanced_weights(targets, recordings)
    plain = softmax(held_out.logits)
    answers, numbers = recording_probabilities(probabilities, recordings)
    return {
        "windows": asdict(figures(probabilities, targets, recordings, run.labels)),
        "plain_accuracy": accuracy(probabilities, targets),
        "uncalibrated": {
            "log_loss": log_loss(plain, targets, weights),
            "calibration_error": calibration_error(plain, targets, weights),
        },
        "by_recording": asdict(figures(answers, run.targets[numbers], numbers, run.labels)),
        "by_recording_plain_accuracy": accuracy(answers, run.targets[numbers]),
        "group_accuracy": _group_accuracy(run, probabilities, targets, weights),
        "confusion": np.round(confusion(probabilities, targets, weights, len(run.labels)), 4).tolist(),
    }


def _group_accuracy(run: Run, probabilities: Vector, targets: Integers, weights: Vector) -> float | None:
    """Weighted fraction of windows whose best group contains the scene; None if there are no groups."""
    groups = _groups(run)
    return float(np.average(best_groups(probabilities, targets, groups)[1], weights=weights)) if groups else None


def _one_source(run: Run, split: Split, splits: Sequence[Split]) -> dict[str, Any]:
    """Metrics of one held-out source."""
    everything = gather(run, splits)
    mine = np.isin(everything.recordings, split.test)
    targets, recordings = everything.targets[mine], everything.recordings[mine]
    probabilities = everything.probabilities[mine]
    answers, numbers = recording_probabilities(probabilities, recordings)
    return {
        "windows": asdict(figures(probabilities, targets, recordings, run.labels)),
        "plain_accuracy": accuracy(probabilities, targets),
        "by_recording_plain_accuracy": accuracy(answers, run.targets[numbers]),
        "n_recordings": len(numbers),
        "n_windows": len(targets),
    }


def _smoothed(smoothed: Vector, held_out: HeldOut) -> dict[str, float]:
    """Metrics as users see them: after the filter, at all times of all held-out recordings."""
    weights = balanced_weights(held_out.targets, held_out.recordings)
    return {
        "accuracy": accuracy(smoothed, held_out.targets, weights),
        "log_loss": log_loss(smoothed, held_out.targets, weights),
        "calibration_error": calibration_error(smoothed, held_out.targets, weights),
    }


def _by_recording(run: Run, held_out: HeldOut, smoothed: Vector) -> list[dict[str, Any]]:
    """Each held-out recording with its label and what was recognised."""
    rows = []
    for number in np.unique(held_out.recordings):
        mine = held_out.recordings == number
        answers, _ = recording_probabilities(held_out.probabilities[mine], held_out.recordings[mine])
        best = int(answers[0].argmax())
        rows.append(
            {
                "file": run.entries[number].file,
                "label": run.entries[number].label,
                "heard": run.labels[best],
                "score": round(float(answers[0][best]), 4),
                "window_accuracy": round(accuracy(held_out.probabilities[mine], held_out.targets[mine]), 4),
                "smoothed_accuracy": round(accuracy(smoothed[mine], held_out.targets[mine]), 4),
            }
        )
    return rows


def _none(run: Run, temperature: float, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Recordings of none of the scenes: how much of the time the shipped network would still name a scene or group."""
    final = next(split for split in run.splits if split.name == FINAL)
    if not final.test:
        return []
    predictions = run.predictions(final)
    logits, recordings = predictions.logits.astype(np.float64), predictions.recordings
    probabilities = softmax(logits, temperature)
    heard = HeldOut(logits, probabilities, run.targets[recordings], recordings, temperature)
    smoothed = smooth(run, heard, run.config.smoothing.time_constant_seconds)
    chosen = {name: thresholds[name] for name in ("scene", "group") if name in thresholds}
    decider = Decider(run.labels, run.groups, replace(Thresholds(), **chosen))
    rows = []
    for number in final.test:
        mine = recordings == number
        best: Mapping[int, int] = dict(enumerate(np.bincount(smoothed[mine].argmax(axis=1), minlength=len(run.labels))))
        decider.reset()
        levels = [decider.decide(posterior).level for posterior in smoothed[mine]]
        rows.append(
            {
                "file": run.entries[number].file,
                "heard": run.labels[max(best, key=lambda index: best[index])],
                "named": round(levels.count("scene") / len(levels), 4),
                "named_group": round(levels.count("group") / len(levels), 4),
                "mean_confidence": round(float(probabilities[mine].max(axis=1).mean()), 4),
                "n_windows": int(mine.sum()),
            }
        )
    return rows

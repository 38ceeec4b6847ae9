"""Evaluate a bundle on labelled clips with the runtime itself, as shipped: decoder, windows, engines, smoothing.

Each second of a clip is one decision, as in `protocol.py`; each clip is streamed once with everything it has and, if
the bundle takes both modalities, once without each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from ascstream.pipeline import StreamSettings, stream
from engines.manifest import Manifest, Modality
from trainer.clip_run import ClipEntry
from trainer.data.clips import EVALUATE, NONE, Clip
from trainer.data.labelled import Clips, OnClip, unwatched
from trainer.errors import DataError
from trainer.evaluate.answers import WHOLE, Answers
from trainer.evaluate.judge import judge_of_bundle
from trainer.evaluate.protocol import OUTPUT_OF
from trainer.evaluate.report import bundle_report
from trainer.evaluate.sources import Without, open_clip

_FLOOR = 1e-12
"""Lower bound of a probability before its logarithm."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """Result of streaming a corpus through a bundle."""

    report: dict[str, Any]
    """From `bundle_report`, plus "decided", and "unanswered": the number of windows without an answer, by condition."""
    failures: tuple[str, ...]
    """One sentence for each clip that was left out, as nothing of it can be read."""
    shortened: tuple[str, ...]
    """One sentence for each clip that breaks off; it was judged by what came before."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """Results of one clip under one condition, per window."""

    log_probabilities: NDArray[np.float64]
    """[n_windows, n_labels] of each window on its own, unsmoothed; zeros where the bundle had no answer."""
    named: tuple[tuple[str, str], ...]
    """Level and label decided per window, after smoothing."""
    smoothed: NDArray[np.float64]
    """[n_windows, n_labels] output of the smoothing filter."""
    broken: str | None
    """Why the clip ended early; None if it did not."""


def evaluate_streamed(
    classifier: Classifier,
    clips: Clips,
    *,
    precision: str = "float32",
    on_clip: OnClip = unwatched,
) -> Streamed:
    """Stream every clip and report, with the bundle's own temperatures, thresholds and smoothing.

    Args:
        classifier: The loaded bundle.
        clips: Clips from `read_labelled`.
        precision: Precision of the bundle's graphs, for the report.
        on_clip: Called with the number of clips done and the total.

    Raises:
        DataError: No clip can be read.
        engines.errors.EngineError: An inference failed.
    """
    manifest = classifier.manifest
    gone = _conditions(manifest)
    heard: dict[str, list[_Heard]] = {condition: [] for condition in gone}
    entries: list[ClipEntry] = []
    decided: list[tuple[str, str, str]] = []
    failures: list[str] = []
    shortened: list[str] = []
    for number, clip in enumerate(clips.clips):
        on_clip(number, len(clips.clips))
        try:
            one = {condition: _hear(classifier, clip, modality) for condition, modality in gone.items()}
        except SourceError as error:
            failures.append(str(error))
            continue
        if (broken := one[WHOLE].broken) is not None:
            shortened.append(broken)
        decided += [(clip.scene_label, level, label) for level, label in one[WHOLE].named]
        if clip.scene_label != NONE:
            n_windows = len(one[WHOLE].log_probabilities)
            for condition, part in one.items():
                heard[condition].append(_as_long(part, n_windows))
            seconds = n_windows * manifest.window.seconds
            place = (clip.city, clip.location, clip.device)
            entries.append(ClipEntry(clip.name, clip.scene_label, *place, EVALUATE, seconds))
    on_clip(len(clips.clips), len(clips.clips))
    if not entries:
        why = failures[0] if failures else "only clips of no scene"
        raise DataError(f"{clips.where}: expected clips that can be read, got none: {why}")
    answers, unanswered = _answers(manifest, heard)
    smoothed = np.concatenate([part.smoothed for part in heard[WHOLE]])
    report = bundle_report(manifest, answers, entries, clips.name, precision, smoothed)
    more = {"decided": _decided(manifest, decided), "unanswered": unanswered}
    return Streamed(report | more, tuple(failures), tuple(shortened))


def _conditions(manifest: Manifest) -> dict[str, Modality | None]:
    """Map each condition a bundle can answer in to the modality removed for it, as `Classifier` chooses heads."""
    others: dict[Modality, Modality] = {"audio": "video", "video": "audio"}
    alone = [name for name in manifest.modalities if manifest.output(name) or manifest.presence_input]
    return {WHOLE: None, **{name: others[name] for name in alone if len(manifest.modalities) == len(others)}}


def _answers(manifest: Manifest, heard: Mapping[str, Sequence[_Heard]]) -> tuple[Answers, dict[str, int]]:
    """Logits of all windows per condition, without conditions that never answer, and counts of unanswered windows."""
    temperatures = judge_of_bundle(manifest).temperatures
    owners = np.repeat(np.arange(len(heard[WHOLE])), [len(part.log_probabilities) for part in heard[WHOLE]])
    logits: dict[str, NDArray[np.float32]] = {}
    unanswered: dict[str, int] = {}
    for condition, parts in heard.items():
        rows = np.concatenate([part.log_probabilities for part in parts])
        unanswered[condition] = int((~rows.any(axis=1)).sum())
        if condition == WHOLE or unanswered[condition] < len(rows):
            logits[condition] = (temperatures[OUTPUT_OF.get(condition, condition)] * rows).astype(np.float32)
    return Answers(owners, logits), unanswered


def _hear(classifier: Classifier, clip: Clip, gone: Modality | None) -> _Heard:
    """Stream one clip under one condition; there are no windows if no modality is left.

    Raises:
        SourceError: Nothing of it can be read.
    """
    labels = classifier.manifest.labels
    settings = StreamSettings(step_seconds=classifier.manifest.window.seconds)
    rows, named, smoothed = [], [], []
    broken = None
    with open_clip(clip) as whole:
        source = whole if gone is None else Without(whole, gone)
        if gone is None or source.info.has_audio or source.info.has_video:
            try:
                for prediction in stream(classifier, source, settings):
                    scores = [prediction.raw_scores.get(label, 1.0) for label in labels]
                    rows.append(np.log(np.maximum(scores, _FLOOR)))
                    named.append((prediction.level, prediction.label))
                    smoothed.append([prediction.scores[label] for label in labels])
            except SourceError as error:
                if not rows and gone is None:
                    raise
                broken = str(error)
    log_probabilities, posteriors = (np.array(part).reshape(-1, len(labels)) for part in (rows, smoothed))
    return _Heard(log_probabilities, tuple(named), posteriors, broken)


def _as_long(heard: _Heard, n: int) -> _Heard:
    """Crop to the whole clip's number of windows, or pad with zeros, which mean no answer."""
    rows = heard.log_probabilities[:n]
    return replace(heard, log_probabilities=np.pad(rows, ((0, n - len(rows)), (0, 0))))


def _decided(manifest: Manifest, decided: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, float]]:
    """Shares of windows in which a scene, a group or neither was named after smoothing, and how often rightly.

    Given separately for clips of scenes and clips of none of them.
    """
    group_of = {label: group for group, members in manifest.groups.items() for label in members}
    out: dict[str, dict[str, float]] = {}
    for which in ("scenes", "none"):
        rows = [row for row in decided if (row[0] == NONE) == (which == "none")]
        if not rows:
            continue
        named = {level: [row for row in rows if row[1] == level] for level in ("scene", "group", "unknown")}
        entry: dict[str, float] = {"n_windows": len(rows)}
        entry |= {level: len(part) / len(rows) for level, part in named.items()}
        if which == "scenes":
            rights = {
                "scene": sum(row[0] == row[2] for row in named["scene"]),
                "group": sum(group_of.get(row[0]) == row[2] for row in named["group"]),
            }
            entry |= {f"{level}_right": n / len(named[level]) for level, n in rights.items() if named[level]}
        out[which] = entry
    return out

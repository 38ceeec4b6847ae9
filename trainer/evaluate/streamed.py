"""A bundle on labelled clips through the runtime itself: decoder, windows, engines, smoothing. What ships is measured.

Every second of a clip is one decision, as in `protocol.py`; the clip is streamed once with all that it has, and once
with either modality gone where the bundle perceives both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from ascstream.pipeline import StreamSettings, stream
from ascstream.sources.base import Source
from ascstream.sources.media import open_media
from engines.manifest import Manifest, Modality
from trainer.clip_run import ClipEntry
from trainer.data.clips import EVALUATE, NONE, Clip
from trainer.data.corpora import open_whole
from trainer.errors import DataError
from trainer.evaluate.answers import WHOLE, Answers
from trainer.evaluate.protocol import OUTPUT_OF
from trainer.evaluate.report import bundle_report
from trainer.evaluate.sources import Paired, Without

_FLOOR = 1e-12
"""Of a probability before its logarithm."""
_GONE: dict[str, Modality | None] = {"audio": "video", "video": "audio"}
"""Condition to the modality that is left out."""
Progress = Callable[[int, int], None]
"""Called with how many clips are done, of how many."""


@dataclass(frozen=True, slots=True)
class Clips:
    """What a bundle is judged on."""

    name: str
    """What tables call it."""
    where: Path
    """Where it lies; messages begin with it."""
    clips: tuple[Clip, ...]
    """Of the bundle's scenes, or of none of the scenes."""
    remarks: tuple[str, ...]
    """What the user should be told."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a bundle said of a corpus."""

    report: dict[str, Any]
    """As `bundle_report` gives it, with "decided" and, where there are such clips, "none" beside it."""
    failures: tuple[str, ...]
    """A sentence for every clip that could not be read."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """One clip under one condition, window by window."""

    log_probabilities: NDArray[np.float64]
    """[n_windows, n_labels] of this window alone; zeros where the bundle had no answer."""
    named: tuple[tuple[str, str], ...]
    """Level and label that were decided, smoothed."""


def read_clips(data: Path, labels: Sequence[str]) -> Clips:
    """The clips that a user points to: the evaluation split of what is divided, else all.

    Args:
        data: A corpus of any layout that `trainer prepare` takes, or a file list.
        labels: The bundle's; clips of other scenes are left out, and counted in the remarks.

    Raises:
        DataError: There is no such corpus, or no clip of any of the labels.
    """
    corpus = open_whole(data)
    judged = [clip for clip in corpus.clips if clip.split in ("", EVALUATE)] or list(corpus.clips)
    known = [clip for clip in judged if clip.scene_label in (*labels, NONE)]
    if not any(clip.scene_label != NONE for clip in known):
        got = ", ".join(sorted({clip.scene_label for clip in judged})) or "no clips"
        raise DataError(f"{data}: expected clips of {', '.join(labels)}, got {got}; name another bundle, or other data")
    strangers = Counter(clip.scene_label for clip in judged if clip.scene_label not in (*labels, NONE))
    remarks = tuple(
        f"{count} clips of {label}, which the bundle does not know, were left out"
        for label, count in sorted(strangers.items())
    )
    return Clips(corpus.name, corpus.root, tuple(known), (*corpus.remarks, *remarks))


def evaluate_streamed(
    classifier: Classifier,
    clips: Clips,
    *,
    precision: str = "float32",
    on_clip: Progress = lambda _done, _total: None,
) -> Streamed:
    """Stream every clip and report, at the bundle's own temperatures, thresholds and smoothing.

    Args:
        classifier: The bundle, loaded.
        clips: What `read_clips` gave.
        precision: Of its graphs, for the report.
        on_clip: Called with how many clips are done, of how many.

    Raises:
        DataError: No clip can be read.
        engines.errors.EngineError: An inference failed.
    """
    manifest = classifier.manifest
    gone: dict[str, Modality | None] = {WHOLE: None, **(_GONE if set(manifest.modalities) == set(_GONE) else {})}
    rows: dict[str, list[NDArray[np.float64]]] = {condition: [] for condition in gone}
    entries: list[ClipEntry] = []
    decided: list[tuple[str, str, str]] = []
    failures: list[str] = []
    for number, clip in enumerate(clips.clips):
        on_clip(number, len(clips.clips))
        try:
            heard = {condition: _hear(classifier, clip, modality) for condition, modality in gone.items()}
        except SourceError as error:
            failures.append(str(error))
            continue
        whole = heard[WHOLE]
        decided += [(clip.scene_label, level, label) for level, label in whole.named]
        if clip.scene_label != NONE:
            n_windows = len(whole.log_probabilities)
            for condition, one in heard.items():
                rows[condition].append(_as_long(one.log_probabilities, n_windows))
            seconds = n_windows * manifest.window.seconds
            place = (clip.city, clip.location, clip.device)
            entries.append(ClipEntry(clip.name, clip.scene_label, *place, EVALUATE, seconds))
    on_clip(len(clips.clips), len(clips.clips))
    if not entries:
        why = failures[0] if failures else "only clips of no scene"
        raise DataError(f"{clips.where}: expected clips that can be read, got none: {why}")
    owners = np.repeat(np.arange(len(entries)), [len(part) for part in rows[WHOLE]])
    logits = {name: _temperature(manifest, name) * np.concatenate(part) for name, part in rows.items()}
    answers = Answers(owners, {name: values.astype(np.float32) for name, values in logits.items()})
    report = bundle_report(manifest, answers, entries, clips.name, precision)
    return Streamed(report | {"decided": _decided(manifest, decided)}, tuple(failures))


def _temperature(manifest: Manifest, condition: str) -> float:
    """What the logits of a condition are divided by."""
    name = OUTPUT_OF.get(condition, condition)
    return next((output.temperature for output in manifest.outputs if output.name == name), 1.0)


def _hear(classifier: Classifier, clip: Clip, gone: Modality | None) -> _Heard:
    """Stream one clip under one condition; a clip without what is left has no windows."""
    labels = classifier.manifest.labels
    settings = StreamSettings(step_seconds=classifier.manifest.window.seconds)
    with open_clip(clip) as whole:
        source = whole if gone is None else Without(whole, gone)
        if not (source.info.has_audio or source.info.has_video):
            return _Heard(np.zeros((0, len(labels))), ())
        rows, named = [], []
        for prediction in stream(classifier, source, settings):
            scores = [prediction.raw_scores.get(label, 1.0) for label in labels]
            rows.append(np.log(np.maximum(scores, _FLOOR)))
            named.append((prediction.level, prediction.label))
    return _Heard(np.array(rows).reshape(-1, len(labels)), tuple(named))


@contextmanager
def open_clip(clip: Clip) -> Iterator[Source]:
    """A clip's sound and picture as one source.

    Raises:
        SourceError: A file is missing or no media.
    """
    if clip.video is None:
        with open_media(clip.audio) as source:
            yield source
    else:
        with open_media(clip.audio) as sound, open_media(clip.video) as picture, Paired(sound, picture) as both:
            yield both


def _as_long(rows: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """[n, n_labels]: cut, or with zeros, no answer, after them."""
    return np.concatenate([rows[:n], np.zeros((max(0, n - len(rows)), rows.shape[1]))])


def _decided(manifest: Manifest, decided: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, float]]:
    """How often a scene, a group or neither was named after smoothing, and how often rightly; of scenes, of none."""
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

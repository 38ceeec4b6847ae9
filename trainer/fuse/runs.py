"""Turns two runs' answers on their held-out recordings and pictures into evidence that can be paired."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from engines.manifest import Modality
from trainer.clip_run import EVALUATION, ClipRun, is_clip_run, open_clip_run
from trainer.errors import ConfigError
from trainer.evaluate.answers import WHOLE
from trainer.evaluate.metrics import Integers, Vector, balanced_weights, fit_temperature
from trainer.evaluate.recordings import HeldOut, gather
from trainer.evaluate.report import read_held_out, read_segments
from trainer.fuse.material import Heard, middle
from trainer.fuse.pool import Pool
from trainer.run import Run, open_run


@dataclass(frozen=True, slots=True)
class Folds:
    """A run on recordings, and its held-out answers."""

    run: Run
    """The run."""
    held_out: HeldOut
    """Answers of each fold's network on the recordings it was not trained on."""


OpenRun: TypeAlias = Folds | ClipRun
"""A finished run, read once."""


def open_both(pool: Pool, audio_run: Path, video_run: Path) -> tuple[OpenRun, OpenRun]:
    """Open the audio run and the video run.

    Raises:
        RunError: A run is not finished.
        ConfigError: A run has other scenes than its bundle.
    """
    return _open(audio_run, pool, "audio"), _open(video_run, pool, "video")


def calibrated(pool: Pool, audio_run: Path | OpenRun, video_run: Path | OpenRun) -> Pool:
    """Return the pool with both temperatures refitted with every scene weighing the same, as it does for the weights.

    For a run on prepared clips, they are fitted on the clips it was calibrated on; for one on recordings, on every
    fold's held-out answers.

    Raises:
        RunError: A run is not finished.
        ConfigError: A run has other scenes than its bundle.
    """
    fitted: dict[Modality, float] = {}
    sides: tuple[tuple[Modality, Path | OpenRun], ...] = (("audio", audio_run), ("video", video_run))
    for modality, which in sides:
        opened = _open(which, pool, modality)
        if isinstance(opened, ClipRun):
            segments = read_held_out(opened)
            logits, targets, clips = segments.logits[WHOLE], segments.targets, segments.clips
        else:
            heard = opened.held_out
            logits, targets, clips = heard.logits, heard.targets, heard.recordings
        fitted[modality] = fit_temperature(logits, targets, balanced_weights(targets, clips))
    audio, video = (replace(pool.expert(name), temperature=fitted[name]) for name, _ in sides)
    return replace(pool, audio=audio, video=video)


def judged_run(which: Path | OpenRun, pool: Pool, modality: Modality) -> Iterator[Heard]:
    """Yield the evidence of a run's networks on the files held out from them.

    For a run on prepared clips these are the evaluation split; for one on recordings, every recording, judged by the
    fold's network that was trained without it.

    Args:
        which: The run.
        pool: Turns logits into evidence, with its experts' temperatures.
        modality: The modality of the run.

    Raises:
        RunError: The run is not finished.
        ConfigError: It has other scenes than its bundle.
    """
    opened = _open(which, pool, modality)
    if isinstance(opened, ClipRun):
        logits, clips, names = _of_clips(opened)
    else:
        logits, clips, names = _of_recordings(opened.run, opened.held_out)
    evidence = pool.evidence(modality, logits)
    for clip in np.unique(clips):
        label, place = names[clip]
        yield Heard(pool.labels.index(label), place, middle(evidence[clips == clip]))


def _open(which: Path | OpenRun, pool: Pool, modality: Modality) -> OpenRun:
    """Open a run, unless it is open, and check that its scenes are those that a modality of the pool knows."""
    if not isinstance(which, Path):
        return which
    run = open_clip_run(which) if is_clip_run(which) else open_run(which)
    labels = pool.expert(modality).labels
    if run.labels != labels:
        raise ConfigError(
            f"{which}: expected a run of the bundle's scenes, {', '.join(labels)}, got {', '.join(run.labels)}"
        )
    if isinstance(run, ClipRun):
        return run
    return Folds(run, gather(run, [split for split in run.splits if split.name.startswith("fold-")]))


def _of_clips(run: ClipRun) -> tuple[Vector, Integers, list[tuple[str, str]]]:
    """Logits and clip of every window, and the label and place of every clip."""
    segments = read_segments(run, EVALUATION)
    return segments.logits[WHOLE], segments.clips, [(entry.label, entry.place) for entry in run.clips]


def _of_recordings(run: Run, held_out: HeldOut) -> tuple[Vector, Integers, list[tuple[str, str]]]:
    """Logits and recording of non-overlapping windows, and the label and place of every recording."""
    stride = max(1, round(run.config.window.seconds / run.config.evaluate.step_seconds))
    counts = np.bincount(held_out.recordings)
    within = np.concatenate([np.arange(counts[index]) for index in _in_order(held_out.recordings)])
    kept = within % stride == 0
    names = [(entry.label, entry.group) for entry in run.entries]
    return held_out.logits[kept], held_out.recordings[kept], names


def _in_order(recordings: Integers) -> list[int]:
    """Recordings in order of appearance, each once; the windows of a recording are consecutive."""
    return [int(recordings[index]) for index in np.flatnonzero(np.diff(recordings, prepend=-1))]

"""What the networks of two runs said of recordings and pictures that they had not seen: as files to be paired."""

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
    """A run on recordings, and what it held out."""

    run: Run
    """The run."""
    held_out: HeldOut
    """What the folds' networks said of what they never heard."""


OpenRun: TypeAlias = Folds | ClipRun
"""A finished run, read once."""


def open_both(pool: Pool, audio_run: Path, video_run: Path) -> tuple[OpenRun, OpenRun]:
    """The run that hears and the one that sees.

    Raises:
        RunError: A run is not finished.
        ConfigError: It is of other scenes than the bundle.
    """
    return _open(audio_run, pool, "audio"), _open(video_run, pool, "video")


def calibrated(pool: Pool, audio_run: Path | OpenRun, video_run: Path | OpenRun) -> Pool:
    """The same pool with both temperatures fitted anew, scenes alike, as the weights are.

    Of a run on prepared clips on what it was calibrated on; of one on recordings on every fold's held-out answers.

    Raises:
        RunError: A run is not finished.
        ConfigError: It is of other scenes than the bundle.
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
    """What a run's networks said of what was held out from them.

    Of a run on prepared clips the evaluation split; of one on recordings every recording, by the network of the fold
    that was trained without it.

    Args:
        which: The run.
        pool: Its experts' temperatures make evidence of logits.
        modality: Which of them the run is of.

    Raises:
        RunError: The run is not finished.
        ConfigError: It is of other scenes than the bundle.
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
    """A run of the scenes that a modality of the pool knows."""
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
    """Logits of every window, whose clip it is of, and each clip's label and place."""
    segments = read_segments(run, EVALUATION)
    return segments.logits[WHOLE], segments.clips, [(entry.label, entry.place) for entry in run.clips]


def _of_recordings(run: Run, held_out: HeldOut) -> tuple[Vector, Integers, list[tuple[str, str]]]:
    """The same; of windows that overlap as many as do not."""
    stride = max(1, round(run.config.window.seconds / run.config.evaluate.step_seconds))
    counts = np.bincount(held_out.recordings)
    within = np.concatenate([np.arange(counts[index]) for index in _in_order(held_out.recordings)])
    kept = within % stride == 0
    names = [(entry.label, entry.group) for entry in run.entries]
    return held_out.logits[kept], held_out.recordings[kept], names


def _in_order(recordings: Integers) -> list[int]:
    """Recordings as they come, each once: the windows of one follow each other."""
    return [int(recordings[index]) for index in np.flatnonzero(np.diff(recordings, prepend=-1))]

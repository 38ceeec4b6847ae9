"""Fits a fusion's weights and thresholds on labelled data, by running a draft of the fused bundle in the runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ascstream.classifier import Classifier
from engines.backends import REFERENCE_BACKEND
from engines.bundle import Bundle
from trainer.config import EvaluateConfig
from trainer.evaluate.thresholds import choose_thresholds, smooth_clips
from trainer.fuse.bundle import Found, fuse_bundles
from trainer.fuse.labels import merge_groups
from trainer.fuse.material import Heard, Say, clip_evidence, judged_files, pair_up
from trainer.fuse.pool import Pool
from trainer.fuse.runs import OpenRun, judged_run, open_both
from trainer.fuse.weights import NOT_SURE, Evidence, judge_weights

Sure: TypeAlias = tuple[float, float]
"""Wanted precision of named scenes, and of groups named when no scene is."""
SURE: Sure = (EvaluateConfig().precision,) * 2
"""The default."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Labelled recordings and labelled pictures to be paired at random."""

    sounds: Path
    """Recordings: a folder per class, or a CSV; for `fit_on_runs`, the run of the audio network."""
    pictures: Path
    """Pictures, or recordings with pictures: likewise; for `fit_on_runs`, the run of the video network."""
    n: int = 1000
    """Number of pairs."""
    mismatched: float = 0.2
    """Fraction of pairs whose sound and picture are of different scenes."""
    seed: int = 1
    """Seed of the random draw."""


def fit_on_clips(audio: Bundle, video: Bundle, pool: Pool, data: Path, say: Say, *, sure: Sure = SURE) -> Found:
    """Fit weights and thresholds on clips that have sound and picture; each place is a fold.

    Args:
        audio: The audio bundle.
        video: The video bundle.
        pool: Their pool, with any weights.
        data: Labelled clips: a folder per class, or a CSV.
        say: Called with a message for everything left out.
        sure: Wanted precision of named scenes and of named groups.

    Raises:
        DataError: There are too few clips.
    """
    with _draft(audio, video, pool) as classifier:
        evidence = clip_evidence(classifier, pool, data, say)
    return _found(
        audio, video, pool, evidence, "labelled clips with sound and picture, each fold a place", "clips", sure
    )


def fit_on_pairs(audio: Bundle, video: Bundle, pool: Pool, pairs: Pairs, say: Say, *, sure: Sure = SURE) -> Found:
    """Fit weights and thresholds on random pairs of recordings and pictures of the same scene.

    Args:
        audio: The audio bundle.
        video: The video bundle.
        pool: Their pool, with any weights.
        pairs: What is paired, and how.
        say: Called with a message for everything left out.
        sure: Wanted precision of named scenes and of named groups.

    Raises:
        DataError: There are too few recordings or pictures.
    """
    with _draft(audio, video, pool) as classifier:
        sounds = list(judged_files(classifier, pool, pairs.sounds, "audio", say))
        pictures = list(judged_files(classifier, pool, pairs.pictures, "video", say))
    return fit_on_files(audio, video, pool, pairs, (sounds, pictures), option="--pairs", sure=sure)


def fit_on_runs(
    audio: Bundle,
    video: Bundle,
    pool: Pool,
    pairs: Pairs,
    *,
    sure: Sure = SURE,
    runs: tuple[OpenRun, OpenRun] | None = None,
) -> Found:
    """Like `fit_on_pairs`, but with two runs' stored answers on their held-out recordings and pictures.

    Nothing is decoded.

    Args:
        audio: Bundle exported from the audio run.
        video: Bundle exported from the video run.
        pool: Their pool, with any weights, and the temperatures of `calibrated`.
        pairs: The runs, and how their recordings and pictures are paired.
        sure: Wanted precision of named scenes and of named groups.
        runs: The runs, if they are already open.

    Raises:
        RunError: A run is not finished.
        ConfigError: A run has other scenes than its bundle.
        DataError: There are too few recordings or pictures.
    """
    heard, seen = open_both(pool, pairs.sounds, pairs.pictures) if runs is None else runs
    sounds, pictures = list(judged_run(heard, pool, "audio")), list(judged_run(seen, pool, "video"))
    what = "recordings and pictures that the networks which answered had not seen"
    return fit_on_files(audio, video, pool, pairs, (sounds, pictures), option="--runs", what=what, sure=sure)


def fit_on_files(
    audio: Bundle,
    video: Bundle,
    pool: Pool,
    pairs: Pairs,
    files: tuple[Sequence[Heard], Sequence[Heard]],
    *,
    option: str = "--pairs",
    what: str = "recordings and pictures",
    sure: Sure = SURE,
) -> Found:
    """Fit weights and thresholds on random pairs of files whose evidence is known already.

    Args:
        audio: Bundle that hears.
        video: Bundle that sees.
        pool: The pool, with any weights.
        pairs: How many pairs, and which draw.
        files: Recordings and pictures.
        option: Name of the option for messages.
        what: What the files are, for the card.
        sure: Required precision of named scenes, and of named groups.

    Raises:
        DataError: There are too few recordings or pictures.
    """
    evidence = pair_up(*files, pool, option, n=pairs.n, share=pairs.mismatched, seed=pairs.seed)
    share = 100 * float((evidence.targets == NOT_SURE).mean())
    source = (
        f"random pairs (seed {pairs.seed}) of {what}. Both parts of a pair are of one scene, except in {share:.0f} % "
        "of the windows: there they are of two, and the target is even odds. Sound and picture of a pair are "
        "independent given the scene by construction, which those of one moment are not: weights and figures are "
        "optimistic"
    )
    return _found(audio, video, pool, evidence, source, "pairs", sure)


@contextmanager
def _draft(audio: Bundle, video: Bundle, pool: Pool) -> Iterator[Classifier]:
    """Write the fused bundle to a temporary folder and load it as a classifier."""
    with tempfile.TemporaryDirectory(prefix="ascstream-") as folder:
        path = Path(folder) / "draft"
        fuse_bundles(audio, video, path, pool)
        with Classifier.load(path, backend=REFERENCE_BACKEND) as classifier:
            yield classifier


def _found(audio: Bundle, video: Bundle, pool: Pool, evidence: Evidence, source: str, unit: str, wanted: Sure) -> Found:
    """Fit the weights on all evidence, and choose thresholds on held-out answers smoothed by the runtime's filter."""
    fitted = judge_weights(evidence, pool)
    sure = evidence.targets != NOT_SURE
    clips, targets = evidence.clips[sure], evidence.targets[sure]
    seconds = audio.manifest.window.seconds
    smoothed = smooth_clips(fitted.held_out[sure], clips, audio.manifest.smoothing, seconds, seconds)
    members = merge_groups(audio.manifest, video.manifest).values()
    groups = [[pool.labels.index(label) for label in group] for group in members]
    thresholds = choose_thresholds(smoothed, targets, clips, groups, *wanted)
    return Found(fitted, thresholds, source, unit)

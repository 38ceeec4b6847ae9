"""Weights and thresholds of a fusion from labelled data, by a draft of the fused bundle in the runtime itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
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
"""Part of the named scenes, and of the groups named where no scene is, that shall be right."""
SURE: Sure = (EvaluateConfig().precision,) * 2
"""Where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Labelled recordings and labelled pictures to be paired at random."""

    sounds: Path
    """Recordings: a folder a class, or a CSV; of `fit_on_runs` the run of the network that hears."""
    pictures: Path
    """Pictures, or recordings with some: likewise; or the run of the network that sees."""
    n: int = 1000
    """How many pairs."""
    mismatched: float = 0.2
    """Part of them whose sound and picture are of different scenes."""
    seed: int = 1
    """Which draw."""


def fit_on_clips(audio: Bundle, video: Bundle, pool: Pool, data: Path, say: Say, *, sure: Sure = SURE) -> Found:
    """Weights and thresholds from clips that have sound and picture, judged place by place.

    Args:
        audio: Hears.
        video: Sees.
        pool: With any weights.
        data: Labelled clips: a folder a class, or a CSV.
        say: Told of what is left out.
        sure: Part of the named scenes, and of the named groups, that shall be right.

    Raises:
        DataError: There are too few.
    """
    with _draft(audio, video, pool) as classifier:
        evidence = clip_evidence(classifier, pool, data, say)
    return _found(
        audio, video, pool, evidence, "labelled clips with sound and picture, each fold a place", "clips", sure
    )


def fit_on_pairs(audio: Bundle, video: Bundle, pool: Pool, pairs: Pairs, say: Say, *, sure: Sure = SURE) -> Found:
    """Weights and thresholds from random pairs of recordings and pictures of one scene.

    Args:
        audio: Hears.
        video: Sees.
        pool: With any weights.
        pairs: What is paired, and how.
        say: Told of what is left out.
        sure: Part of the named scenes, and of the named groups, that shall be right.

    Raises:
        DataError: There are too few recordings or pictures.
    """
    with _draft(audio, video, pool) as classifier:
        sounds = list(judged_files(classifier, pool, pairs.sounds, "audio", say))
        pictures = list(judged_files(classifier, pool, pairs.pictures, "video", say))
    return _found_on_pairs(audio, video, pool, pairs, (sounds, pictures), "--pairs", "recordings and pictures", sure)


def fit_on_runs(
    audio: Bundle,
    video: Bundle,
    pool: Pool,
    pairs: Pairs,
    *,
    sure: Sure = SURE,
    runs: tuple[OpenRun, OpenRun] | None = None,
) -> Found:
    """The same from what two runs said of recordings and pictures that they had not seen; nothing is decoded.

    Args:
        audio: Exported from the run that hears.
        video: Exported from the run that sees.
        pool: With any weights, and the temperatures of `calibrated`.
        pairs: The runs, and how their recordings and pictures are paired.
        sure: Part of the named scenes, and of the named groups, that shall be right.
        runs: The runs, where they are open already.

    Raises:
        RunError: A run is not finished.
        ConfigError: It is of other scenes than its bundle.
        DataError: There are too few recordings or pictures.
    """
    heard, seen = open_both(pool, pairs.sounds, pairs.pictures) if runs is None else runs
    sounds, pictures = list(judged_run(heard, pool, "audio")), list(judged_run(seen, pool, "video"))
    what = "recordings and pictures that the networks which answered had not seen"
    return _found_on_pairs(audio, video, pool, pairs, (sounds, pictures), "--runs", what, sure)


def _found_on_pairs(
    audio: Bundle,
    video: Bundle,
    pool: Pool,
    pairs: Pairs,
    files: tuple[list[Heard], list[Heard]],
    option: str,
    what: str,
    sure: Sure,
) -> Found:
    """Pair, fit, and say what it rests on."""
    evidence = pair_up(*files, pool, option, n=pairs.n, share=pairs.mismatched, seed=pairs.seed)
    share = 100 * float((evidence.targets == NOT_SURE).mean())
    source = (
        f"random pairs (seed {pairs.seed}) of {what}, each of one scene, and {share:.0f} % of windows in pairs of two "
        "scenes, whose target is even odds. Sound and picture of a pair are independent given the scene "
        "by construction, which those of one moment are not: weights and figures are optimistic"
    )
    return _found(audio, video, pool, evidence, source, "pairs", sure)


@contextmanager
def _draft(audio: Bundle, video: Bundle, pool: Pool) -> Iterator[Classifier]:
    """The fused bundle in a folder that goes again, loaded."""
    with tempfile.TemporaryDirectory(prefix="ascstream-") as folder:
        path = Path(folder) / "draft"
        fuse_bundles(audio, video, path, pool)
        with Classifier.load(path, backend=REFERENCE_BACKEND) as classifier:
            yield classifier


def _found(audio: Bundle, video: Bundle, pool: Pool, evidence: Evidence, source: str, unit: str, wanted: Sure) -> Found:
    """Weights from everything; thresholds from what was held out, behind the runtime's filter."""
    fitted = judge_weights(evidence, pool)
    sure = evidence.targets != NOT_SURE
    clips, targets = evidence.clips[sure], evidence.targets[sure]
    seconds = audio.manifest.window.seconds
    smoothed = smooth_clips(fitted.held_out[sure], clips, audio.manifest.smoothing, seconds, seconds)
    members = merge_groups(audio.manifest, video.manifest).values()
    groups = [[pool.labels.index(label) for label in group] for group in members]
    thresholds = choose_thresholds(smoothed, targets, clips, groups, *wanted)
    return Found(fitted, thresholds, source, unit)

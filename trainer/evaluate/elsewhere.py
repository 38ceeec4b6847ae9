"""Evaluate a trained network or a bundle on a prepared corpus: its own, or another with the same scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.backends import REFERENCE_BACKEND
from engines.bundle import Bundle
from trainer.clip_run import ClipEntry, ClipRun
from trainer.data.clips import EVALUATE, NONE
from trainer.data.prepared import Prepared, open_prepared
from trainer.errors import DataError
from trainer.evaluate.bundle import bundle_inputs, evaluate_bundle
from trainer.evaluate.protocol import Segments, gather_segments
from trainer.evaluate.report import bundle_report, run_report


def evaluate_run_on(run: ClipRun, folder: Path) -> tuple[dict[str, Any], Segments]:
    """Evaluate a run's network on a prepared corpus: on its evaluation split, or on all of it if it has none.

    On the corpus that the run was made from, places used for training, validation or calibration are left out. If
    another corpus shares places with it, the caller has to know.

    Args:
        run: A finished run; temperatures and thresholds are those of its own held-out clips.
        folder: A prepared corpus with the same scenes.

    Returns:
        The report, as described in `trainer.evaluate.report.write_clip_report`, and the answers behind it.

    Raises:
        DataError: The corpus is missing, damaged, of other scenes, or was not prepared for this network.
        RunError: The run is not finished.
    """
    from trainer.data.segments import SegmentReader
    from trainer.fit.trained import load_trained

    prepared = _open(folder, run.labels)
    trained = load_trained(run.network, len(run.labels), run.config)
    used = {clip.place for clip in run.clips if clip.split != EVALUATE} if prepared.name == run.corpus else set()
    clips = [number for number in clips_to_judge(prepared) if prepared.clips[number].place not in used]
    if not clips:
        raise DataError(
            f"{folder}: expected clips of places that the run was not made from, got none; type --on another"
        )
    reader = SegmentReader(prepared.store(trained.inputs), trained.inputs, run.config, trained.system.inputs)
    answers = reader.answers(clips, trained.answer)
    segments = gather_segments(answers, entries_of(prepared), run.labels, folder)
    return run_report(run, segments, prepared.name), segments


def evaluate_bundle_on(
    bundle: Bundle, folder: Path, *, precision: str = "float32", backend: str = REFERENCE_BACKEND, threads: int = 1
) -> tuple[dict[str, Any], Segments]:
    """Evaluate a bundle on a prepared corpus with the runtime's engines; otherwise like `evaluate_run_on`.

    Raises:
        DataError: The corpus is missing, damaged, of other scenes, or was not prepared for this bundle.
        engines.errors.EngineError: The bundle has no graph of that precision, or it cannot be run.
    """
    manifest = bundle.manifest
    prepared = _open(folder, manifest.labels)
    answers = evaluate_bundle(
        bundle,
        prepared.store(bundle_inputs(manifest)),
        clips_to_judge(prepared),
        prepared.labels,
        precision=precision,
        backend=backend,
        threads=threads,
    )
    entries = entries_of(prepared)
    report = bundle_report(manifest, answers, entries, prepared.name, precision)
    return report, gather_segments(answers, entries, manifest.labels, folder)


def entries_of(prepared: Prepared) -> list[ClipEntry]:
    """A prepared corpus's clips as a run's entries, in the order of its store."""
    return [ClipEntry(c.key, c.label, c.city, c.location, c.device, c.split, c.seconds) for c in prepared.clips]


def clips_to_judge(prepared: Prepared) -> list[int]:
    """Positions of the evaluation split's clips, or of all splits' if it is empty; clips of no scene are left out."""
    scenes = [number for number, clip in enumerate(prepared.clips) if clip.label != NONE]
    return [number for number in scenes if prepared.clips[number].split == EVALUATE] or scenes


def _open(folder: Path, labels: tuple[str, ...]) -> Prepared:
    """Open a prepared corpus and check that it has these scenes."""
    prepared = open_prepared(folder)
    if prepared.labels != labels:
        raise DataError(f"{folder}: expected the scenes {', '.join(labels)}, got {', '.join(prepared.labels)}")
    return prepared

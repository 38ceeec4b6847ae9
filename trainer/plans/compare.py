"""Measures what plans cost in quality: the runtime judges every window with the reference and with each precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ascstream.classifier import Classifier
from ascstream.errors import SourceError
from ascstream.pipeline import StreamSettings
from trainer.data.clips import Clip
from trainer.errors import DataError
from trainer.plans.media import windows_of

Probabilities: TypeAlias = NDArray[np.float64]
"""[n_labels]."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a bundle's answers, in one precision, compare with the reference's."""

    name: str
    """The precision, or "reference" for what the others are compared with."""
    backend: str
    """The backend that ran it."""
    n_windows: int
    """Number of windows that the reference answers."""
    agreement: float
    """Fraction of them with the reference's label."""
    probability_difference: float | None
    """Largest difference of a probability from the reference's; None if a window had no answer."""
    n_labelled: int
    """Number of windows of recordings whose scene is known."""
    accuracy: float | None
    """Fraction of these labelled correctly, before any smoothing; None without labels."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Several precisions of a bundle, compared on the same windows."""

    comparisons: tuple[Comparison, ...]
    """One per precision, the reference first."""
    n_files: int
    """Number of recordings read to their end."""
    failures: tuple[str, ...]
    """A sentence for each recording that could not be."""

    def agreement(self, name: str) -> float:
        """Return the fraction of windows with the reference's label."""
        return next(entry.agreement for entry in self.comparisons if entry.name == name)


class _Tally:
    """Running counts for one classifier."""

    def __init__(self, name: str, classifier: Classifier) -> None:
        self.name, self.classifier = name, classifier
        self.n = self.same = self.n_labelled = self.right = 0
        self.difference = 0.0

    def add(self, own: Probabilities | None, reference: Probabilities, target: int | None) -> None:
        """Count a window that the reference answers."""
        label = None if own is None else int(own.argmax())
        self.n += 1
        self.same += label == int(reference.argmax())
        self.difference = max(self.difference, math.inf if own is None else float(np.abs(own - reference).max()))
        if target is not None:
            self.n_labelled += 1
            self.right += label == target

    def result(self) -> Comparison:
        return Comparison(
            self.name,
            self.classifier.backend,
            self.n,
            self.same / self.n,
            self.difference if math.isfinite(self.difference) else None,
            self.n_labelled,
            self.right / self.n_labelled if self.n_labelled else None,
        )


def compare(
    reference: Classifier,
    others: Mapping[str, Classifier],
    media: Sequence[Clip],
    on_file: Callable[[int, int], None] = lambda _done, _total: None,
) -> Evaluation:
    """Judge every window of some recordings with several classifiers of a bundle.

    Args:
        reference: The classifier that the others are compared with: ONNX Runtime in float32.
        others: Classifiers of the same bundle, by name.
        media: The recordings; one that cannot be read is noted as a failure.
        on_file: Called with the number of files done and their total.

    Raises:
        DataError: No window of any recording can be judged.
        engines.errors.EngineError: An inference failed.
    """
    tallies = [_Tally("reference", reference), *(_Tally(name, other) for name, other in others.items())]
    labels = reference.manifest.labels
    step = StreamSettings().step(reference.manifest)
    failures = []
    for done, clip in enumerate(media):
        on_file(done, len(media))
        target = labels.index(clip.scene_label) if clip.scene_label in labels else None
        for tally in tallies:
            tally.classifier.reset()
        try:
            for window in windows_of(reference, clip, step):
                answers = [tally.classifier.score(window).probabilities for tally in tallies]
                if answers[0] is not None:
                    for tally, own in zip(tallies, answers, strict=True):
                        tally.add(own, answers[0], target)
        except SourceError as error:
            failures.append(str(error))
    on_file(len(media), len(media))
    if tallies[0].n == 0:
        why = failures[0] if failures else "only silence, or nothing that the bundle perceives"
        raise DataError(f"--evaluate: expected windows that can be judged, got none: {why}")
    return Evaluation(tuple(tally.result() for tally in tallies), len(media) - len(failures), tuple(failures))
